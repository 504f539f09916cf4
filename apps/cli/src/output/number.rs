//! Numbers and spans of time for people.

use std::time::Duration;

use indicatif::{HumanBytes, HumanCount};

/// A count with thousands separators.
pub fn count(n: u64) -> String {
    HumanCount(n).to_string()
}

/// A count and what is counted; `one` is the word in the singular.
pub fn counted(n: u64, one: &str) -> String {
    let s = if n == 1 { "" } else { "s" };
    format!("{} {one}{s}", count(n))
}

/// Bytes, in the unit that fits.
pub fn bytes(n: u64) -> String {
    HumanBytes(n).to_string()
}

/// A span of time in at most two units.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    let two = |big: u64, one: &str, small: u64, other: &str| match small {
        0 => format!("{big} {one}"),
        small => format!("{big} {one} {small} {other}"),
    };
    match seconds {
        0 if span.is_zero() => "0 s".into(),
        0 => format!("{} ms", span.as_millis().max(1)),
        1..10 => format!("{:.2} s", span.as_secs_f64()),
        10..60 => format!("{:.1} s", span.as_secs_f64()),
        60..3_600 => two(seconds / 60, "min", seconds % 60, "s"),
        3_600..86_400 => two(seconds / 3_600, "h", seconds / 60 % 60, "min"),
        _ => two(seconds / 86_400, "d", seconds / 3_600 % 24, "h"),
    }
}

/// So many in such a time: how many a second.
pub fn rate(n: u64, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { n as f64 / time.as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_separators_and_their_word_a_plural() {
        assert_eq!(count(262_200), "262,200");
        assert_eq!(counted(1, "event"), "1 event");
        assert_eq!(counted(1_000, "event"), "1,000 events");
    }

    #[test]
    fn a_span_is_said_in_the_units_that_fit() {
        for (millis, said) in [
            (0, "0 s"),
            (7, "7 ms"),
            (2_126, "2.13 s"),
            (21_260, "21.3 s"),
            (60_000, "1 min"),
            (3_725_000, "1 h 2 min"),
            (90_000_000, "1 d 1 h"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), said);
        }
    }
}
