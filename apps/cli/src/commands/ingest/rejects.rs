//! Lines that were not added, and the file they are written to.

use std::{
    fs::File,
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde::Serialize;

use crate::output::{self, remark};

/// How many are said on standard error; all are in the file.
const SAID: u64 = 5;

/// A line that was not added.
#[derive(Debug, Clone, Serialize)]
pub struct Reject {
    /// Its number, from 1.
    pub line: u64,
    /// Why.
    pub reason: String,
    /// The attribute it is about, if it is about one.
    pub field: Option<String>,
    /// The line; where it is not UTF-8, as near as can be.
    pub text: String,
    /// How long it is, where `text` is only its beginning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// The file of rejected lines, made when there is a first one.
pub struct Rejects {
    path: PathBuf,
    file: Option<BufWriter<File>>,
    many: u64,
}

/// Where rejected lines of a file go unless another place is named.
pub fn beside(file: &Path) -> PathBuf {
    if file.as_os_str() == "-" {
        return PathBuf::from("ingest.rejects");
    }
    let mut path = file.as_os_str().to_owned();
    path.push(".rejects");
    path.into()
}

impl Rejects {
    /// Rejected lines go to `path`.
    pub fn new(path: PathBuf) -> Self {
        Self { path, file: None, many: 0 }
    }

    /// Writes one down.
    pub fn push(&mut self, reject: &Reject) -> anyhow::Result<()> {
        let cannot = || format!("cannot write rejected lines to {}", self.path.display());
        let file = match &mut self.file {
            Some(file) => file,
            empty => empty.insert(BufWriter::new(File::create(&self.path).with_context(cannot)?)),
        };
        output::json_line(file, reject).with_context(cannot)?;
        self.many += 1;
        if self.many <= SAID {
            remark(format_args!("rejected: line {}: {}", reject.line, reject.reason));
        } else if self.many == SAID + 1 {
            remark(format_args!("rejected: more lines, see {}", self.path.display()));
        }
        Ok(())
    }

    /// The file, if there is one.
    pub fn written(&self) -> Option<&Path> {
        self.file.as_ref().map(|_| self.path.as_path())
    }

    /// Writes out what is still held.
    pub fn finish(self) -> anyhow::Result<()> {
        let Some(mut file) = self.file else { return Ok(()) };
        file.flush().with_context(|| format!("cannot write rejected lines to {}", self.path.display()))
    }
}
