//! Where lines come from: a file or standard input, plain or compressed.

use std::{
    fs::File,
    io::{self, BufReader, Cursor, Read},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use anyhow::Context as _;
use flate2::read::MultiGzDecoder;

/// How many bytes have been read.
pub type Count = Arc<AtomicU64>;

/// What is read ahead, compressed and plain.
const BUFFER_BYTES: usize = 256 << 10;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Something to read lines from.
pub struct Source {
    /// Plain bytes.
    pub from: BufReader<Box<dyn Read + Send>>,
    /// How many bytes of the file have been read, as it lies there.
    pub read: Count,
    /// How many there are, if that is known.
    pub bytes: Option<u64>,
    /// Whether it is written while it is read, so that what is there should not wait for what may come.
    pub is_live: bool,
}

impl Source {
    /// Opens a file, or standard input for `-`. Its first bytes say whether it is compressed.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let cannot = || format!("cannot read {}", path.display());
        let is_live = path.as_os_str() == "-";
        let (raw, bytes): (Box<dyn Read + Send>, _) = if is_live {
            (Box::new(io::stdin()), None)
        } else {
            let file = File::open(path).with_context(cannot)?;
            let about = file.metadata().with_context(cannot)?;
            anyhow::ensure!(!about.is_dir(), "cannot read {}: it is a folder", path.display());
            (Box::new(file), about.is_file().then_some(about.len()))
        };
        let read = Count::default();
        let counting = Counting { raw, read: read.clone() };
        let plain = plain(counting).with_context(cannot)?;
        Ok(Self { from: BufReader::with_capacity(BUFFER_BYTES, plain), read, bytes, is_live })
    }
}

fn plain(mut raw: Counting) -> io::Result<Box<dyn Read + Send>> {
    let mut magic = [0; ZSTD.len()];
    let mut have = 0;
    while let Some(rest) = magic.get_mut(have..).filter(|rest| !rest.is_empty()) {
        match raw.read(rest) {
            Ok(0) => break,
            Ok(more) => have += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let begin = magic.get(..have).unwrap_or_default().to_vec();
    let (is_gzip, is_zstd) = (begin.starts_with(&GZIP), begin == ZSTD);
    let whole = Cursor::new(begin).chain(raw);
    Ok(if is_gzip {
        Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, whole)))
    } else if is_zstd {
        Box::new(zstd::Decoder::new(whole)?)
    } else {
        Box::new(whole)
    })
}

/// Counts what passes.
struct Counting {
    raw: Box<dyn Read + Send>,
    read: Count,
}

impl Read for Counting {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let many = self.raw.read(into)?;
        self.read.fetch_add(many as u64, Ordering::Relaxed);
        Ok(many)
    }
}
