//! Shapes: which positions of a pattern are literal.
//!
//! All patterns of one shape are found with one hash of those segments of a topic, however many patterns there are.

use tidings_core::{Pattern, SEGMENTS_MAX};
use xxhash_rust::xxh3::xxh3_64_with_seed;

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
    /// The shape of a pattern.
    pub(crate) fn of(pattern: &Pattern) -> Self {
        let segments = || pattern.as_str().split('.');
        let (head, head_segments) = literals(segments());
        if head_segments == segments().count() {
            return Self { head, head_segments, tail: 0, tail_segments: 0, open: false };
        }
        let (tail, tail_segments) = literals(segments().rev());
        Self { head, head_segments, tail, tail_segments, open: true }
    }

    /// The key under which this shape files a pattern. It must be of this shape.
    pub(crate) fn key_of(&self, pattern: &Pattern, seed: u64) -> u64 {
        let hash = |segment: &str| Segments::hash(segment, seed);
        let mut key = seed;
        for (at, segment) in pattern.as_str().split('.').enumerate().take(self.head_segments) {
            if self.head & (1 << at) != 0 {
                key = mix(key, hash(segment));
            }
        }
        for (at, segment) in pattern.as_str().rsplit('.').enumerate().take(self.tail_segments) {
            if self.tail & (1 << at) != 0 {
                key = mix(key, hash(segment));
            }
        }
        finish(key)
    }

    /// The key of the patterns of this shape that a topic may match, if it has enough segments for any.
    pub(crate) fn key(&self, topic: &Segments) -> Option<u64> {
        let hashes = topic.hashes();
        let fits = if self.open {
            hashes.len() >= self.head_segments + self.tail_segments
        } else {
            hashes.len() == self.head_segments
        };
        if !fits {
            return None;
        }
        let mut key = topic.seed;
        let mut left = self.head;
        while left != 0 {
            key = mix(key, *hashes.get(left.trailing_zeros() as usize)?);
            left &= left - 1;
        }
        let mut left = self.tail;
        while left != 0 {
            key = mix(key, *hashes.get(hashes.len() - 1 - left.trailing_zeros() as usize)?);
            left &= left - 1;
        }
        Some(finish(key))
    }
}

/// The literal positions before the first `**`, as a mask, and how many segments stand before it.
fn literals<'a>(segments: impl Iterator<Item = &'a str>) -> (u32, usize) {
    segments.take_while(|segment| *segment != "**").fold((0, 0), |(mask, count), segment| {
        // A pattern has at most 32 segments, so the shift cannot overflow.
        (if segment == "*" { mask } else { mask | 1 << count }, count + 1)
    })
}

fn mix(key: u64, hash: u64) -> u64 {
    (key.rotate_left(23) ^ hash).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn finish(key: u64) -> u64 {
    let key = (key ^ (key >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    key ^ (key >> 29)
}

/// The hashes of a topic's segments, computed once for all shapes.
pub(crate) struct Segments {
    hashes: [u64; SEGMENTS_MAX],
    count: usize,
    seed: u64,
}

impl Segments {
    /// Of a topic; nothing if it has more segments than a topic can have.
    pub(crate) fn of(topic: &str, seed: u64) -> Option<Self> {
        let mut segments = Self { hashes: [0; SEGMENTS_MAX], count: 0, seed };
        // By bytes: segments are short, and a search made for long texts costs more than the loop.
        for segment in topic.as_bytes().split(|byte| *byte == b'.') {
            *segments.hashes.get_mut(segments.count)? = xxh3_64_with_seed(segment, seed);
            segments.count += 1;
        }
        Some(segments)
    }

    /// Of one segment.
    pub(crate) fn hash(segment: &str, seed: u64) -> u64 {
        xxh3_64_with_seed(segment.as_bytes(), seed)
    }

    /// Of all segments, in order.
    pub(crate) fn hashes(&self) -> &[u64] {
        self.hashes.get(..self.count).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect("valid")
    }

    #[test]
    fn patterns_with_the_same_literal_positions_have_the_same_shape() {
        for (one, other, same) in [
            ("order.*.line", "stock.*.item", true),
            ("order.*.line", "order.line.*", false),
            ("order.**", "stock.**", true),
            ("order.**", "order.*", false),
            ("**.line", "**.item", true),
            ("a.**.b.**.c", "x.**.y.z.**.w", true),
            ("a.**.b", "a.**.*", false),
        ] {
            assert_eq!(Shape::of(&pattern(one)) == Shape::of(&pattern(other)), same, "{one} and {other}");
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
            ("a.**.b.**.c", &["a.b.c", "a.x.b.x.c"]),
        ] {
            let pattern = pattern(text);
            let shape = Shape::of(&pattern);
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
            assert_eq!(Shape::of(&pattern(text)).key(&segments), None, "{text}");
        }
        assert!(Segments::of(&["a"; SEGMENTS_MAX + 1].join("."), 7).is_none());
    }
}
