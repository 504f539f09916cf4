//! A broken rule: where, what, and how to cure it.

use std::fmt;

/// One place where a rule of the house does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file, relative to the root.
    pub file: String,
    /// The line, from 1, where one line is to blame.
    pub line: Option<usize>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub cure: String,
}

impl Finding {
    /// A finding about one line, counted from 1.
    pub fn at(file: &str, line: usize, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: Some(line), what: what.into(), cure: cure.into() }
    }

    /// A finding about a file as a whole.
    pub fn of(file: &str, what: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: None, what: what.into(), cure: cure.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}\n    cure: {}", self.file, self.what, self.cure),
            None => write!(f, "{}: {}\n    cure: {}", self.file, self.what, self.cure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_file_line_what_and_cure() {
        assert_eq!(
            Finding::at("a.rs", 7, "too loud", "speak softly").to_string(),
            "a.rs:7: too loud\n    cure: speak softly"
        );
        assert_eq!(Finding::of("a.rs", "too long", "cut").to_string(), "a.rs: too long\n    cure: cut");
    }
}
