//! Why a queue could not be started or changed.

use std::io;

/// Why a queue could not be started or changed.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct Error {
    kind: ErrorKind,
    what: String,
    faults: Vec<String>,
    source: Option<io::Error>,
}

/// The kinds of [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting means nothing.
    Settings,
    /// The machine gave no thread.
    Thread,
    /// The queue has ended.
    Ended,
}

impl Error {
    /// What kind it is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// What is wrong with the settings, each with its field.
    pub fn faults(&self) -> &[String] {
        &self.faults
    }

    /// Nothing, or all that is wrong with settings.
    pub(crate) fn settings(faults: Vec<String>) -> Result<(), Self> {
        if faults.is_empty() {
            return Ok(());
        }
        Err(Self { kind: ErrorKind::Settings, what: faults.join("; "), faults, source: None })
    }

    pub(crate) fn thread(source: io::Error) -> Self {
        let what = "a worker's thread could not be started".into();
        Self { kind: ErrorKind::Thread, what, faults: Vec::new(), source: Some(source) }
    }

    pub(crate) fn ended() -> Self {
        Self { kind: ErrorKind::Ended, what: "the queue has ended".into(), faults: Vec::new(), source: None }
    }
}
