//! Brings the file into the store: parsed on one thread, written by another, each batch durable or not there at all.
//!
//! How far the file has been read is a document in the same commit as the events, so a run that was killed goes on just
//! behind what it had written. Should that be lost, ids are the net: an event that is there already is not added again.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    sync::Arc,
};

use anyhow::{Context, Result, anyhow};
use flate2::read::MultiGzDecoder;
use tidings::{
    App, BlindChange, Commit, DocumentChange, DocumentKey, DocumentWrite, Envelope, Text, View, cloudevents,
};
use tokio::sync::mpsc;

/// Events a commit.
const BATCH: usize = 2_000;

/// Batches that are parsed and wait to be written.
const AHEAD: usize = 4;

/// How much of each file has been read.
const FILES: View = View::new("files");

/// Events that stand together in the file, and how many lines have been read behind them.
struct Batch {
    events: Vec<Envelope>,
    lines: u64,
}

/// Reads `file` from where an earlier run has left it; answers how many of its events were there, and how many are new.
///
/// # Errors
/// A file that cannot be read, a line that is no CloudEvent, a store that cannot be written.
pub async fn ingest(app: &App, file: &Path) -> Result<(u64, u64)> {
    let name = file.file_name().context("a file has a name")?.to_string_lossy().into_owned();
    let read = app.view(FILES)?.get::<serde_json::Value>(&name).await?;
    let skip = read.and_then(|read| read["lines"].as_u64()).unwrap_or(0);
    let (batches, mut parsed) = mpsc::channel(AHEAD);
    let path = file.to_owned();
    let parsing = tokio::task::spawn_blocking(move || parse(&path, skip, &batches));
    let (mut there, mut new) = (skip, 0);
    while let Some(Batch { events, lines }) = parsed.recv().await {
        let count = events.len() as u64;
        let mut commit = Commit::events(events);
        commit.documents.push(progress(&name, lines));
        match app.commit(commit).await?.repeated {
            true => there += count,
            false => new += count,
        }
    }
    parsing.await??;
    Ok((there, new))
}

fn progress(file: &str, lines: u64) -> DocumentWrite {
    let to = i64::try_from(lines).unwrap_or(i64::MAX);
    DocumentWrite {
        key: DocumentKey::new(FILES.name(), file),
        change: DocumentChange::Blind(vec![BlindChange::Max { field: Text::from("lines"), to }]),
        indexed: Arc::from([]),
        expected: None,
    }
}

fn parse(file: &Path, skip: u64, batches: &mpsc::Sender<Batch>) -> Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, MultiGzDecoder::new(File::open(file)?));
    let (mut line, mut lines) = (Vec::new(), 0);
    let mut events = Vec::with_capacity(BATCH);
    loop {
        line.clear();
        let end = reader.read_until(b'\n', &mut line)? == 0;
        lines += u64::from(!end);
        if !end && lines > skip {
            events.push(event(&line).with_context(|| format!("line {lines}"))?);
        }
        if events.len() == BATCH || (end && !events.is_empty()) {
            let full = std::mem::replace(&mut events, Vec::with_capacity(BATCH));
            // Nobody waits for it when writing has failed; that error is the one to tell.
            if batches.blocking_send(Batch { events: full, lines }).is_err() {
                return Ok(());
            }
        }
        if end {
            return Ok(());
        }
    }
}

/// One line. What it is about becomes its key too, so that an application's events are handled in their order.
fn event(line: &[u8]) -> Result<Envelope> {
    let envelope = cloudevents::read(line)?.envelope;
    let subject = envelope.subject().ok_or_else(|| anyhow!("no subject"))?.to_owned();
    Ok(envelope.edit().key(subject).finish()?)
}
