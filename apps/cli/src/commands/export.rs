//! `tidings export`: events as CloudEvents lines, to be read by `ingest` or anybody.

use std::{
    fs::File,
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Instant,
};

use anyhow::Context as _;
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use tidings::{Pattern, Position, cloudevents, store::Read};

use super::reading::{Walk, Which, status};
use crate::{
    global::Global,
    output::{
        self,
        event::place,
        number::{counted, span},
        progress::{Unit, bar},
    },
};

/// Write events as CloudEvents, one a line
///
/// `tidings ingest` of the whole log into a new store gives the same events in the same order. Payloads are written as they
/// are, also fields that other commands do not show.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The file, compressed if it ends in `.gz` or `.zst`; `-` is standard output
    #[arg(default_value = "-")]
    file: PathBuf,

    /// Replace the file if it is there
    #[arg(long)]
    force: bool,

    /// Only events whose name matches: `*` is one segment, `**` any number
    #[arg(long)]
    pattern: Option<Pattern>,

    /// Only events after this position
    #[arg(long, value_name = "POSITION", default_value_t = 0)]
    after: Position,

    #[command(flatten)]
    which: Which,
}

/// Runs it.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let begun = Instant::now();
    let mut target = Target::open(&args.file, args.force)?;
    let mut read = Read::after(args.after);
    read.tenants = args.which.tenants();
    read.filter = args.which.filter(args.pattern.as_ref());
    let head = store.head().await?;
    let bar = bar("exporting", Some(head), Unit::Things);
    let (mut events, mut unwritable, mut line) = (0, 0, Vec::new());
    let mut walk = Walk::new(&store, read, None);
    while let Some(page) = walk.page().await? {
        for event in &page {
            // What is recorded after the beginning belongs to the next export.
            if event.position > head {
                break;
            }
            line.clear();
            match cloudevents::write_into(&mut line, &event.envelope, Some(&place(event))) {
                Ok(()) => {
                    line.push(b'\n');
                    target.write(&line)?;
                    events += 1;
                }
                Err(error) => {
                    unwritable += 1;
                    output::remark(format_args!("error: the event at position {}: {error}", event.position));
                }
            }
        }
        bar.set_position(walk.place().min(head));
        if walk.place() >= head {
            break;
        }
    }
    bar.finish_and_clear();
    let name = target.finish()?;
    let time = begun.elapsed();
    if let Some(file) = name {
        let mut out = output::out();
        if global.json {
            let seconds = time.as_secs_f64();
            let object = json!({"file": file, "events": events, "failed": unwritable, "seconds": seconds});
            output::json_line(&mut out, &object)?;
        } else {
            writeln!(out, "{}: {} in {}", file.display(), counted(events, "event"), span(time))?;
        }
        out.flush()?;
    }
    Ok(status(unwritable))
}

/// Where the lines go. A file gets its name when it is whole, so that what is cut short is not taken for an export.
struct Target {
    to: Encoder,
    names: Option<Names>,
}

struct Names {
    partial: PathBuf,
    whole: PathBuf,
}

enum Encoder {
    Plain(Box<dyn Write>),
    Gzip(GzEncoder<BufWriter<File>>),
    Zstd(zstd::Encoder<'static, BufWriter<File>>),
}

impl Target {
    fn open(path: &Path, force: bool) -> anyhow::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self { to: Encoder::Plain(Box::new(output::out())), names: None });
        }
        if !force && path.symlink_metadata().is_ok() {
            anyhow::bail!("{} is there already; replace it with --force", path.display());
        }
        let mut partial = path.as_os_str().to_owned();
        partial.push(".partial");
        let names = Names { partial: partial.into(), whole: path.to_owned() };
        let cannot = || format!("cannot write {}", names.partial.display());
        let file = BufWriter::new(File::create(&names.partial).with_context(cannot)?);
        let to = match path.extension().and_then(|ending| ending.to_str()) {
            Some("gz") => Encoder::Gzip(GzEncoder::new(file, Compression::default())),
            Some("zst") => {
                let mut encoder = zstd::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?;
                encoder.include_checksum(true)?;
                Encoder::Zstd(encoder)
            }
            _ => Encoder::Plain(Box::new(file)),
        };
        Ok(Self { to, names: Some(names) })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        match &mut self.to {
            Encoder::Plain(to) => to.write_all(line),
            Encoder::Gzip(to) => to.write_all(line),
            Encoder::Zstd(to) => to.write_all(line),
        }
    }

    /// Ends the file and gives it its name, which is the answer.
    fn finish(self) -> anyhow::Result<Option<PathBuf>> {
        match self.to {
            Encoder::Plain(mut to) => to.flush()?,
            Encoder::Gzip(to) => to.finish()?.flush()?,
            Encoder::Zstd(to) => to.finish()?.flush()?,
        }
        let Some(Names { partial, whole }) = self.names else { return Ok(None) };
        let cannot = || format!("cannot write {}", whole.display());
        File::open(&partial).and_then(|file| file.sync_all()).with_context(cannot)?;
        std::fs::rename(&partial, &whole).with_context(cannot)?;
        Ok(Some(whole))
    }
}
