//! What is wrong with a configuration, collected.

use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Faults(Vec<String>);

impl Faults {
    pub(super) fn add(&mut self, path: &str, what: &str) {
        self.0.push(format!("{path}: {what}"));
    }

    /// A span that was said has to be longer than nothing.
    pub(super) fn span(&mut self, path: &str, span: Option<Duration>, or: &str) {
        if span.is_some_and(|span| span.is_zero()) {
            self.add(path, &format!("must not be 0, or {or}"));
        }
    }

    /// A share lies between `least` and 1, both included. What is no number lies nowhere.
    pub(super) fn share(&mut self, path: &str, share: f64, least: f64) {
        let fits = (least..=1.0).contains(&share);
        if !fits {
            self.add(path, &format!("must be between {least} and 1, not {share}"));
        }
    }

    /// A count from 1 to `most`.
    pub(super) fn count(&mut self, path: &str, count: usize, most: usize) {
        if !(1..=most).contains(&count) {
            self.add(path, &format!("must be between 1 and {most}, not {count}"));
        }
    }

    pub(super) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// Texts with something between them.
pub(super) fn join(texts: impl IntoIterator<Item = String>, between: &str) -> String {
    texts.into_iter().collect::<Vec<_>>().join(between)
}
