//! Which features are on.

use std::fmt;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::Xxh3Default;

use crate::Text;

/// The hash by which a percentage divides keys. It is frozen: a key that had a feature keeps it.
pub const FLAG_HASH: &str = "xxh3-64 of name, a zero byte, key";

/// Says which features are on. It is asked once a delivery and does not wait: whoever keeps flags elsewhere keeps a
/// copy here.
pub trait Flags: Send + Sync + fmt::Debug + 'static {
    /// The name of a flag that keeps this delivery from its handler, if there is one. What nobody has set is on.
    fn off(&self, ask: &FlagAsk<'_>) -> Option<Text>;

    /// Whether any may be off; if not, nobody has to ask for which.
    fn any(&self) -> bool {
        true
    }
}

/// For what is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlagAsk<'a> {
    /// The flag the policy names.
    pub flag: Option<&'a str>,
    /// The event's name, which is also the topic it is routed under.
    pub event: &'a str,
    /// The handler.
    pub handler: &'a str,
    /// The key by which a percentage decides: the event's key, or else its id.
    pub key: &'a str,
}

/// A feature's setting.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flag {
    /// For all.
    #[default]
    On,
    /// For nobody.
    Off,
    /// For this share of keys, 0 to 100.
    Percent(f64),
}

impl Flag {
    /// What is wrong with it, if something is.
    pub fn fault(&self) -> Option<String> {
        match self {
            Self::Percent(share) if !(0.0..=100.0).contains(share) => {
                Some(format!("a percentage is between 0 and 100, not {share}"))
            }
            Self::On | Self::Off | Self::Percent(_) => None,
        }
    }

    /// Whether the feature called `name` is on for `key`. A key keeps its side while the percentage stays, and one that
    /// is on stays on when it rises.
    pub fn is_on(&self, name: &str, key: &str) -> bool {
        match self {
            Self::On => true,
            Self::Off => false,
            Self::Percent(share) => place(name, key) < *share,
        }
    }
}

/// Where a key lies between 0 and 100.
fn place(name: &str, key: &str) -> f64 {
    let mut hash = Xxh3Default::new();
    hash.update(name.as_bytes());
    hash.update(&[0]);
    hash.update(key.as_bytes());
    // 53 bits are what a double holds exactly.
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit")]
    let share = (hash.digest() >> 11) as f64 / (1_u64 << 53) as f64;
    share * 100.0
}

impl fmt::Display for Flag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::Off => f.write_str("off"),
            Self::Percent(share) => write!(f, "{share} %"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_divides_keys_evenly_and_differently_a_name() {
        let on = |name: &str, share: f64| -> Vec<u32> {
            (0..10_000).filter(|key| Flag::Percent(share).is_on(name, &key.to_string())).collect()
        };
        let (tenth, third) = (on("a", 10.0), on("a", 30.0));
        assert!((900..1_100).contains(&tenth.len()), "{}", tenth.len());
        assert!((2_800..3_200).contains(&third.len()), "{}", third.len());
        assert!(tenth.iter().all(|key| third.contains(key)), "who has it keeps it");
        assert_ne!(tenth, on("b", 10.0));
        assert_eq!((on("a", 0.0).len(), on("a", 100.0).len()), (0, 10_000));
    }

    #[test]
    fn the_side_of_a_key_never_changes() {
        let places: Vec<_> =
            ["1", "2", "order-7"].iter().map(|key| format!("{:.4}", place("checkout", key))).collect();
        assert_eq!(places, ["41.7259", "54.4292", "54.1358"]);
    }

    #[test]
    fn what_is_no_percentage_is_refused() {
        for share in [f64::NAN, -1.0, 100.5] {
            assert!(Flag::Percent(share).fault().is_some(), "{share}");
        }
        assert_eq!(Flag::Percent(50.0).fault(), None);
    }
}
