//! How spans of time are written where people read and write them: `250ms`, `30s`, `1m 30s`, `24h`.
//!
//! For fields: `#[serde(with = "tidings_core::span")]`, and `span::option` and `span::list` where it is one or many. A
//! number without a unit is refused, for nobody could tell what it counts. What was written before as seconds and
//! nanoseconds is still read.

use std::{fmt, time::Duration};

use jiff::fmt::friendly::{Designator, SpanParser, SpanPrinter};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Reads a span.
///
/// # Errors
/// What is no span, is negative, or has no unit.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::span;
/// assert_eq!(span::parse("1m 30s"), Ok(Duration::from_secs(90)));
/// assert!(span::parse("30").is_err(), "thirty of what?");
/// assert_eq!(span::text(Duration::from_millis(1_500)), "1s 500ms");
/// ```
pub fn parse(text: &str) -> Result<Duration, String> {
    SpanParser::new()
        .parse_unsigned_duration(text)
        .map_err(|_| format!("`{text}` is no span of time: write `250ms`, `30s`, `1m 30s` or `24h`"))
}

/// Writes a span, exactly.
pub fn text(span: Duration) -> String {
    SpanPrinter::new().designator(Designator::Compact).unsigned_duration_to_string(&span)
}

/// Writes a span as text.
///
/// # Errors
/// The serialiser's.
pub fn serialize<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&text(*span))
}

/// Reads a span from text.
///
/// # Errors
/// See [`parse`].
pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    Written::deserialize(from).map(|written| written.0)
}

/// A span as it is written.
struct Written(Duration);

impl Serialize for Written {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        serialize(&self.0, to)
    }
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a span of time with its unit, such as `250ms` or `30s`")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Written, E> {
                parse(text).map(Written).map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Written, A::Error> {
                Duration::deserialize(de::value::MapAccessDeserializer::new(map)).map(Written)
            }
        }
        from.deserialize_any(Visitor)
    }
}

/// A span that may be absent.
pub mod option {
    use super::*;

    /// Writes a span as text.
    ///
    /// # Errors
    /// The serialiser's.
    pub fn serialize<S: Serializer>(span: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
        span.map(Written).serialize(to)
    }

    /// Reads a span from text.
    ///
    /// # Errors
    /// See [`parse`].
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::<Written>::deserialize(from)?.map(|written| written.0))
    }
}

/// Several spans.
pub mod list {
    use super::*;

    /// Writes spans as texts.
    ///
    /// # Errors
    /// The serialiser's.
    pub fn serialize<S: Serializer>(spans: &[Duration], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(spans.iter().copied().map(Written))
    }

    /// Reads spans from texts.
    ///
    /// # Errors
    /// See [`parse`].
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Duration>, D::Error> {
        Ok(Vec::<Written>::deserialize(from)?.into_iter().map(|written| written.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_no_span_is_refused() {
        for text in ["", "30", "-30s", "30s ago", "NaN", "1 fortnight", "1e9s"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_written_as_seconds_and_nanoseconds_are_still_read() {
        let old: Written = serde_json::from_str(r#"{"secs":1,"nanos":500000000}"#).expect("a span");
        assert_eq!(old.0, Duration::from_millis(1_500));
        assert!(serde_json::from_str::<Written>("30").is_err(), "a number has no unit");
    }

    proptest! {
        #[test]
        fn every_span_is_read_as_it_was_written(secs in 0..=i64::MAX as u64 / 8, nanos in 0..1_000_000_000_u32) {
            let span = Duration::new(secs, nanos);
            prop_assert_eq!(parse(&text(span)), Ok(span));
        }
    }
}
