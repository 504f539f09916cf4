//! The keys under which ids are remembered for ever.
//!
//! A UUIDv7 gets a key that grows with its time, so that inserts stay at the right edge of the b-tree; any other id gets
//! a hash. Keys may collide: the next free one is taken, and as rows are never removed, a search walks from the key
//! until there is a gap.

use rusqlite::Connection;
use tidings_core::Text;
use xxhash_rust::xxh3::Xxh3;

use crate::{codec::uuid_bytes, fault::Step, sql};

/// Who an event is: a place to look, and a hash to tell it from others there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) key: i64,
    hash: u32,
}

/// What is remembered of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) position: i64,
    /// The first and last position of the append it came with.
    pub(crate) append: (i64, i64),
    /// A hash of its content, for when the event itself is gone.
    pub(crate) content: u32,
}

/// The bits of a key that are a hash, below those that are milliseconds.
const HASH_BITS: u32 = 20;

impl Identity {
    pub(crate) fn of(tenant: &str, source: &str, id: &str) -> Self {
        let mut hasher = Xxh3::new();
        for text in [tenant, source, id] {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        let wide = hasher.digest128();
        let (low, hash) = (wide as u64, (wide >> 64) as u32);
        let key = match uuid_bytes(id) {
            Some(bytes) if bytes[6] >> 4 == 7 && bytes[0] < 4 => {
                let millis = bytes[..6].iter().fold(0_i64, |millis, byte| (millis << 8) | i64::from(*byte));
                (millis << HASH_BITS) | (low & ((1 << HASH_BITS) - 1)) as i64
            }
            _ => (low | (1 << 63)) as i64,
        };
        Self { key, hash }
    }

    pub(crate) fn evidence(self, content: u64) -> i64 {
        ((u64::from(self.hash) << 32) | (content & 0xffff_ffff)) as i64
    }

    /// Whether evidence found at or after the key is about this id.
    fn is(self, evidence: i64) -> bool {
        (evidence as u64 >> 32) as u32 == self.hash
    }

    /// The candidates for this id; almost always none or one.
    pub(crate) fn look(self, conn: &Connection) -> Step<Vec<Known>> {
        let mut found = Vec::new();
        let mut expected = self.key;
        let mut statement = conn.prepare_cached(sql::IDS_FROM)?;
        loop {
            let mut rows = statement.query([expected])?;
            let mut seen = 0;
            while let Some(row) = rows.next()? {
                if row.get::<_, i64>(0)? != expected {
                    return Ok(found);
                }
                let evidence = row.get(4)?;
                if self.is(evidence) {
                    let position: i64 = row.get(1)?;
                    let append = (position - row.get::<_, i64>(2)?, position + row.get::<_, i64>(3)?);
                    found.push(Known { position, append, content: evidence as u32 });
                }
                expected = expected.wrapping_add(1);
                seen += 1;
            }
            if seen == 0 {
                return Ok(found);
            }
        }
    }
}

/// An id for people.
pub(crate) fn reused(id: &Text, source: &Text) -> tidings_store::Error {
    tidings_store::Error::IdReused { id: id.clone(), source_uri: source.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_uuids_of_version_7_grow_with_time_and_others_lie_below_them() {
        let key = |id: &str| Identity::of("", "/a", id).key;
        let (early, late) =
            (key("01890a5d-ac96-774b-bcce-b302099a8057"), key("01890a5d-ac97-774b-bcce-b302099a8057"));
        assert!(0 < early && early < late, "{early} {late}");
        assert!(key("order-1") < 0);
        assert!(key("01890A5D-AC96-774B-BCCE-B302099A8057") < 0, "only the canonical form is a UUID");
        assert!(key("ffffffff-ffff-774b-bcce-b302099a8057") < 0, "a time that does not fit is hashed");
    }

    #[test]
    fn tenant_source_and_id_do_not_run_into_each_other() {
        assert_ne!(Identity::of("a", "b", "c"), Identity::of("ab", "", "c"));
        assert_ne!(Identity::of("a", "b", "c"), Identity::of("a", "bc", ""));
        assert_eq!(Identity::of("a", "b", "c"), Identity::of("a", "b", "c"));
    }
}
