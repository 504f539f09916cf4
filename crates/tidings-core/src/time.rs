//! Points in time: microseconds since 1970, with RFC 3339 at the edges.

use std::{fmt, str::FromStr, time::Duration};

use crate::Text;

/// A point in time: microseconds since 1970-01-01T00:00:00Z, negative before.
///
/// ```
/// use tidings_core::Timestamp;
/// let at: Timestamp = "2011-10-01T00:38:44.546+02:00".parse()?;
/// assert_eq!(at.to_string(), "2011-09-30T22:38:44.546Z");
/// # Ok::<(), tidings_core::TimeError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp(i64);

/// A text that is not a date and time as RFC 3339 writes it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no RFC 3339 date and time")]
pub struct TimeError(pub String);

impl Timestamp {
    /// The earliest time there is.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest time there is.
    pub const MAX: Self = Self(i64::MAX);

    /// From microseconds since 1970.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From milliseconds since 1970; saturates.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// Microseconds since 1970.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// The time after `self` by `span`; saturates.
    pub fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not after it.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_microsecond(self.0).unwrap_or(if self.0 < 0 {
            jiff::Timestamp::MIN
        } else {
            jiff::Timestamp::MAX
        })
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.to_jiff())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Timestamp {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        EventTime::parse(text).map(|time| time.at())
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// When an event happened, as its producer wrote it: the point in time, and what is needed to write the same text
/// again (offset, digits of the second, or the text itself where that is not enough), so that conversion is lossless.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct EventTime {
    at: Timestamp,
    form: Form,
}

/// An [`EventTime`] taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTimeParts<'a> {
    /// Microseconds since 1970.
    pub micros: i64,
    /// Offset in minutes and digits of the second, where they differ from our own form.
    pub form: Option<(i16, u8)>,
    /// The text, where only that will do.
    pub text: Option<&'a Text>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Form {
    /// Ours: UTC with `Z` and as many digits as needed.
    Plain,
    /// An offset in minutes and a number of fractional digits.
    Offset { minutes: i16, digits: u8 },
    /// Anything else RFC 3339 allows, kept as text.
    Text(Box<Text>),
}

impl EventTime {
    /// Parses RFC 3339 and remembers how it was written.
    ///
    /// # Errors
    /// The text, when it is no date and time with an offset.
    pub fn parse(text: &str) -> Result<Self, TimeError> {
        let wrong = || TimeError(text.chars().take(64).collect());
        if let Some((micros, minutes, digits)) = parse_common(text) {
            // Ours is UTC without zeros at the end of the fraction; in any other form it is written by its parts.
            let fraction = text.get(..text.len() - 1).filter(|_| digits > 0);
            let plain = minutes == 0 && !fraction.is_some_and(|text| text.ends_with('0'));
            let form = if plain { Form::Plain } else { Form::Offset { minutes, digits } };
            return Ok(Self { at: Timestamp(micros), form });
        }
        // RFC 3339 wants an offset; the library takes a few more forms, so those are refused first.
        let tail = text.get(10..).ok_or_else(wrong)?;
        if !tail.contains(['Z', 'z', '+', '-']) || text.contains('[') {
            return Err(wrong());
        }
        let at: jiff::Timestamp = text.parse().map_err(|_| wrong())?;
        Ok(Self { at: Timestamp(at.as_microsecond()), form: Form::Text(Box::new(text.into())) })
    }

    /// The point in time.
    pub fn at(&self) -> Timestamp {
        self.at
    }

    /// The parts an engine stores: microseconds, then offset in minutes and fractional digits where they differ from
    /// our own form, then the text where only that will do.
    pub fn parts(&self) -> EventTimeParts<'_> {
        let (form, text) = match &self.form {
            Form::Plain => (None, None),
            Form::Offset { minutes, digits } => (Some((*minutes, *digits)), None),
            Form::Text(text) => (None, Some(&**text)),
        };
        EventTimeParts { micros: self.at.0, form, text }
    }

    /// From the parts an engine stored, as [`parts`](Self::parts) gave them.
    pub fn from_parts(micros: i64, form: Option<(i16, u8)>, text: Option<Text>) -> Self {
        let form = match (form, text) {
            (_, Some(text)) => Form::Text(Box::new(text)),
            (Some((minutes, digits)), None) => Form::Offset { minutes, digits },
            (None, None) => Form::Plain,
        };
        Self { at: Timestamp(micros), form }
    }
}

/// The common form `YYYY-MM-DDTHH:MM:SS[.d{1,6}](Z|±HH:MM)`, parsed by hand because ingest reads one a line; whatever
/// else there is goes to the library.
fn parse_common(text: &str) -> Option<(i64, i16, u8)> {
    let b = text.as_bytes();
    let two = |at: usize| -> Option<i64> {
        let (h, l) = (b.get(at)?.wrapping_sub(b'0'), b.get(at + 1)?.wrapping_sub(b'0'));
        (h < 10 && l < 10).then_some(i64::from(h) * 10 + i64::from(l))
    };
    let is = |at: usize, c: u8| b.get(at) == Some(&c);
    if !(is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':')) {
        return None;
    }
    let (year, month, day) = (two(0)? * 100 + two(2)?, two(5)?, two(8)?);
    let (hour, minute, second) = (two(11)?, two(14)?, two(17)?);
    let mut at = 19;
    let (mut micros, mut digits) = (0_i64, 0_u8);
    if is(at, b'.') {
        at += 1;
        while let Some(c) = b.get(at).filter(|c| c.is_ascii_digit()) {
            micros = micros * 10 + i64::from(c - b'0');
            digits += 1;
            at += 1;
            if digits > 6 {
                return None;
            }
        }
        if digits == 0 {
            return None;
        }
        micros *= 10_i64.pow(6 - u32::from(digits));
    }
    let minutes = match b.get(at)? {
        b'Z' if b.len() == at + 1 => 0,
        sign @ (b'+' | b'-') if b.len() == at + 6 && is(at + 3, b':') => {
            let (h, m) = (two(at + 1)?, two(at + 4)?);
            let minutes = h * 60 + m;
            // `-00:00` means "offset unknown": only the text can say it.
            if h > 23 || m > 59 || minutes == 0 {
                return None;
            }
            if *sign == b'-' { -minutes } else { minutes }
        }
        _ => return None,
    };
    if month == 0 || month > 12 || hour > 23 || minute > 59 || second > 59 || year == 0 {
        return None;
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = [31, if leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
    if day == 0 || day > length {
        return None;
    }
    // Days since 1970 of a civil date, counted in eras of 400 years that begin in March.
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let of_era = y.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - minutes * 60;
    Some((seconds * 1_000_000 + micros, minutes as i16, digits))
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.form {
            Form::Plain => fmt::Display::fmt(&self.at, f),
            Form::Text(text) => f.write_str(text),
            Form::Offset { minutes, digits } => {
                let local = self.at.0.saturating_add(i64::from(*minutes) * 60_000_000);
                let (days, of_day) = (local.div_euclid(86_400_000_000), local.rem_euclid(86_400_000_000));
                let z = days + 719_468;
                let (era, of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
                let yoe = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
                let doy = of_era - (365 * yoe + yoe / 4 - yoe / 100);
                let mp = (5 * doy + 2) / 153;
                let (day, month) = (doy - (153 * mp + 2) / 5 + 1, if mp < 10 { mp + 3 } else { mp - 9 });
                let year = yoe + era * 400 + i64::from(month <= 2);
                let (second, micros) = (of_day / 1_000_000, of_day % 1_000_000);
                write!(
                    f,
                    "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}",
                    second / 3_600,
                    second / 60 % 60,
                    second % 60
                )?;
                if *digits > 0 {
                    let fraction = micros / 10_i64.pow(6 - u32::from(*digits).min(6));
                    write!(f, ".{fraction:0width$}", width = usize::from(*digits))?;
                }
                if *minutes == 0 {
                    return f.write_str("Z");
                }
                let sign = if *minutes < 0 { '-' } else { '+' };
                write!(f, "{sign}{:02}:{:02}", minutes.abs() / 60, minutes.abs() % 60)
            }
        }
    }
}

impl fmt::Debug for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Timestamp> for EventTime {
    fn from(at: Timestamp) -> Self {
        Self { at, form: Form::Plain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn event_times_are_written_back_as_they_came() {
        for text in [
            "2011-10-01T00:38:44.546+02:00",
            "2011-10-01T00:38:44Z",
            "2011-10-01T00:38:44.5Z",
            "2011-10-01T00:38:44.500Z",
            "2000-02-29T23:59:59.999999-11:30",
            "1969-12-31T23:59:59.000001Z",
            "2018-04-05T17:31:00Z",
            "2011-10-01T00:38:44.123456789Z",
            "2011-10-01T00:38:44-00:00",
            "2011-10-01t00:38:44z",
        ] {
            let time = EventTime::parse(text).expect(text);
            assert_eq!(time.to_string(), text);
            let library: jiff::Timestamp = text.parse().expect(text);
            assert_eq!(time.at().as_micros(), library.as_microsecond(), "{text}");
            let parts = time.parts();
            assert_eq!(EventTime::from_parts(parts.micros, parts.form, parts.text.cloned()), time);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "yesterday",
            "2011-10-01",
            "2011-10-01T00:38:44",
            "2011-02-29T00:00:00Z",
            "2011-13-01T00:00:00Z",
        ] {
            assert!(EventTime::parse(text).is_err(), "{text}");
        }
    }
}
