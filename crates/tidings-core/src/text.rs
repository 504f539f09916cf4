//! Short texts.

use std::{
    borrow::{Borrow, Cow},
    fmt::{self, Write as _},
    ops::Deref,
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use smol_str::{SmolStr, SmolStrBuilder};

/// A short text that is never changed: a name, a key, an id. Up to 23 bytes stand in it; longer ones are shared, not
/// copied, when it is cloned. What is known when the program is compiled is neither: see [`known`](Self::known).
///
/// ```
/// use tidings_core::Text;
/// let key = Text::from("4711");
/// assert_eq!(key, "4711");
/// assert_eq!(Text::of(4711), key);
/// assert!(key.clone().starts_with("47"));
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(SmolStr);

impl Text {
    /// A text that is part of the program.
    #[inline]
    pub const fn known(text: &'static str) -> Self {
        Self(SmolStr::new_static(text))
    }

    /// What a value is written as.
    pub fn of(value: impl fmt::Display) -> Self {
        let mut text = SmolStrBuilder::new();
        // Only a `Display` that is broken fails here; what it had written by then is what there is.
        let _ = write!(text, "{value}");
        Self(text.finish())
    }

    /// It as a string slice.
    #[inline]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Deref for Text {
    type Target = str;

    #[inline]
    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

impl AsRef<str> for Text {
    #[inline]
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Text {
    #[inline]
    fn borrow(&self) -> &str {
        self
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl From<&str> for Text {
    #[inline]
    fn from(text: &str) -> Self {
        Self(SmolStr::new(text))
    }
}

impl From<&mut str> for Text {
    fn from(text: &mut str) -> Self {
        Self(SmolStr::new(text))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(SmolStr::from(text))
    }
}

impl From<&String> for Text {
    fn from(text: &String) -> Self {
        Self(SmolStr::new(text))
    }
}

impl From<Box<str>> for Text {
    fn from(text: Box<str>) -> Self {
        Self(SmolStr::from(text))
    }
}

impl From<Cow<'_, str>> for Text {
    fn from(text: Cow<'_, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::from(text),
            Cow::Owned(text) => Self::from(text),
        }
    }
}

impl From<Arc<str>> for Text {
    fn from(text: Arc<str>) -> Self {
        Self(SmolStr::from(text))
    }
}

impl From<&Text> for Text {
    fn from(text: &Text) -> Self {
        text.clone()
    }
}

impl From<Text> for String {
    fn from(text: Text) -> Self {
        text.0.into()
    }
}

impl PartialEq<str> for Text {
    #[inline]
    fn eq(&self, other: &str) -> bool {
        **self == *other
    }
}

impl PartialEq<&str> for Text {
    #[inline]
    fn eq(&self, other: &&str) -> bool {
        **self == **other
    }
}

impl PartialEq<String> for Text {
    fn eq(&self, other: &String) -> bool {
        **self == **other
    }
}

impl PartialEq<Text> for str {
    fn eq(&self, other: &Text) -> bool {
        *self == **other
    }
}

impl PartialEq<Text> for &str {
    fn eq(&self, other: &Text) -> bool {
        **self == **other
    }
}

impl PartialEq<Text> for String {
    fn eq(&self, other: &Text) -> bool {
        **self == **other
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn short_long_and_known_ones_are_alike() {
        let long = "a text that is longer than what can stand in the value";
        for (text, other) in [
            (Text::from("short"), Text::known("short")),
            (Text::from(long), Text::known(long)),
            (Text::from(long.to_owned()), Text::of(long)),
            (Text::from(Arc::from(long)), Text::from(Cow::Borrowed(long))),
            (Text::of(-12), Text::known("-12")),
            (Text::default(), Text::from("")),
        ] {
            assert_eq!(text, other);
            assert_eq!(text.cmp(&other), std::cmp::Ordering::Equal);
            let found = HashMap::from([(text, 1)]);
            assert_eq!((found.get(&other), found.get(other.as_str())), (Some(&1), Some(&1)));
        }
    }

    #[test]
    fn it_is_written_as_the_text_it_is() {
        let text = Text::from("a \"b\"");
        assert_eq!((format!("{text:>8}"), format!("{text:?}")), ("   a \"b\"".into(), r#""a \"b\"""#.into()));
        assert_eq!(serde_json::to_string(&text).ok().as_deref(), Some(r#""a \"b\"""#));
        assert_eq!(serde_json::from_str::<Text>(r#""a \"b\"""#).ok(), Some(text));
    }
}
