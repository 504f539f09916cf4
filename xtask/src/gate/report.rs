//! What a step found, and the sum of all steps.

use std::io::{self, Write};

/// Checks that passed, that failed, and that could not be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// How many passed.
    pub passed: usize,
    /// What failed, one line each.
    pub failures: Vec<String>,
    /// What could not be checked here.
    pub skips: Vec<Skip>,
}

/// A check that could not be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skip {
    /// What was not checked.
    pub what: String,
    /// Why not.
    pub why: String,
}

impl Report {
    /// So many checks passed and nothing else happened.
    pub fn passed(passed: usize) -> Self {
        Self { passed, ..Self::default() }
    }

    /// One check failed and nothing else happened.
    pub fn failed(what: impl Into<String>) -> Self {
        Self { failures: vec![what.into()], ..Self::default() }
    }

    /// One check, passed or failed.
    pub fn one(good: bool, what: impl Into<String>) -> Self {
        if good { Self::passed(1) } else { Self::failed(what) }
    }

    /// Takes up what a step found.
    pub fn add(&mut self, step: &str, other: Self) {
        self.passed += other.passed;
        self.failures.extend(other.failures.into_iter().map(|what| format!("{step}: {what}")));
        self.skips.extend(other.skips);
    }

    /// Writes the skips, the failures and, last, the closing line.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        for skip in &self.skips {
            writeln!(out, "SKIPPED: {} — {}", skip.what, skip.why)?;
        }
        for failure in &self.failures {
            writeln!(out, "FAILED: {failure}")?;
        }
        let (failed, skipped) = (self.failures.len(), self.skips.len());
        writeln!(out, "{} passed, {failed} failed, {skipped} skipped", self.passed)?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closing_line_is_the_last_and_only_counts() {
        let mut total = Report::passed(2);
        total.add("lint", Report::one(false, "too loud"));
        total.add("demo", Report::one(true, "never said"));
        let mut out = Vec::new();
        total.write(&mut out).expect("a buffer takes everything");
        assert_eq!(String::from_utf8_lossy(&out), "FAILED: lint: too loud\n3 passed, 1 failed, 0 skipped\n");
    }
}
