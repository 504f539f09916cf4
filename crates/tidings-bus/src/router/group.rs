//! Fifteen places of a table: a tag for each, and which entry it is for.

/// One line of the processor's cache. A tag is sixteen bits of a hash, so that what is not there is nearly never looked
/// for anywhere else.
///
/// The tags are an array that is compared as a whole, without leaving early: the compiler makes a few instructions of
/// that where a processor compares several at a time.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Group {
    /// The last one belongs to no place and stays free.
    tags: [u16; Self::LANES + 1],
    entries: [u16; Self::LANES],
    /// All ones if no place was left free.
    full: u16,
}

/// The tag of a place that was never used. A search may end where there is one.
const FREE: u16 = 0;

/// The tag of a place that is not used any more.
const GONE: u16 = 1;

/// The tag of a hash.
#[inline]
pub(super) fn tag(key: u64) -> u16 {
    // Those of the places that are not used are left out.
    (key as u16).max(2)
}

impl Group {
    /// How many places there are.
    pub(super) const LANES: usize = 15;

    /// The places, as bits.
    const ALL: u32 = (1 << Self::LANES) - 1;

    /// Whether there is a place with this tag, or none was left free, so that what belongs here may be in the next one.
    #[inline]
    pub(super) fn may_have(&self, tag: u16) -> bool {
        let same = |have: &u16| if *have == tag { u16::MAX } else { 0 };
        self.tags.iter().fold(self.full, |any, have| any | same(have)) != 0
    }

    /// The places with this tag, as bits.
    #[inline]
    pub(super) fn tagged(&self, tag: u16) -> u32 {
        let bits =
            self.tags.iter().zip(0..).fold(0, |bits, (have, lane)| bits | u32::from(*have == tag) << lane);
        bits & Self::ALL
    }

    /// Whether no place was left free, so that what belongs here may be in the next one.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.full != 0
    }

    /// The entry of a place.
    pub(super) fn entry(&self, lane: u32) -> usize {
        self.entries.get(lane as usize).map_or(usize::MAX, |at| usize::from(*at))
    }

    /// Points a place to another entry.
    pub(super) fn point(&mut self, lane: u32, entry: usize) {
        if let Some(at) = self.entries.get_mut(lane as usize) {
            *at = entry as u16;
        }
    }

    /// Takes a place that is not used for an entry; answers whether it once was. Nothing if there is none.
    pub(super) fn put(&mut self, tag: u16, entry: usize) -> Option<bool> {
        let (gone, free) = (self.tagged(GONE), self.tagged(FREE));
        let lane = (gone | free).trailing_zeros();
        if gone | free == 0 {
            return None;
        }
        self.set(lane, tag);
        self.point(lane, entry);
        Some(gone & (1 << lane) != 0)
    }

    /// Gives a place up; answers whether it stays marked as having been used.
    pub(super) fn clear(&mut self, lane: u32) -> bool {
        // Nothing was pushed on into the next group while there was a free place here.
        let was_full = self.is_full();
        self.set(lane, if was_full { GONE } else { FREE });
        was_full
    }

    fn set(&mut self, lane: u32, tag: u16) {
        if let Some(place) = self.tags.get_mut(lane as usize) {
            *place = tag;
        }
        self.full = if self.tagged(FREE) == 0 { u16::MAX } else { 0 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_found_by_its_tag_and_by_no_other() {
        let mut group = Group::default();
        assert!(!group.is_full());
        for lane in 0..15_u16 {
            assert!(!group.may_have(100 + lane % 8) || lane >= 8);
            assert_eq!(group.put(100 + lane % 8, usize::from(lane) * 3), Some(false));
            assert!(group.may_have(100 + lane % 8));
        }
        assert!(group.is_full() && group.may_have(7) && group.put(7, 7).is_none());
        for lane in 0..7 {
            assert_eq!(group.tagged(100 + lane), 1 << lane | 1 << (lane + 8));
            assert_eq!(group.entry(u32::from(lane)), usize::from(lane) * 3);
        }
        assert_eq!((group.tagged(99), group.tagged(0x8064), group.tagged(0x164)), (0, 0, 0));
        assert!(group.clear(5));
        assert_eq!((group.tagged(105), group.is_full()), (1 << 13, true));
        assert_eq!((group.put(0xffff, 1), group.tagged(0xffff)), (Some(true), 1 << 5));
    }

    #[test]
    fn a_place_in_a_group_that_was_never_full_is_free_again() {
        let mut group = Group::default();
        group.put(9, 1);
        assert!(!group.clear(0));
        assert_eq!(group.tagged(FREE), 0x7fff);
    }

    #[test]
    fn no_hash_has_the_tag_of_an_unused_place() {
        assert!((0..=u64::from(u16::MAX)).all(|key| tag(key) > GONE));
    }
}
