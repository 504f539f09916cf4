//! Shapes: which positions of a pattern are literal.
//!
//! All patterns of one shape are found with one hash of those segments of a topic, however many patterns there are.

use tidings_core::Pattern;

use super::segments::Segments;

/// Which positions are literal, counted from the front up to the first `**` and from the back down to the last one.
///
/// `order.*.line` has head `101`; `order.**.line.*` has head `1`, tail `10` from the back, and is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shape {
    head: u32,
    head_segments: usize,
    tail: u32,
    tail_segments: usize,
    /// Whether there may be more segments between head and tail.
    open: bool,
}

impl Shape {
    /// The shape of a pattern. One with several `**` has none: what stands between them could not be hashed, and any
    /// number of patterns would be filed under one key.
    pub(crate) fn of(pattern: &Pattern) -> Option<Self> {
        let segments = || pattern.as_str().split('.');
        let (head, head_segments) = literals(segments());
        match segments().count() - head_segments {
            0 => Some(Self { head, head_segments, tail: 0, tail_segments: 0, open: false }),
            behind => {
                let (tail, tail_segments) = literals(segments().rev());
                (behind == tail_segments + 1).then_some(Self {
                    head,
                    head_segments,
                    tail,
                    tail_segments,
                    open: true,
                })
            }
        }
    }

    /// The key under which this shape files a pattern. It must be of this shape.
    pub(crate) fn key_of(&self, pattern: &Pattern, seed: u64) -> u64 {
        let mut key = seed;
        for (at, segment) in pattern.as_str().split('.').enumerate().take(self.head_segments) {
            if self.head & (1 << at) != 0 {
                key = key.wrapping_add(placed(Segments::hash(segment, seed), at));
            }
        }
        for (at, segment) in pattern.as_str().rsplit('.').enumerate().take(self.tail_segments) {
            if self.tail & (1 << at) != 0 {
                key = key.wrapping_add(placed_from_back(Segments::hash(segment, seed), at));
            }
        }
        finish(key)
    }

    /// The key of the patterns of this shape that a topic may match, if it has enough segments for any.
    #[inline]
    pub(crate) fn key(&self, topic: &Segments) -> Option<u64> {
        let count = topic.hashes().len();
        let fits = if self.open {
            count >= self.head_segments + self.tail_segments
        } else {
            count == self.head_segments
        };
        if !fits {
            return None;
        }
        let (mut key, mut left) = (topic.seed(), self.head);
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            key = key.wrapping_add(placed(topic.hash_at(at), at));
            left &= left - 1;
        }
        let mut left = self.tail;
        while left != 0 {
            let at = left.trailing_zeros() as usize;
            key = key.wrapping_add(placed_from_back(topic.hash_at(count - 1 - at), at));
            left &= left - 1;
        }
        Some(finish(key))
    }

    fn is_literal(&self) -> bool {
        !self.open && self.head.count_ones() as usize == self.head_segments
    }

    /// Whether a topic matches a pattern of this shape that it was found under: compares every literal segment. The
    /// number of its segments must [fit](Self::key).
    #[inline]
    pub(crate) fn verify(&self, pattern: &[u8], topic: &str, segments: &Segments) -> bool {
        if self.is_literal() {
            return pattern == topic.as_bytes();
        }
        self.verify_parts(pattern, topic.as_bytes(), segments).is_some()
    }

    /// Compares literal segments that stand side by side at once. Where a wildcard is, the shape says.
    fn verify_parts(&self, pattern: &[u8], topic: &[u8], segments: &Segments) -> Option<()> {
        let count = segments.hashes().len();
        let mut rest = pattern;
        for (from, to, literal) in runs(self.head, self.head_segments) {
            if from > 0 {
                rest = rest.strip_prefix(b".")?;
            }
            rest = if literal {
                rest.strip_prefix(segments.text(topic, from, to)?)?
            } else {
                rest.get(2 * (to - from) - 1..)?
            };
        }
        for (from, to, literal) in runs(self.tail, self.tail_segments) {
            if from > 0 {
                rest = rest.strip_suffix(b".")?;
            }
            rest = if literal {
                rest.strip_suffix(segments.text(topic, count - to, count - from)?)?
            } else {
                rest.get(..rest.len().checked_sub(2 * (to - from) - 1)?)?
            };
        }
        let between: &[u8] = match (self.open, self.head_segments > 0, self.tail_segments > 0) {
            (false, _, _) => b"",
            (true, false, false) => b"**",
            (true, true, false) => b".**",
            (true, false, true) => b"**.",
            (true, true, true) => b".**.",
        };
        (rest == between).then_some(())
    }
}

/// The positions of a mask, in runs of the same kind: from, up to, and whether they are literal.
#[inline]
fn runs(mask: u32, count: usize) -> impl Iterator<Item = (usize, usize, bool)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        let left = mask.checked_shr(from as u32).filter(|_| from < count)?;
        let literal = left & 1 == 1;
        let length = if literal { left.trailing_ones() } else { left.trailing_zeros() };
        let run = (from, count.min(from + length as usize), literal);
        from = run.1;
        Some(run)
    })
}

/// The literal positions before the first `**`, as a mask, and how many segments stand before it.
fn literals<'a>(segments: impl Iterator<Item = &'a str>) -> (u32, usize) {
    segments.take_while(|segment| *segment != "**").fold((0, 0), |(mask, count), segment| {
        // A pattern has at most 32 segments, so the shift cannot overflow.
        (if segment == "*" { mask } else { mask | 1 << count }, count + 1)
    })
}

/// A segment's part in the key: its hash, turned by where it stands. No two places turn alike, and nobody can choose
/// what is turned. Parts are added up, so that they need not wait for each other.
#[inline]
fn placed(hash: u64, at: usize) -> u64 {
    hash.rotate_left(at as u32 * 5)
}

#[inline]
fn placed_from_back(hash: u64, at: usize) -> u64 {
    placed(hash.wrapping_mul(0xc2b2_ae3d_27d4_eb4f), at)
}

#[inline]
fn finish(key: u64) -> u64 {
    let key = (key ^ (key >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    key ^ (key >> 29)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect("valid")
    }

    fn shape(text: &str) -> Shape {
        Shape::of(&pattern(text)).expect("at most one `**`")
    }

    proptest! {
        #[test]
        fn what_fits_is_verified_as_the_definition_says(
            pattern_segments in proptest::collection::vec(
                prop_oneof![Just("a"), Just("ab"), Just("b"), Just("*"), Just("**")], 1..6),
            topic in proptest::collection::vec(prop_oneof![Just("a"), Just("ab"), Just("b")], 1..7),
        ) {
            let (pattern, topic) = (pattern(&pattern_segments.join(".")), topic.join("."));
            let several = pattern_segments.iter().filter(|segment| **segment == "**").count() > 1;
            let shape = Shape::of(&pattern);
            prop_assert_eq!(shape.is_none(), several);
            if let Some(shape) = shape {
                let segments = Segments::of(&topic, 7).expect("few");
                let fits = shape.key(&segments).is_some();
                let verified = fits && shape.verify(pattern.as_str().as_bytes(), &topic, &segments);
                prop_assert_eq!(verified, pattern.matches(&topic));
            }
        }
    }

    #[test]
    fn patterns_with_the_same_literal_positions_have_the_same_shape() {
        for (one, other, same) in [
            ("order.*.line", "stock.*.item", true),
            ("order.*.line", "order.line.*", false),
            ("order.**", "stock.**", true),
            ("order.**", "order.*", false),
            ("**.line", "**.item", true),
            ("a.**.b", "a.**.*", false),
        ] {
            assert_eq!(shape(one) == shape(other), same, "{one} and {other}");
        }
    }

    #[test]
    fn a_pattern_is_filed_under_the_key_that_its_topics_ask_for() {
        for (text, topics) in [
            ("a.b", &["a.b"][..]),
            ("a.*.c", &["a.x.c"]),
            ("a.**", &["a", "a.b", "a.b.c"]),
            ("**.c", &["c", "a.c", "a.b.c"]),
            ("a.**.y.*", &["a.y.z", "a.b.c.y.z"]),
        ] {
            let pattern = pattern(text);
            let shape = shape(text);
            for topic in topics {
                let segments = Segments::of(topic, 7).expect("few");
                assert_eq!(shape.key(&segments), Some(shape.key_of(&pattern, 7)), "{text} and {topic}");
            }
        }
    }

    #[test]
    fn a_topic_with_another_number_of_segments_is_not_even_asked_for() {
        let segments = Segments::of("a.b.c", 7).expect("few");
        for text in ["a", "a.b", "a.b.c.d", "a.*.*.*.**", "**.x.*.*.*"] {
            assert_eq!(shape(text).key(&segments), None, "{text}");
        }
    }
}
