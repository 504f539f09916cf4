//! Lines become events, and events become batches, on a thread of its own.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::{self, BufReader, Read},
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use tidings::{Commit, Envelope, PAYLOAD_BYTES_MAX, TEXT_BYTES_MAX, Tenant, Text, category, cloudevents};
use tokio::sync::mpsc;

use super::{
    lines::{LINE_BYTES_MAX, Line, Lines},
    rejects::Reject,
};

/// A batch ends when its lines have come to this many bytes: half of what a commit may have.
const BATCH_BYTES: usize = 8 << 20;

/// What decides about an event's stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StreamBy {
    /// Its subject.
    Subject,
}

/// What both sides know.
#[derive(Debug, Default)]
pub struct Shared {
    /// Read no further.
    pub stop: AtomicBool,
    /// Something is being written, so that what is read meanwhile may wait.
    pub busy: AtomicBool,
}

/// From the thread that parses.
pub enum Message {
    Batch(Box<Batch>),
    /// There is no more, or it cannot be read.
    End(io::Result<()>),
}

/// An event and the line it was on.
#[derive(Debug)]
pub struct Parsed {
    pub line: u64,
    pub text: Range<usize>,
    pub envelope: Envelope,
}

/// Events to be written in one commit, and what was found beside them.
#[derive(Debug, Default)]
pub struct Batch {
    pub tenant: Tenant,
    pub events: Vec<Parsed>,
    /// The events again, ready to be written.
    pub commit: Commit,
    /// Lines that are the same event as one before.
    pub doubled: u64,
    pub rejects: Vec<Reject>,
    /// The lines of the events.
    text: Vec<u8>,
}

impl Batch {
    /// The commit of these events.
    pub fn commit_of(tenant: &Tenant, events: &[Parsed]) -> Commit {
        let envelopes = events.iter().map(|event| event.envelope.clone());
        Commit { tenant: tenant.clone(), ..Commit::events(envelopes) }
    }

    /// How many lines it is about.
    pub fn lines(&self) -> u64 {
        (self.events.len() + self.rejects.len()) as u64 + self.doubled
    }

    /// How many bytes the lines of its events have.
    pub fn bytes(&self) -> usize {
        self.text.len()
    }

    /// The event as a line that is not added.
    pub fn reject(text: &[u8], event: &Parsed, reason: String, field: Option<&str>) -> Reject {
        let text = text.get(event.text.clone()).unwrap_or_default();
        Reject {
            line: event.line,
            reason,
            field: field.map(str::to_owned),
            text: String::from_utf8_lossy(text).into_owned(),
            bytes: None,
        }
    }

    /// Takes the lines out.
    pub fn take_text(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.text)
    }
}

/// The thread's work.
pub struct Parsing {
    pub by: Option<StreamBy>,
    pub batch: usize,
    pub is_live: bool,
    pub shared: Arc<Shared>,
    pub send: mpsc::Sender<Message>,
}

/// Whoever took the batches has gone away.
struct Gone;

impl Parsing {
    /// Reads everything.
    pub fn run(self, from: BufReader<impl Read>) {
        let mut building = Building::default();
        let mut lines = Lines::new(from);
        let end = loop {
            if self.shared.stop.load(Ordering::Relaxed) {
                return;
            }
            match building.line(&mut lines, self.by) {
                Ok(true) => {}
                Ok(false) => break Ok(()),
                Err(error) => break Err(error),
            }
            let next_waits = self.is_live && lines.must_wait() && !self.shared.busy.load(Ordering::Acquire);
            if (next_waits || building.is_full(self.batch)) && self.hand_over(&mut building).is_err() {
                return;
            }
        };
        if self.hand_over(&mut building).is_ok() {
            // Nobody may be there any more to hear that it is over.
            let _ = self.send.blocking_send(Message::End(end));
        }
    }

    fn hand_over(&self, building: &mut Building) -> Result<(), Gone> {
        let (batch, next) = building.take();
        if batch.lines() > 0 {
            self.send.blocking_send(Message::Batch(batch)).map_err(|_| Gone)?;
        }
        if let Some(Next { tenant, event, text }) = next {
            building.batch.tenant = tenant;
            building.accept(event, &text);
        }
        Ok(())
    }
}

/// The first event of another tenant: it begins the next batch.
struct Next {
    tenant: Tenant,
    event: Parsed,
    text: Vec<u8>,
}

/// A batch in the making.
#[derive(Default)]
struct Building {
    batch: Batch,
    /// Which of the batch's events has this source and id.
    ids: HashMap<(Text, Text), usize>,
    next: Option<Next>,
}

impl Building {
    fn is_full(&self, events: usize) -> bool {
        self.batch.events.len() >= events
            || self.batch.text.len() >= BATCH_BYTES
            || self.batch.rejects.len() >= events
            || self.next.is_some()
    }

    fn take(&mut self) -> (Box<Batch>, Option<Next>) {
        self.ids.clear();
        let mut batch = std::mem::take(&mut self.batch);
        // The next one will be about as large.
        self.batch.text.reserve(batch.text.len().min(BATCH_BYTES));
        self.batch.events.reserve(batch.events.len());
        batch.commit = Batch::commit_of(&batch.tenant, &batch.events);
        (Box::new(batch), self.next.take())
    }

    /// Takes in a line. False at the end.
    fn line(&mut self, lines: &mut Lines<impl Read>, by: Option<StreamBy>) -> io::Result<bool> {
        let begin = self.batch.text.len();
        let Some(line) = lines.next(&mut self.batch.text)? else { return Ok(false) };
        let text = self.batch.text.get(begin..).unwrap_or_default();
        let read = match line {
            Line::TooLong { bytes } => {
                let reason = format!("the line has {bytes} bytes, more than {LINE_BYTES_MAX}");
                Err(Wrong { reason, field: None, bytes: Some(bytes) })
            }
            Line::Whole if text.iter().all(u8::is_ascii_whitespace) => {
                self.batch.text.truncate(begin);
                return Ok(true);
            }
            Line::Whole => event(text, by),
        };
        match read {
            Ok(envelope) => {
                let event = Parsed { line: lines.number, text: begin..self.batch.text.len(), envelope };
                self.sort(event);
            }
            Err(Wrong { reason, field, bytes }) => {
                // A line ending in CR LF is shown without either.
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                let text = String::from_utf8_lossy(text).into_owned();
                self.batch.rejects.push(Reject { line: lines.number, reason, field, text, bytes });
                self.batch.text.truncate(begin);
            }
        }
        Ok(true)
    }

    fn sort(&mut self, event: Parsed) {
        let tenant = event.envelope.tenant().cloned().map(Tenant).unwrap_or_default();
        if self.batch.events.is_empty() {
            self.batch.tenant = tenant;
        } else if self.batch.tenant != tenant {
            let text = self.batch.text.split_off(event.text.start);
            self.next = Some(Next { tenant, event, text });
            return;
        }
        self.sort_in(event);
    }

    fn accept(&mut self, event: Parsed, text: &[u8]) {
        let begin = self.batch.text.len();
        self.batch.text.extend_from_slice(text);
        self.sort_in(Parsed { text: begin..self.batch.text.len(), ..event });
    }

    /// Puts an event into the batch, unless it is there already.
    fn sort_in(&mut self, event: Parsed) {
        let id = (event.envelope.source().clone(), event.envelope.id().clone());
        match self.ids.entry(id) {
            Entry::Vacant(free) => {
                free.insert(self.batch.events.len());
                self.batch.events.push(event);
            }
            Entry::Occupied(taken) => {
                let before = self.batch.events.get(*taken.get());
                if before.is_some_and(|before| before.envelope.same_content(&event.envelope)) {
                    self.batch.doubled += 1;
                } else {
                    let reject = Batch::reject(&self.batch.text, &event, REUSED.into(), Some("id"));
                    self.batch.rejects.push(reject);
                }
                self.batch.text.truncate(event.text.start);
            }
        }
    }
}

/// Why an event whose id is taken is not added.
pub const REUSED: &str = "the id is known with other content";

struct Wrong {
    reason: String,
    field: Option<String>,
    bytes: Option<u64>,
}

/// The event on a line, as it is to be stored.
fn event(text: &[u8], by: Option<StreamBy>) -> Result<Envelope, Wrong> {
    let wrong = |reason: String, field: Option<String>| Wrong { reason, field, bytes: None };
    let incoming = cloudevents::read(text).map_err(|error| wrong(error.to_string(), error.field))?;
    let envelope = match by {
        Some(StreamBy::Subject) => by_subject(incoming.envelope),
        None => incoming.envelope,
    };
    let size = envelope.payload().map_or(0, |payload| payload.len());
    if size > PAYLOAD_BYTES_MAX {
        let reason = format!("`data` has {size} bytes, more than {PAYLOAD_BYTES_MAX}");
        return Err(wrong(reason, Some("data".into())));
    }
    let stream = envelope.stream().len();
    if stream > TEXT_BYTES_MAX {
        let field = match (by, envelope.own_stream()) {
            (Some(StreamBy::Subject), _) => "subject",
            (None, Some(_)) => "streamname",
            (None, None) => "partitionkey",
        };
        let reason = format!("the stream's name has {stream} bytes, more than {TEXT_BYTES_MAX}");
        return Err(wrong(reason, Some(field.into())));
    }
    Ok(envelope)
}

/// The event in the stream of its subject, and with it as key; one without a subject as it is.
fn by_subject(envelope: Envelope) -> Envelope {
    let Some(subject) = envelope.own_subject() else { return envelope };
    let mut changed = envelope.edit().key(subject.clone());
    // Without a stream of its own it goes to that of its key, which is the same.
    if envelope.own_stream().is_some() {
        changed = changed.stream(format!("{}-{subject}", category(envelope.name())));
    }
    // Only what was checked before has moved.
    changed.trusted()
}
