//! A topic's segments, hashed in one pass.
//!
//! Segments are short and of every length, so that a loop over each would be mispredicted at each end. A topic is
//! therefore copied to where there is room behind it; the dots are found eight bytes at a time, and up to sixteen bytes
//! of a segment are hashed without asking how many there are.

use tidings_core::SEGMENTS_MAX;

/// How long a topic may be to be hashed where there is room behind it; longer ones are cut and hashed piece by piece.
const SHORT: usize = 80;

/// The room behind: a segment that begins at the last byte is read as two words.
const ROOM: usize = SHORT + 16;

/// The hashes of a topic's segments, computed once for all shapes.
pub(crate) struct Segments {
    hashes: [u64; SEGMENTS_MAX],
    /// Where each begins, and where one behind the last would.
    begins: [usize; SEGMENTS_MAX + 1],
    count: usize,
    seed: u64,
}

impl Segments {
    /// Of no topic yet. Made where it is used and then [filled](Self::fill), for it is large to move.
    #[inline]
    pub(crate) fn new(seed: u64) -> Self {
        Self { hashes: [0; SEGMENTS_MAX], begins: [0; SEGMENTS_MAX + 1], count: 0, seed }
    }

    /// Those of a topic. Answers whether there was room for all: not if it has more segments than a topic can have.
    pub(crate) fn fill(&mut self, topic: &str) -> bool {
        let mut room = [0; ROOM];
        match room.get_mut(..topic.len()) {
            Some(start) if topic.len() <= SHORT => {
                start.copy_from_slice(topic.as_bytes());
                self.all_in(&room, topic.len()).is_some()
            }
            _ => {
                let mut end = 0;
                topic.split('.').all(|segment| {
                    end += segment.len() + 1;
                    self.push(Self::hash(segment, self.seed), end).is_some()
                })
            }
        }
    }

    /// Of one segment.
    pub(crate) fn hash(segment: &str, seed: u64) -> u64 {
        let mut chunks = segment.as_bytes().chunks(16);
        let mut next = || {
            let mut words = [0; 16];
            let chunk = chunks.next()?;
            words.get_mut(..chunk.len())?.copy_from_slice(chunk);
            Some((word(&words, 0), word(&words, 8)))
        };
        let mut hash = first(next().unwrap_or_default(), segment.len(), seed);
        while let Some(more) = next() {
            hash = further(hash, more);
        }
        hash
    }

    /// Of all segments, in order.
    pub(crate) fn hashes(&self) -> &[u64] {
        self.hashes.get(..self.count).unwrap_or_default()
    }

    /// The hash of the segment in a place below their number.
    #[inline]
    pub(crate) fn hash_at(&self, at: usize) -> u64 {
        self.hashes.get(at % SEGMENTS_MAX).copied().unwrap_or_default()
    }

    /// Some segments of the topic they are of, from one up to another, with the dots between them.
    #[inline]
    pub(crate) fn text<'a>(&self, topic: &'a [u8], from: usize, to: usize) -> Option<&'a [u8]> {
        topic.get(*self.begins.get(from)?..self.begins.get(to)?.checked_sub(1)?)
    }

    /// The seed they were hashed with.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Adds one; behind it the next one would begin at `next`.
    #[inline]
    fn push(&mut self, hash: u64, next: usize) -> Option<()> {
        *self.hashes.get_mut(self.count)? = hash;
        self.count += 1;
        *self.begins.get_mut(self.count)? = next;
        Some(())
    }

    /// Of the topic of this length at the start of `room`.
    fn all_in(&mut self, room: &[u8; ROOM], len: usize) -> Option<()> {
        let mut begin = 0;
        for at in (0..len).step_by(64) {
            let mut dots = dots(room, at, len);
            while dots != 0 {
                let end = at + dots.trailing_zeros() as usize;
                self.push(self.hash_in(room, begin, end), end + 1)?;
                begin = end + 1;
                dots &= dots - 1;
            }
        }
        self.push(self.hash_in(room, begin, len), len + 1)
    }

    #[inline]
    fn hash_in(&self, room: &[u8; ROOM], begin: usize, end: usize) -> u64 {
        let len = end - begin;
        let part = |at: usize| {
            let left = len - at;
            let (low, high) = (word(room, begin + at), word(room, begin + at + 8));
            (low & keep(left), high & keep(left.saturating_sub(8)))
        };
        let mut hash = first(part(0), len, self.seed);
        for at in (16..len).step_by(16) {
            hash = further(hash, part(at));
        }
        hash
    }
}

/// The dots among 64 bytes of a topic, as bits.
#[inline]
fn dots(room: &[u8; ROOM], from: usize, len: usize) -> u64 {
    let mut bits = 0;
    for at in (from..len.min(from + 64)).step_by(8) {
        let other = word(room, at) ^ 0x2e2e_2e2e_2e2e_2e2e;
        const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
        // The upper bit of each byte that is a dot, then those bits side by side.
        let marks = !(((other & LOW) + LOW) | other | LOW);
        bits |= ((marks >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) << (at - from);
    }
    bits
}

/// A mask of the lower `bytes` bytes; of all eight if there are more.
fn keep(bytes: usize) -> u64 {
    if bytes >= 8 { u64::MAX } else { (1 << (bytes * 8)) - 1 }
}

fn word(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 8).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_le_bytes)
}

/// The hash of up to sixteen bytes. What is multiplied is secret, so nobody can choose segments that collide.
fn first((low, high): (u64, u64), len: usize, seed: u64) -> u64 {
    let other = seed.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15 ^ (len as u64) << 56;
    folded(low ^ seed, high ^ other)
}

fn further(hash: u64, (low, high): (u64, u64)) -> u64 {
    folded(low ^ hash, high ^ hash.rotate_left(29) ^ 0xd6e8_feb8_6659_fd93)
}

fn folded(one: u64, other: u64) -> u64 {
    let product = u128::from(one) * u128::from(other);
    product as u64 ^ (product >> 64) as u64
}

#[cfg(test)]
impl Segments {
    /// Of a topic, if there is room for all.
    pub(crate) fn of(topic: &str, seed: u64) -> Option<Self> {
        let mut segments = Self::new(seed);
        segments.fill(topic).then_some(segments)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn in_one_pass_or_one_by_one_the_hashes_are_the_same(
            segments in proptest::collection::vec("[a-zé:]{0,40}", 1..12),
            seed: u64,
        ) {
            let one_by_one: Vec<u64> = segments.iter().map(|segment| Segments::hash(segment, seed)).collect();
            let topic = segments.join(".");
            let whole = Segments::of(&topic, seed).expect("few");
            prop_assert_eq!(whole.hashes(), one_by_one);
            for (from, first) in segments.iter().enumerate() {
                prop_assert_eq!(whole.text(topic.as_bytes(), from, from + 1), Some(first.as_bytes()));
                let rest = segments.get(from..).unwrap_or_default().join(".");
                prop_assert_eq!(whole.text(topic.as_bytes(), from, segments.len()), Some(rest.as_bytes()));
            }
        }
    }

    #[test]
    fn segments_that_differ_only_in_a_zero_byte_or_in_what_is_behind_differ() {
        for (one, other) in
            [("", "\0"), ("a", "a\0"), ("abcdefgh", "abcdefgh\0"), ("a", "ab"), ("x.a", "x.b")]
        {
            assert_ne!(Segments::hash(one, 7), Segments::hash(other, 7), "{one:?} and {other:?}");
        }
        assert_ne!(Segments::hash("a", 7), Segments::hash("a", 8));
    }

    #[test]
    fn no_two_of_many_like_segments_collide() {
        let mut hashes: Vec<u64> = (0..200_000).map(|n| Segments::hash(&format!("o{n}"), 7)).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 200_000);
    }

    #[test]
    fn a_topic_with_too_many_segments_has_none() {
        for segment in ["a", "abcdef"] {
            assert!(Segments::of(&[segment; SEGMENTS_MAX].join("."), 7).is_some());
            assert!(Segments::of(&[segment; SEGMENTS_MAX + 1].join("."), 7).is_none());
        }
    }
}
