//! Connections for reading, each with what it has seen.

use std::path::PathBuf;

use parking_lot::Mutex;
use rusqlite::Connection;
use tidings_store::Error;

use crate::{
    Options,
    caches::Caches,
    fault::{Fault, Step, is_io},
    open,
};

/// A connection and its caches.
#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) conn: Connection,
    pub(crate) caches: Caches,
}

/// Readers that nobody uses at the moment. The last one put back is the first to be taken, because its pages are warm.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    options: Options,
    /// `None` when closed.
    idle: Mutex<Option<Vec<Reader>>>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf, options: Options) -> Self {
        Self { path, options, idle: Mutex::new(Some(Vec::new())) }
    }

    /// Runs `work` on a connection, in autocommit: one statement sees one state.
    pub(crate) fn with<T>(&self, work: impl FnOnce(&mut Reader) -> Step<T>) -> Result<T, Error> {
        let idle = match self.idle.lock().as_mut() {
            None => return Err(Error::Closed),
            Some(idle) => idle.pop(),
        };
        let mut reader = match idle {
            Some(reader) => reader,
            None => Reader { conn: open::reader(&self.path, &self.options)?, caches: Caches::default() },
        };
        let answer = work(&mut reader);
        // After a fault below it a connection is not used again.
        let broken =
            matches!(&answer, Err(Fault::Sql(error)) if is_io(error)) || !reader.conn.is_autocommit();
        if let Some(idle) = self.idle.lock().as_mut()
            && !broken
            && idle.len() < self.options.readers
        {
            idle.push(reader);
        }
        answer.map_err(Error::from)
    }

    /// The same in a transaction: everything `work` reads is of one moment.
    pub(crate) fn at_one_moment<T>(&self, work: impl FnOnce(&mut Reader) -> Step<T>) -> Result<T, Error> {
        self.with(|reader| {
            reader.conn.prepare_cached(crate::sql::BEGIN_READ)?.execute([])?;
            let answer = work(reader);
            reader.conn.prepare_cached(crate::sql::ROLLBACK)?.execute([])?;
            answer
        })
    }

    /// Closes what is idle now and what comes back later.
    pub(crate) fn close(&self) {
        *self.idle.lock() = None;
    }
}
