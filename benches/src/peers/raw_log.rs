//! The limit: a file that is only appended to, with a checksum a record and one sync a group.

use std::{
    fs::{File, OpenOptions},
    io::{BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use xxhash_rust::xxh3::xxh3_64;

use super::{
    Each, Log,
    group::{Group, Writer},
    record,
};
use crate::workload::Sample;

/// Length and checksum before each record.
const HEAD: usize = 12;

/// A file that is only appended to.
pub struct RawLog {
    path: PathBuf,
    group: Group,
}

struct Appender {
    file: File,
    buffer: Vec<u8>,
}

impl RawLog {
    /// A new log in the folder.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("events.log");
        let file = OpenOptions::new().create(true).append(true).open(&path)?;
        // The file's own name has to survive as well.
        file.sync_all()?;
        File::open(folder)?.sync_all()?;
        Ok(Self { group: Group::start(Appender { file, buffer: Vec::new() })?, path })
    }
}

impl Writer for Appender {
    fn write(&mut self, appends: &[Vec<Arc<Sample>>]) -> Result<()> {
        self.buffer.clear();
        for sample in appends.iter().flatten() {
            push(&mut self.buffer, |out| record::encode(out, sample));
        }
        self.file.write_all(&self.buffer)?;
        self.file.sync_data()?;
        Ok(())
    }
}

/// Appends a record with its head.
fn push(out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD]);
    encode(out);
    let (length, sum) = match out.get(start + HEAD..) {
        Some(body) => (body.len() as u32, xxh3_64(body)),
        None => return,
    };
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
    out[start + 4..start + HEAD].copy_from_slice(&sum.to_le_bytes());
}

/// Shows the body of every record, each checked.
fn scan(path: &Path, mut each: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let file = File::open(path)?;
    let mut left = file.metadata()?.len();
    let mut file = BufReader::with_capacity(1 << 20, file);
    let (mut head, mut body) = ([0; HEAD], Vec::new());
    while left > 0 {
        file.read_exact(&mut head).context("a head is cut off")?;
        let [a, b, c, d, sum @ ..] = head;
        let length = u32::from_le_bytes([a, b, c, d]);
        ensure!(u64::from(length) + HEAD as u64 <= left, "a record is cut off");
        body.resize(length as usize, 0);
        file.read_exact(&mut body)?;
        ensure!(xxh3_64(&body) == u64::from_le_bytes(sum), "a record has changed");
        each(&body)?;
        left -= u64::from(length) + HEAD as u64;
    }
    Ok(())
}

#[async_trait]
impl Log for RawLog {
    async fn append(&self, events: Vec<Arc<Sample>>) -> Result<()> {
        self.group.append(events).await
    }

    async fn read_all(&self, each: Each<'_>) -> Result<()> {
        scan(&self.path, |body| {
            each(record::decode(body)?);
            Ok(())
        })
    }

    /// There is no index: it reads everything.
    async fn read_stream(&self, stream: i64, each: Each<'_>) -> Result<()> {
        scan(&self.path, |body| {
            let seen = record::decode(body)?;
            if seen.stream == stream {
                each(seen);
            }
            Ok(())
        })
    }

    async fn close(&self) -> Result<u64> {
        self.group.close()?;
        Ok(std::fs::metadata(&self.path)?.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_that_has_changed_or_is_cut_off_is_not_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let mut bytes = Vec::new();
        for body in ["first", "second"] {
            push(&mut bytes, |out| out.extend_from_slice(body.as_bytes()));
        }
        let read = |bytes: &[u8]| {
            std::fs::write(&path, bytes).expect("written");
            let mut bodies = Vec::new();
            let ended = scan(&path, |body| {
                bodies.push(String::from_utf8_lossy(body).into_owned());
                Ok(())
            });
            (bodies, ended.is_ok())
        };
        assert_eq!(read(&bytes), (vec!["first".to_owned(), "second".to_owned()], true));
        assert_eq!(read(&bytes[..bytes.len() - 1]), (vec!["first".to_owned()], false));
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        assert_eq!(read(&bytes), (vec!["first".to_owned()], false));
    }
}
