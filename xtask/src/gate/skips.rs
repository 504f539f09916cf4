//! Tests that could not run here say so in a file.
//!
//! The standard harness has no way for a running test to say "not here", so the gate hands every test the path of a
//! file in [`VARIABLE`]. A test that finds its needs unmet appends one line to it, `what — why`, and returns. The
//! harness then takes the test for a passed one; the gate counts it as skipped instead.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use super::report::{Report, Skip};

/// The variable that holds the path.
pub const VARIABLE: &str = "TIDINGS_SKIPS";

/// The file of one run.
#[derive(Debug)]
pub struct Skips {
    /// Where it lies; handed to the tests.
    pub path: PathBuf,
}

impl Skips {
    /// An empty file at `path`, whatever was there.
    pub fn begin(path: PathBuf) -> Result<Self> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        fs::write(&path, "").with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { path })
    }

    /// Moves what the tests wrote from the passed to the skipped.
    pub fn settle(self, report: &mut Report) -> Result<()> {
        let text = fs::read_to_string(&self.path)?;
        let skips: Vec<Skip> = text.lines().filter_map(Skip::parse).collect();
        report.passed = report.passed.saturating_sub(skips.len());
        report.skips.extend(skips);
        Ok(())
    }
}

impl Skip {
    fn parse(line: &str) -> Option<Self> {
        let line = line.trim();
        let line = line.strip_prefix("SKIPPED:").unwrap_or(line).trim();
        let (what, why) = line.split_once(" — ").unwrap_or((line, "no reason given"));
        (!line.is_empty()).then(|| Self { what: what.trim().to_owned(), why: why.trim().to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_test_that_wrote_a_line_is_skipped_and_not_passed() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let path = root.path().join("deep/skips");
        let skips = Skips::begin(path.clone()).expect("begun");
        fs::write(&path, "loans totals — no log here\n\nSKIPPED: crash shim — no gcc\nbare\n")
            .expect("written");
        let mut report = Report::passed(10);
        skips.settle(&mut report).expect("read");
        assert_eq!(report.passed, 7);
        let said: Vec<_> = report.skips.iter().map(|skip| (skip.what.as_str(), skip.why.as_str())).collect();
        assert_eq!(
            said,
            [("loans totals", "no log here"), ("crash shim", "no gcc"), ("bare", "no reason given")]
        );
    }

    #[test]
    fn what_an_earlier_run_skipped_is_forgotten() {
        let root = tempfile::tempdir().expect("a temporary folder");
        let path = root.path().join("skips");
        fs::write(&path, "old — gone\n").expect("written");
        let mut report = Report::passed(1);
        Skips::begin(path).expect("begun").settle(&mut report).expect("read");
        assert_eq!(report, Report::passed(1));
    }
}
