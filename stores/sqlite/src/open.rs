//! Opening a file: is it a store, which format has it, and making one.

use std::{
    fs::File,
    io::Read as _,
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};
use tidings_core::id;
use tidings_store::Error;

use crate::{
    Options,
    fault::{Step, explain, io, is_busy},
    sql,
};

/// What a SQLite file of ours says it belongs to: `Tdng`.
pub const APPLICATION_ID: i32 = 0x5464_6e67;

/// The newest format this engine reads and the one it writes.
pub const FORMAT: u32 = 1;

const PAGE_SIZE: i64 = 8_192;
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// What is at `path`, before SQLite is asked: it would make an empty file, and call a folder "unable to open".
pub(crate) fn look(path: &Path, options: &Options) -> Result<(), Error> {
    let shown = path.display();
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            if options.create && !options.read_only {
                Ok(())
            } else {
                Err(Error::NotAStore(format!("there is no file {shown}")))
            }
        }
        Err(error) => Err(io(&format!("opening {shown}"), &error)),
        Ok(found) if !found.is_file() => Err(Error::NotAStore(format!("{shown} is not a file"))),
        Ok(found) if found.len() == 0 => {
            if options.create && !options.read_only {
                Ok(())
            } else {
                Err(Error::NotAStore(format!("{shown} is empty")))
            }
        }
        Ok(_) => {
            let mut begin = [0; MAGIC.len()];
            let file = File::open(path).map_err(|error| io(&format!("opening {shown}"), &error))?;
            let mut file = file.take(MAGIC.len() as u64);
            match file.read_exact(&mut begin) {
                Ok(()) if begin == *MAGIC => Ok(()),
                Ok(()) => Err(Error::NotAStore(format!("{shown} is no SQLite file"))),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    Err(Error::NotAStore(format!("{shown} is too short for a SQLite file")))
                }
                Err(error) => Err(io(&format!("reading {shown}"), &error)),
            }
        }
    }
}

fn connect(path: &Path, flags: OpenFlags) -> rusqlite::Result<Connection> {
    // Every connection is used by one thread at a time, so SQLite need not lock it.
    let conn = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.set_prepared_statement_cache_capacity(96);
    conn.pragma_update(None, "foreign_keys", false)?;
    conn.pragma_update(None, "trusted_schema", false)?;
    conn.pragma_update(None, "temp_store", "memory")?;
    Ok(conn)
}

/// Tries again while another process holds the lock, until `wait` is over.
pub(crate) fn patiently<T>(wait: Duration, mut attempt: impl FnMut() -> Step<T>) -> Step<T> {
    let begun = Instant::now();
    let mut pause = Duration::from_micros(100);
    loop {
        match attempt() {
            Err(crate::fault::Fault::Sql(error)) if is_busy(&error) && begun.elapsed() < wait => {
                std::thread::sleep(pause.min(wait.saturating_sub(begun.elapsed())));
                pause = (pause * 2).min(Duration::from_millis(5));
            }
            answer => return answer,
        }
    }
}

/// The writer's connection. It makes the store if there is none.
pub(crate) fn writer(path: &Path, options: &Options) -> Result<Connection, Error> {
    if options.read_only {
        let conn = reader(path, options)?;
        check(&conn, path)?;
        return Ok(conn);
    }
    let mut flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    if options.create {
        flags |= OpenFlags::SQLITE_OPEN_CREATE;
    }
    let open = || -> Step<Connection> {
        let conn = connect(path, flags)?;
        conn.busy_timeout(Duration::ZERO)?;
        if is_blank(&conn)? {
            if !options.create {
                return Err(Error::NotAStore(format!("{} has nothing in it", path.display())).into());
            }
            make(&conn)?;
        }
        check(&conn, path)?;
        conn.pragma_update(None, "synchronous", "FULL")?;
        conn.pragma_update(None, "cache_size", -(options.cache_bytes as i64 / 1_024))?;
        conn.pragma_update(None, "wal_autocheckpoint", (options.checkpoint_bytes as i64 / PAGE_SIZE).max(1))?;
        // One very large commit must not leave a large log behind for ever.
        conn.pragma_update(None, "journal_size_limit", options.checkpoint_bytes as i64 * 4)?;
        Ok(conn)
    };
    patiently(options.lock_wait, open).map_err(Error::from)
}

/// A connection that only reads.
pub(crate) fn reader(path: &Path, options: &Options) -> Result<Connection, Error> {
    let open = || -> rusqlite::Result<Connection> {
        let conn = connect(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        conn.busy_timeout(options.lock_wait)?;
        conn.pragma_update(None, "cache_size", -(options.cache_bytes as i64 / 8 / 1_024))?;
        Ok(conn)
    };
    open().map_err(|error| explain(&error))
}

/// Nothing has been written by anybody: a new file, or one whose making was cut short.
fn is_blank(conn: &Connection) -> rusqlite::Result<bool> {
    let owner: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let tables: i64 = conn.query_row(sql::TABLES, [], |row| row.get(0))?;
    Ok(owner == 0 && tables == 0)
}

fn make(conn: &Connection) -> Step<()> {
    conn.pragma_update(None, "page_size", PAGE_SIZE)?;
    conn.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get::<_, String>(0))?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.execute_batch(sql::BEGIN)?;
    // Another process may have been faster.
    let made = if is_blank(conn)? { fill(conn) } else { Ok(()) };
    match made.and_then(|()| conn.execute_batch(sql::COMMIT)) {
        Ok(()) => Ok(()),
        Err(error) => {
            let _ = conn.execute_batch(sql::ROLLBACK);
            Err(error.into())
        }
    }
}

fn fill(conn: &Connection) -> rusqlite::Result<()> {
    conn.execute_batch(sql::SCHEMA)?;
    conn.execute(sql::SET_STORE, [&*id::next()])?;
    conn.pragma_update(None, "application_id", APPLICATION_ID)?;
    conn.pragma_update(None, "user_version", FORMAT)
}

/// That the file is ours, and of a format we know.
fn check(conn: &Connection, path: &Path) -> Step<()> {
    let shown = path.display();
    let owner: i32 = conn.pragma_query_value(None, "application_id", |row| row.get(0))?;
    if owner != APPLICATION_ID {
        return Err(Error::NotAStore(format!("{shown} is a SQLite file of another program")).into());
    }
    let found: u32 = conn.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > FORMAT {
        return Err(Error::NewerFormat { found, known: FORMAT }.into());
    }
    // The file's own count of pages against what is there, and the table every read begins with.
    conn.query_row(sql::REVISION, [], |row| row.get::<_, i64>(0)).map_err(|error| match error {
        rusqlite::Error::QueryReturnedNoRows => {
            Error::Damaged(format!("{shown} has lost its revision")).into()
        }
        error => crate::fault::Fault::from(error),
    })?;
    Ok(())
}
