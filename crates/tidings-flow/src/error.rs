//! Why something could not be set up.

use std::time::Duration;

/// Why an operator or a flow could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", faults.join("; "))]
pub struct Error {
    kind: ErrorKind,
    faults: Vec<String>,
}

/// The kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting means nothing.
    Settings,
    /// There is no tokio runtime to run on.
    NoRuntime,
}

impl Error {
    /// What kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What is wrong, each with the setting it is about.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    pub(crate) fn no_runtime() -> Self {
        Self { kind: ErrorKind::NoRuntime, faults: vec!["there is no tokio runtime here".into()] }
    }

    /// Nothing, or all of what is wrong with settings.
    pub(crate) fn settings(faults: Vec<String>) -> Result<(), Self> {
        if faults.is_empty() { Ok(()) } else { Err(Self { kind: ErrorKind::Settings, faults }) }
    }
}

/// Time is kept in microseconds: what is less than one, or so much that times could not be added, means nothing.
const SPAN_MAX: Duration = Duration::from_micros(1 << 60);

/// Notes a span of time that is too short or too long to mean anything.
pub(crate) fn span(faults: &mut Vec<String>, setting: &str, span: Duration) {
    if span < Duration::from_micros(1) {
        faults.push(format!("{setting}: must be at least a microsecond, not {span:?}"));
    } else {
        bounded(faults, setting, span);
    }
}

/// The same for a span that may be nothing.
pub(crate) fn bounded(faults: &mut Vec<String>, setting: &str, span: Duration) {
    if span > SPAN_MAX {
        faults.push(format!("{setting}: must be at most {SPAN_MAX:?}, not {span:?}"));
    }
}

/// Notes a number that must not be 0, and why.
pub(crate) fn some(faults: &mut Vec<String>, setting: &str, number: usize, why: &str) {
    if number == 0 {
        faults.push(format!("{setting}: must not be 0, {why}"));
    }
}
