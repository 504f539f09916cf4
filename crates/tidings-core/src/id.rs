//! New ids: UUIDv7, so that they sort by time and sit beside each other in an index.

use std::{
    fmt,
    sync::{
        LazyLock, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use uuid::{Builder, Uuid};

use crate::{Text, Timestamp};

/// The newest id's milliseconds, and behind them, in 16 bits, how many came before it in the same one.
static NEWEST: AtomicU64 = AtomicU64::new(0);

/// What makes the ids of one process others than those of any other.
static RANDOM: LazyLock<ahash::RandomState> = LazyLock::new(ahash::RandomState::new);

/// A new id, larger than every one before it in this process.
pub fn next() -> Text {
    written(&new(millis()))
}

/// An id that is always the same for the same `parts`: for what must not happen twice.
pub fn derived(parts: &[&str]) -> Text {
    let mut name = Vec::new();
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    written(&Uuid::new_v5(&Uuid::NAMESPACE_OID, &name))
}

fn millis() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(0)
}

/// Milliseconds since 1970, then a counter of 16 bits, then 58 that are random. More than 65,536 in a millisecond run
/// ahead of the clock, which RFC 9562 allows.
fn new(millis: u64) -> Uuid {
    let earliest = millis << 16;
    let before =
        NEWEST.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |newest| Some(earliest.max(newest + 1)));
    let newest = before.map_or(earliest, |before| earliest.max(before + 1));
    let counter = newest as u16;
    let mut rest = [0; 10];
    // Six bits of these ten bytes say that it is a UUIDv7: four of the first, two of the third.
    rest[..2].copy_from_slice(&(counter >> 4).to_be_bytes());
    rest[2..].copy_from_slice(&RANDOM.hash_one(newest).to_be_bytes());
    rest[2] = (rest[2] & 0b11) | ((counter as u8 & 0xf) << 2);
    Builder::from_unix_timestamp_millis(newest >> 16, &rest).into_uuid()
}

fn written(id: &Uuid) -> Text {
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    Text::from(&*id.hyphenated().encode_lower(&mut text))
}

/// An envelope's id. One that is new is written when somebody first asks for it as a text: most
/// are never asked.
#[derive(Clone, Default)]
pub(crate) struct Id {
    /// Counts while there is no text; nil is none.
    number: Uuid,
    text: OnceLock<Text>,
}

impl Id {
    /// A new one of now.
    pub(crate) fn now() -> Self {
        Self::of(new(millis()))
    }

    /// A new one, larger than every one before it in this process.
    pub(crate) fn new(now: Timestamp) -> Self {
        Self::of(new(u64::try_from(now.as_micros() / 1_000).unwrap_or(0)))
    }

    fn of(number: Uuid) -> Self {
        Self { number, text: OnceLock::new() }
    }

    /// The UUID with these bytes, in its usual form.
    pub(crate) fn from_bytes(bytes: [u8; 16]) -> Self {
        let number = Uuid::from_bytes(bytes);
        if number.is_nil() { Self::from(written(&number)) } else { Self::of(number) }
    }

    pub(crate) fn is_none(&self) -> bool {
        self.number.is_nil() && self.text.get().is_none_or(|text| text.is_empty())
    }

    /// The text, if it is not ours.
    pub(crate) fn given(&self) -> Option<&Text> {
        self.number.is_nil().then(|| self.text())
    }

    /// It as a text.
    pub(crate) fn text(&self) -> &Text {
        self.text.get_or_init(|| if self.number.is_nil() { Text::default() } else { written(&self.number) })
    }
}

/// As its text, which is not kept if it was not asked for before.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.text.get() {
            None if !self.number.is_nil() => {
                f.write_str(self.number.hyphenated().encode_lower(&mut [0; uuid::fmt::Hyphenated::LENGTH]))
            }
            _ => f.write_str(self.text()),
        }
    }
}

impl PartialEq for Id {
    fn eq(&self, other: &Self) -> bool {
        match (self.number.is_nil(), other.number.is_nil()) {
            (false, false) => self.number == other.number,
            _ => self.text() == other.text(),
        }
    }
}

impl Eq for Id {}

impl From<Text> for Id {
    fn from(text: Text) -> Self {
        Self { number: Uuid::nil(), text: OnceLock::from(text) }
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.text(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_grow_whatever_the_clock_does() {
        let now = 1_800_000_000_000;
        let millis = (0..70_000).map(|n| now + n / 40_000).chain([now - 5, 0, now + 2, now + 2]);
        let all: Vec<Uuid> = millis.map(new).collect();
        assert!(all.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(all.iter().all(|id| id.get_version_num() == 7 && id.get_variant() == uuid::Variant::RFC4122));
        assert!(all.windows(2).all(|pair| written(&pair[0]) < written(&pair[1])), "as texts, too");
    }

    #[test]
    fn an_id_begins_with_its_time() {
        let far = 3_000_000_000_000;
        assert_eq!(new(far).get_timestamp().map(|time| time.to_unix().0), Some(far / 1_000));
    }

    #[test]
    fn an_id_is_written_when_it_is_asked_for() {
        for number in [new(0), Uuid::nil(), Uuid::max()] {
            let id = Id::from_bytes(number.into_bytes());
            assert_eq!(id.text.get().is_none(), !number.is_nil());
            assert_eq!(id.to_string(), number.to_string());
            assert_eq!(id.text.get().is_none(), !number.is_nil(), "to show it does not keep it");
            assert_eq!((id.is_none(), id.text().as_str()), (false, &*number.to_string()));
            assert_eq!(id.to_string(), number.to_string());
        }
        assert!(Id::default().is_none() && Id::from(Text::default()).is_none());
        assert!(!Id::from(Text::known("4711")).is_none());
        assert_eq!(
            (Id::from(Text::known("4711")).to_string().as_str(), &*Id::default().to_string()),
            ("4711", "")
        );
        let (one, other) = (Id::new(Timestamp::default()), Id::new(Timestamp::default()));
        assert!(one == one.clone() && one == Id::from(one.text().clone()) && one != other);
    }
}
