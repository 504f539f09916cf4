//! Spans of time as people write them in files: `1s`, `250ms`, `50us`, `2m`.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serializer, de::Error};

const UNITS: [(&str, u64); 6] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

pub(crate) fn serialize<S: Serializer>(span: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&write(*span))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    read(&text)
        .ok_or_else(|| D::Error::custom(format!("{text:?} is no span of time such as \"250ms\" or \"30s\"")))
}

/// In the largest unit that leaves a whole number.
fn write(span: Duration) -> String {
    let nanos = span.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    let whole = UNITS.iter().rev().find(|(_, unit)| nanos.is_multiple_of(u128::from(*unit)));
    whole.map_or_else(String::new, |(name, unit)| format!("{}{name}", nanos / u128::from(*unit)))
}

fn read(text: &str) -> Option<Duration> {
    let digits = text.len() - text.trim_start_matches(|letter: char| letter.is_ascii_digit()).len();
    let (number, name) = text.split_at(digits);
    let (_, unit) = UNITS.iter().find(|(unit, _)| *unit == name.trim_start())?;
    Some(Duration::from_nanos(number.parse::<u64>().ok()?.checked_mul(*unit)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_read_as_it_was_written() {
        for (text, nanos) in [
            ("0s", 0),
            ("50us", 50_000),
            ("250ms", 250_000_000),
            ("90s", 90_000_000_000),
            ("2m", 120_000_000_000),
        ] {
            assert_eq!(read(text), Some(Duration::from_nanos(nanos)));
            assert_eq!(write(Duration::from_nanos(nanos)), text);
        }
    }

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "5", "s", "-1s", "1.5s", "5 days", "99999999999h"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
