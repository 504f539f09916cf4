//! A pattern's text as a table holds it.

use std::sync::Arc;

use tidings_core::Pattern;

/// How long a text may be to lie in the table itself.
const SHORT: usize = 38;

/// The text of a pattern. Most are short, and then it lies where the pattern was found: comparing it does not wait for
/// memory once more.
pub(super) enum Written {
    Short(u8, [u8; SHORT]),
    Long(Arc<str>),
}

impl Written {
    /// Of a pattern.
    pub(super) fn of(pattern: &Pattern) -> Self {
        let text = pattern.as_str();
        let mut bytes = [0; SHORT];
        match bytes.get_mut(..text.len()) {
            Some(start) => {
                start.copy_from_slice(text.as_bytes());
                Self::Short(text.len() as u8, bytes)
            }
            None => Self::Long(text.into()),
        }
    }

    /// The text.
    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(len, bytes) => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Long(text) => text.as_bytes(),
        }
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Short(..) => str::from_utf8(self.as_bytes()).unwrap_or_else(|_| unreachable!("it was one")),
            Self::Long(text) => text,
        }
    }

    /// Whether it is this pattern's.
    pub(super) fn is(&self, pattern: &Pattern) -> bool {
        self.as_bytes() == pattern.as_str().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_of_any_length_is_kept() {
        for length in [1, 2, SHORT - 1, SHORT, SHORT + 1, 255] {
            let pattern = |letter: &str| Pattern::parse(&letter.repeat(length)).expect("valid");
            let written = Written::of(&pattern("a"));
            assert_eq!(written.as_str(), pattern("a").as_str());
            assert!(written.is(&pattern("a")) && !written.is(&pattern("b")));
        }
    }
}
