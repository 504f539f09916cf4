//! Understands what `cargo test` prints, line by line.
//!
//! The lines that count are those of the standard test harness:
//! ```text
//! test order::holds ... FAILED
//! test files::large ... ignored, takes long
//! test result: FAILED. 11 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.02s
//! ```

use super::report::{Report, Skip};

/// What has been read so far.
#[derive(Debug, Default)]
pub struct Reader {
    report: Report,
    failed: usize,
    ignored: usize,
}

impl Reader {
    /// Takes up one line.
    pub fn line(&mut self, line: &str) {
        let Some(rest) = line.strip_prefix("test ") else { return };
        if let Some(counts) = rest.strip_prefix("result: ") {
            self.report.passed += count(counts, "passed");
            self.failed += count(counts, "failed");
            self.ignored += count(counts, "ignored");
        } else if let Some((name, outcome)) = rest.rsplit_once(" ... ") {
            match outcome.split_once(", ").unwrap_or((outcome, "marked as ignored, without a reason")) {
                ("FAILED", _) => self.report.failures.push(name.to_owned()),
                ("ignored", why) => {
                    self.report.skips.push(Skip { what: name.to_owned(), why: why.to_owned() })
                }
                _ => {}
            }
        }
    }

    /// The sum of all lines, given how cargo ended. What was counted but not named is reported all the same; so is a
    /// run that ended badly without a failed test (it did not compile, or a test brought its process down), and one
    /// that ran nothing.
    pub fn finish(self, success: bool) -> Report {
        let Self { mut report, failed, ignored } = self;
        for _ in report.failures.len()..failed {
            report.failures.push("a test whose name was not seen".to_owned());
        }
        for _ in report.skips.len()..ignored {
            let (what, why) = ("a test whose name was not seen".to_owned(), "marked as ignored".to_owned());
            report.skips.push(Skip { what, why });
        }
        if !success && report.failures.is_empty() {
            report.failures.push("cargo test ended badly without naming a failed test; see above".to_owned());
        }
        if success && report.passed == 0 {
            report.failures.push("cargo test ran no test".to_owned());
        }
        report
    }
}

/// The number before a word of the result line.
fn count(line: &str, word: &str) -> usize {
    line.split([';', '.'])
        .filter_map(|part| part.trim().split_once(' '))
        .find(|(_, counted)| *counted == word)
        .and_then(|(number, _)| number.parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, success: bool) -> Report {
        let mut reader = Reader::default();
        text.lines().for_each(|line| reader.line(line));
        reader.finish(success)
    }

    #[test]
    fn counts_of_all_binaries_are_added_and_failures_and_skips_named() {
        let report = read(
            "running 3 tests\n\
             test a::works ... ok\n\
             test a::fails ... FAILED\n\
             test a::waits ... ignored, takes long\n\
             test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n\
             test crates/a/src/lib.rs - f (line 3) ... ok\n\
             test crates/a/src/lib.rs - g (line 9) ... ignored\n\
             test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s\n",
            false,
        );
        assert_eq!(report.passed, 13);
        assert_eq!(report.failures, ["a::fails"]);
        let skips: Vec<_> = report.skips.iter().map(|skip| (skip.what.as_str(), skip.why.as_str())).collect();
        assert_eq!(
            skips,
            [
                ("a::waits", "takes long"),
                ("crates/a/src/lib.rs - g (line 9)", "marked as ignored, without a reason")
            ]
        );
    }

    #[test]
    fn what_is_counted_but_not_named_is_reported_all_the_same() {
        let report = read("test result: FAILED. 1 passed; 2 failed; 1 ignored; 0 measured\n", false);
        assert_eq!((report.failures.len(), report.skips.len()), (2, 1));
    }

    #[test]
    fn a_bad_end_without_a_failed_test_is_a_failure() {
        assert_eq!(read("error: could not compile `a`\n", false).failures.len(), 1);
        let died = "test result: ok. 3 passed; 0 failed; 0 ignored\nerror: signal: 6, SIGABRT\n";
        assert_eq!(read(died, false).failures.len(), 1);
    }

    #[test]
    fn a_run_without_a_test_is_a_failure() {
        assert_eq!(
            read("test result: ok. 0 passed; 0 failed; 0 ignored\n", true).failures,
            ["cargo test ran no test"]
        );
    }
}
