//! Topics and the one grammar of patterns.
//!
//! A *topic* is a dotted name such as `order.placed`. A *pattern* is a topic in which a whole segment may be `*`
//! (exactly one segment) or `**` (zero or more). The same grammar serves the bus, stores, transports, flags,
//! permissions and the command line; nothing else in the platform parses patterns.

use std::{fmt, str::FromStr, sync::Arc};

/// The longest topic or pattern, in bytes. Longer ones are refused, so that no index entry or header can grow without
/// bound.
pub const TOPIC_BYTES_MAX: usize = 255;

/// The most segments a topic or pattern may have; it bounds the work of matching.
pub const SEGMENTS_MAX: usize = 32;

/// What is wrong with a topic or pattern, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem} at column {column} of {text:?}")]
pub struct TopicError {
    /// The text as it was given, cut to [`TOPIC_BYTES_MAX`] bytes.
    pub text: String,
    /// The column of the fault, counted in characters from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: &'static str,
}

/// Checks that `text` is a valid topic: non-empty segments of visible characters, split by `.`, without `*`.
///
/// # Errors
/// The first fault, with its column.
///
/// ```
/// assert!(tidings_core::check_topic("order.placed").is_ok());
/// assert_eq!(tidings_core::check_topic("order..placed").unwrap_err().column, 7);
/// ```
pub fn check_topic(text: &str) -> Result<(), TopicError> {
    if is_plain(text) { Ok(()) } else { scan(text, false) }
}

/// Whether it is what nearly all topics are: short, of letters, digits, `-` and `_`. Every such text is valid.
fn is_plain(text: &str) -> bool {
    let mut before = b'.';
    let fits = |byte: u8| {
        let fits =
            byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_' || (byte == b'.' && before != b'.');
        before = byte;
        fits
    };
    text.len() < 2 * SEGMENTS_MAX && text.bytes().all(fits) && !text.is_empty() && !text.ends_with('.')
}

fn scan(text: &str, wildcards: bool) -> Result<(), TopicError> {
    let fault = |column: usize, problem| {
        let mut end = text.len().min(TOPIC_BYTES_MAX);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        Err(TopicError { text: text[..end].to_owned(), column, problem })
    };
    if text.is_empty() {
        return fault(1, "an empty name");
    }
    if text.len() > TOPIC_BYTES_MAX {
        return fault(text.chars().count(), "more than 255 bytes");
    }
    let (mut column, mut segments) = (1, 0);
    for segment in text.split('.') {
        segments += 1;
        if segment.is_empty() {
            return fault(column, "an empty segment");
        }
        if segments > SEGMENTS_MAX {
            return fault(column, "more than 32 segments");
        }
        let whole = wildcards && (segment == "*" || segment == "**");
        for (at, c) in segment.chars().enumerate() {
            if c == '*' && !whole {
                let problem = if wildcards {
                    "a wildcard must be a whole segment, `*` or `**`,"
                } else {
                    "a wildcard in a name"
                };
                return fault(column + at, problem);
            }
            if c.is_whitespace() || c.is_control() {
                return fault(column + at, "white space or a control character");
            }
        }
        column += segment.chars().count() + 1;
    }
    Ok(())
}

/// The first segment of a topic: the *category* its streams belong to.
///
/// ```
/// assert_eq!(tidings_core::category("order.placed"), "order");
/// ```
pub fn category(topic: &str) -> &str {
    topic.split('.').next().unwrap_or(topic)
}

/// A valid pattern over topics.
///
/// ```
/// use tidings_core::Pattern;
/// let pattern: Pattern = "order.*.**".parse()?;
/// assert!(pattern.matches("order.placed"));
/// assert!(pattern.matches("order.line.added"));
/// assert!(!pattern.matches("order"));
/// # Ok::<(), tidings_core::TopicError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pattern {
    text: Arc<str>,
    wild: bool,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// The first fault, with its column: an empty segment, a wildcard inside a segment, white space, or a limit.
    pub fn parse(text: &str) -> Result<Self, TopicError> {
        scan(text, true)?;
        Ok(Self { text: text.into(), wild: text.contains('*') })
    }

    /// The pattern that matches every topic, `**`.
    pub fn all() -> Self {
        Self { text: "**".into(), wild: true }
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the pattern has no wildcard, so that it names exactly one topic.
    pub fn is_literal(&self) -> bool {
        !self.wild
    }

    /// Whether the pattern is `**`.
    pub fn is_all(&self) -> bool {
        &*self.text == "**"
    }

    /// Whether `topic` matches.
    ///
    /// Time is at most the product of the two segment counts; nothing is allocated.
    pub fn matches(&self, topic: &str) -> bool {
        if !self.wild {
            return *self.text == *topic;
        }
        if self.is_all() {
            return true;
        }
        glob(&self.text, topic)
    }
}

/// Matches by remembering only the last `**`: on a mismatch that one takes a further segment. Earlier ones never have
/// to be revisited, because a later `**` can always take what they would have.
fn glob(pattern: &str, topic: &str) -> bool {
    let (mut rest, mut at) = (Some(pattern), Some(topic));
    let mut retry: Option<(Option<&str>, Option<&str>)> = None;
    loop {
        match (rest.map(cut), at.map(cut)) {
            (Some(("**", tail)), _) => {
                retry = Some((tail, at));
                rest = tail;
                continue;
            }
            (Some((want, tail)), Some((have, more))) if want == "*" || want == have => {
                rest = tail;
                at = more;
                continue;
            }
            (None, None) => return true,
            _ => {}
        }
        match retry {
            Some((tail, Some(from))) => {
                let (_, more) = cut(from);
                rest = tail;
                at = more;
                retry = Some((tail, more));
            }
            _ => return false,
        }
    }
}

fn cut(text: &str) -> (&str, Option<&str>) {
    match text.split_once('.') {
        Some((head, tail)) => (head, Some(tail)),
        None => (text, None),
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({})", self.text)
    }
}

impl FromStr for Pattern {
    type Err = TopicError;

    fn from_str(text: &str) -> Result<Self, TopicError> {
        Self::parse(text)
    }
}

impl serde::Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&self.text)
    }
}

impl<'de> serde::Deserialize<'de> for Pattern {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_plain_is_valid_and_what_is_short_and_valid_of_such_characters_is_plain() {
        let mut texts = vec![String::new()];
        for _ in 0..6 {
            let longer =
                texts.iter().flat_map(|text| ["a", ".", "*", "é"].map(|c| format!("{text}{c}"))).collect();
            let all = std::mem::replace(&mut texts, longer);
            for text in all {
                let valid = scan(&text, false).is_ok();
                assert_eq!(is_plain(&text), valid && !text.contains('é'), "{text:?}");
                assert_eq!(check_topic(&text).is_ok(), valid, "{text:?}");
            }
        }
        for many in [31, 32, 33, 40] {
            let text = vec!["a"; many].join(".");
            assert_eq!(check_topic(&text), scan(&text, false), "{many} segments");
        }
    }

    /// The definition, written as recursion, to compare the loop with.
    fn defined(pattern: &[&str], topic: &[&str]) -> bool {
        match (pattern.first(), topic.first()) {
            (None, None) => true,
            (Some(&"**"), _) => {
                defined(&pattern[1..], topic) || (!topic.is_empty() && defined(pattern, &topic[1..]))
            }
            (Some(&"*"), Some(_)) => defined(&pattern[1..], &topic[1..]),
            (Some(want), Some(have)) => want == have && defined(&pattern[1..], &topic[1..]),
            _ => false,
        }
    }

    #[test]
    fn every_small_pattern_matches_as_defined() {
        let words = ["a", "b", "*", "**"];
        let mut patterns: Vec<Vec<&str>> = vec![vec![]];
        let mut all = Vec::new();
        for _ in 0..4 {
            patterns = patterns
                .iter()
                .flat_map(|p| words.iter().map(move |w| [p.clone(), vec![*w]].concat()))
                .collect();
            all.extend(patterns.clone());
        }
        let topics: Vec<Vec<&str>> =
            all.iter().filter(|p| p.iter().all(|w| !w.starts_with('*'))).cloned().collect();
        for pattern in &all {
            let parsed = Pattern::parse(&pattern.join(".")).expect("valid");
            for topic in &topics {
                assert_eq!(
                    parsed.matches(&topic.join(".")),
                    defined(pattern, topic),
                    "{pattern:?} against {topic:?}"
                );
            }
        }
    }

    #[test]
    fn an_invalid_pattern_names_the_column() {
        for (text, column) in
            [("", 1), (".a", 1), ("a..b", 3), ("a.b*", 4), ("a. b", 3), ("a.", 3), ("é.x*", 4)]
        {
            assert_eq!(Pattern::parse(text).expect_err(text).column, column, "{text:?}");
        }
        assert!(Pattern::parse(&"a".repeat(256)).is_err());
        assert!(Pattern::parse(&["a"; 33].join(".")).is_err());
        assert!(check_topic("a.*").is_err());
    }
}
