//! What SQLite answers, in the words of the port.

use rusqlite::ErrorCode;
use tidings_store::Error;

/// Why a step did not happen.
#[derive(Debug)]
pub(crate) enum Fault {
    /// An answer to whoever asked; nothing is wrong with the store.
    Answer(Error),
    /// The same, but something had been written before: the whole transaction has to be taken back.
    Torn(Error),
    /// SQLite could not do it.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Answer(error)
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Answer(error) | Fault::Torn(error) => error,
            Fault::Sql(error) => explain(&error),
        }
    }
}

impl Fault {
    /// The fault of somebody who has begun to write.
    pub(crate) fn torn(self) -> Self {
        match self {
            Self::Answer(error) => Self::Torn(error),
            other => other,
        }
    }
}

pub(crate) type Step<T> = Result<T, Fault>;

/// The port's word for an error of SQLite's.
pub(crate) fn explain(error: &rusqlite::Error) -> Error {
    let text = error.to_string();
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => match failure.code {
            ErrorCode::DiskFull => Error::Full(text),
            ErrorCode::ReadOnly | ErrorCode::PermissionDenied => Error::ReadOnly(text),
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::Locked(text),
            ErrorCode::DatabaseCorrupt => Error::Damaged(text),
            ErrorCode::NotADatabase => Error::NotAStore(text),
            _ => Error::Io(text),
        },
        // A column that does not have its type, or a row that must be there and is not.
        rusqlite::Error::InvalidColumnType(..)
        | rusqlite::Error::FromSqlConversionFailure(..)
        | rusqlite::Error::IntegralValueOutOfRange(..)
        | rusqlite::Error::QueryReturnedNoRows
        | rusqlite::Error::Utf8Error(..) => Error::Damaged(text),
        _ => Error::Io(text),
    }
}

/// Whether the connection can no longer be trusted: reading, writing or syncing failed below it.
pub(crate) fn is_io(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::SystemIoFailure))
}

/// Whether there was no room.
pub(crate) fn is_full(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DiskFull))
}

/// Whether somebody else holds the lock.
pub(crate) fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked))
}

/// A fault of the operating system, with what was being done.
pub(crate) fn io(doing: &str, error: &std::io::Error) -> Error {
    use std::io::ErrorKind;
    let text = format!("{doing}: {error}");
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Error::Full(text),
        ErrorKind::ReadOnlyFilesystem => Error::ReadOnly(text),
        _ => Error::Io(text),
    }
}
