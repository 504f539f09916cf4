//! Sixteen places of a table: a tag for each, and which entry it is for.

/// One line of the processor's cache. A tag is sixteen bits of a hash, so that what is not there is nearly never looked
/// for anywhere else.
#[derive(Debug, Clone, Copy, Default)]
#[repr(align(64))]
pub(super) struct Group {
    /// Four tags in each.
    tags: [u64; 4],
    entries: [u16; Self::LANES],
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
    pub(super) const LANES: usize = 16;

    /// The places with this tag, as bits.
    #[inline]
    pub(super) fn tagged(&self, tag: u16) -> u32 {
        const ONE: u64 = 0x0001_0001_0001_0001;
        const LOW: u64 = 0x7fff_7fff_7fff_7fff;
        let same = |word: u64| {
            let other = word ^ (u64::from(tag) * ONE);
            // The upper bit of each tag that is the same, then those bits side by side.
            let marks = !(((other & LOW) + LOW) | other | LOW);
            ((marks >> 15).wrapping_mul(0x0001_0002_0004_0008) >> 48) as u32 & 0xf
        };
        let [a, b, c, d] = self.tags;
        same(a) | same(b) << 4 | same(c) << 8 | same(d) << 12
    }

    /// Whether no place was left free, so that what belongs here may be in the next one.
    #[inline]
    pub(super) fn is_full(&self) -> bool {
        self.tagged(FREE) == 0
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
        if let Some(word) = self.tags.get_mut(lane as usize / 4) {
            let shift = lane % 4 * 16;
            *word = *word & !(0xffff << shift) | u64::from(tag) << shift;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_place_is_found_by_its_tag_and_by_no_other() {
        let mut group = Group::default();
        assert!(!group.is_full());
        for lane in 0..16_u16 {
            assert_eq!(group.put(100 + lane % 8, usize::from(lane) * 3), Some(false));
        }
        assert!(group.is_full() && group.put(7, 7).is_none());
        for lane in 0..8 {
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
        assert_eq!(group.tagged(FREE), 0xffff);
    }

    #[test]
    fn no_hash_has_the_tag_of_an_unused_place() {
        assert!((0..=u64::from(u16::MAX)).all(|key| tag(key) > GONE));
    }
}
