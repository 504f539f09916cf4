//! A whole real log through the program: `tidings ingest` on a new store.

use std::{
    fs::File,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use flate2::read::MultiGzDecoder;
use tidings_benches::{
    child::{answer, number, program, workspace},
    disk::{ALLOCATOR, Disk},
    harness::{Unit, at_least},
};
use xxhash_rust::xxh3::xxh3_64;

/// The log, beside the workspace.
const LOG: &str = "../shared/data/loans.ndjson.gz";

/// Events in it.
const EVENTS: usize = 262_200;

/// Events a quick run takes of them.
const HEAD: usize = 5_000;

/// Lines a sync, as the program has them.
const BATCH: usize = 1_000;

fn main() -> Result<()> {
    let disk = Disk::begin()?;
    let mut job = disk.job(env!("CARGO_BIN_NAME"));
    let log = workspace().join(LOG);
    let subject = disk.subject("262,200 events of a real log, from its compressed file");
    let unit = Unit::rate("events/s");
    if !log.is_file() {
        println!("skipped: {LOG} is not there");
        let skipped = "skipped: the log is not beside the workspace; 0 means not measured";
        return job.table(subject.as_str(), unit).peer("tidings ingest", || Ok(0.0)).note(skipped).run();
    }
    let program = program()?;
    let (log, events) = if disk.pick(false, true) { (head(&disk, &log)?, HEAD) } else { (log, EVENTS) };
    let table = job
        .table(subject.as_str(), unit)
        .reference("raw log", || raw(&disk, &log, events))
        .note(format!(
            "unpacked, each line with its checksum to a file, a sync every {BATCH}; nothing is parsed or known of the \
             lines"
        ))
        .guarantee("durable", "yes")
        .guarantee("ids", "not checked")
        .guarantee("order", "that of the file")
        .peer("tidings ingest", || {
            let folder = disk.fresh()?;
            let store = format!("sqlite:{}", folder.path().join("loans.db").display());
            let (told, seconds) = answer(
                Command::new(&program)
                    .args(["--json", "--store", store.as_str(), "ingest", "--stream-by", "subject", "--rejects"])
                    .arg(folder.path().join("rejects"))
                    .arg(&log),
            )?;
            let added = number(&told, "added")?;
            ensure!(added == events as f64, "{added} were added, not {events}: {told}");
            Ok(events as f64 / seconds)
        })
        .guarantee("durable", "yes")
        .guarantee("ids", "checked")
        .guarantee("order", "that of the file, and of each stream")
        .goal(at_least(100_000.0).absolute())
        .note(format!(
            "the whole process, from its start to its end, the store closed; all {events} added; {ALLOCATOR}"
        ));
    disk.probed(table).run()
}

/// The first lines of the log, unpacked.
fn head(disk: &Disk, log: &Path) -> Result<PathBuf> {
    let path = disk.folder().join("head.ndjson");
    let mut out = File::create(&path)?;
    for line in lines(log)?.take(HEAD) {
        writeln!(out, "{}", line?)?;
    }
    Ok(path)
}

fn lines(log: &Path) -> Result<impl Iterator<Item = std::io::Result<String>>> {
    let file = File::open(log)?;
    let is_packed = log.extension().is_some_and(|end| end == "gz");
    let from: Box<dyn std::io::Read> =
        if is_packed { Box::new(MultiGzDecoder::new(BufReader::new(file))) } else { Box::new(file) };
    Ok(BufReader::with_capacity(1 << 18, from).lines())
}

fn raw(disk: &Disk, log: &Path, events: usize) -> Result<f64> {
    let folder = disk.fresh()?;
    let begun = Instant::now();
    let mut file = File::create(folder.path().join("log"))?;
    let (mut buffer, mut count) = (Vec::new(), 0);
    for line in lines(log)? {
        let line = line.context("unpacking")?;
        buffer.extend_from_slice(&(line.len() as u32).to_le_bytes());
        buffer.extend_from_slice(&xxh3_64(line.as_bytes()).to_le_bytes());
        buffer.extend_from_slice(line.as_bytes());
        count += 1;
        if count % BATCH == 0 {
            file.write_all(&buffer)?;
            file.sync_data()?;
            buffer.clear();
        }
    }
    file.write_all(&buffer)?;
    file.sync_data()?;
    ensure!(count == events, "{count} lines, not {events}");
    Ok(events as f64 / begun.elapsed().as_secs_f64())
}
