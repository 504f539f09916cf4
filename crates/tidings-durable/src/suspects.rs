//! Deliveries that were in the hands of a process when it died: any of them may be why.
//!
//! Nothing is written while all goes well, but for one document when a run begins and when it has ended in order. A run
//! that finds that the one before it did not end in order knows which deliveries may have been in hand: those between
//! the watermark and as far as could have been read, and rows that were due. These are its suspects. They are handled
//! before anything new is read, one at a time in the whole node, and each is named in a commit before it is called for;
//! the same commit settles the one before it. So when the process dies again, it is known with which, and that this one
//! was there both times: its policy decides about it, and quarantines it unless it says otherwise.
//!
//! While a subscription has suspects, the others of its node wait, for up to [`QUIET`]: what they do could kill the
//! process as well, and the wrong one would be blamed.

mod lone;
mod quiet;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tidings_core::{Commit, DocumentChange, DocumentKey, DocumentWrite, Fence, Position, Text, Timestamp};
use tidings_store::{Checkpoint, Error, Filter, Read};

pub(crate) use self::{
    lone::Lone,
    quiet::{Quiet, Waiting},
};
use crate::{
    book::lease_name,
    node::Node,
    rows::{Row, State},
    runner::{PAGE, READ_AHEAD},
    shared::Shared,
    subscription::Declared,
    window::Window,
};

/// Where it is kept how the latest run of each subscription began and ended.
pub const RUNS: &str = "$runs";

/// How long the other subscriptions of a node wait for one that has suspects.
pub const QUIET: Duration = Duration::from_secs(30);

/// How a run stands.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Run {
    /// It has ended in order.
    pub clean: bool,
    /// Up to here there are suspects.
    #[serde(default)]
    pub to: Position,
    /// The one that runs alone now.
    #[serde(default)]
    pub one: Option<Position>,
    /// How often the process died with one that ran alone.
    #[serde(default)]
    pub crashes: BTreeMap<Position, u32>,
}

impl Run {
    pub(crate) fn value(&self) -> Bytes {
        serde_json::to_vec(self).map(Bytes::from).expect("plain data")
    }
}

/// The suspects of one run.
#[derive(Debug)]
pub(crate) struct Suspects {
    active: AtomicBool,
    to: Position,
    since: Timestamp,
    rows: Mutex<Vec<Text>>,
    /// How often the process died with one that ran alone; mostly nobody.
    crashes: Mutex<BTreeMap<Position, u32>>,
    any: AtomicBool,
    others: Mutex<Option<Waiting>>,
    pub quiet: Arc<Quiet>,
}

/// Finds out how the run before ended, and writes down that this one begins.
pub(crate) async fn begin(
    node: &Node,
    declared: &Declared,
    checkpoint: &Checkpoint,
    rows: impl Iterator<Item = (&Text, &Row)>,
    epoch: u64,
    waiting: Option<Waiting>,
) -> Result<Suspects, Error> {
    let key = DocumentKey::new(RUNS, declared.name.clone());
    let found = node.store.document(&node.config.tenant, &key).await?;
    let before: Option<Run> =
        found.map(|document| serde_json::from_slice(&document.value)).transpose().map_err(|error| {
            Error::Damaged(format!("how the latest run of {} stands: {error}", declared.name))
        })?;
    let now = node.clock.now();
    let mut run = Run::default();
    let mut suspect_rows = Vec::new();
    // In a process that is still there nothing has died: only the lease was lost.
    let is_first = !declared.has_begun.load(Ordering::SeqCst);
    if let Some(before) = before.as_ref().filter(|before| !before.clean) {
        run.crashes = before.crashes.clone();
        if is_first {
            if let Some(one) = before.one {
                *run.crashes.entry(one).or_default() += 1;
            }
            run.to = match before.to {
                0 => unsettled(node, declared, checkpoint).await?,
                // Nothing after it was handed out.
                to => to,
            };
            let may_run = |row: &Row| match row.state {
                State::Pending { due, .. } => due <= now,
                State::Draining { .. } => true,
                State::Parked { .. } => false,
            };
            suspect_rows = rows.filter(|(_, row)| may_run(row)).map(|(id, _)| id.clone()).collect();
        }
    }
    if before.as_ref() != Some(&run) {
        write(node, &declared.name, &run, epoch).await?;
    }
    declared.has_begun.store(true, Ordering::SeqCst);
    let active = run.to > checkpoint.watermark || !suspect_rows.is_empty();
    if active {
        tracing::warn!(subscription = %declared.name, to = run.to, rows = suspect_rows.len(), "the run before ended in the middle: what may have been in hand runs alone");
    }
    Ok(Suspects {
        active: active.into(),
        to: run.to,
        since: now,
        rows: Mutex::new(suspect_rows),
        any: (!run.crashes.is_empty()).into(),
        crashes: Mutex::new(run.crashes),
        others: Mutex::new(waiting.filter(|_| active)),
        quiet: node.quiet.clone(),
    })
}

/// How far deliveries may have been handed out; 0 for none.
async fn unsettled(node: &Node, declared: &Declared, checkpoint: &Checkpoint) -> Result<Position, Error> {
    let mut window = Window::restore(checkpoint);
    let filter = Filter::names(declared.patterns.clone());
    let mut to = 0;
    while window.unsettled() < READ_AHEAD {
        let read = Read::after(window.read_to())
            .filter(filter.clone())
            .tenant(node.config.tenant.clone())
            .limit(PAGE);
        let page = node.store.read(&read).await?;
        for event in &page.events {
            if window.read(event.position) {
                to = event.position;
            }
        }
        window.advance(page.next);
        if page.end {
            break;
        }
    }
    Ok(to)
}

/// Writes down how a run stands, under its lease.
pub(crate) async fn write(node: &Node, name: &Text, run: &Run, epoch: u64) -> Result<(), Error> {
    let mut commit = Commit { tenant: node.config.tenant.clone(), ..Commit::default() };
    commit.fences.push(Fence { lease: lease_name(name), epoch });
    commit.documents.push(DocumentWrite {
        key: DocumentKey::new(RUNS, name.clone()),
        change: DocumentChange::Put(run.value()),
        indexed: Arc::from([]),
        expected: None,
    });
    node.store.apply(commit).await.map(drop)
}

impl Suspects {
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// Up to where there are some.
    pub(crate) fn to(&self) -> Position {
        self.to
    }

    /// How often the process died with this one in its hands, as far as that is certain.
    pub(crate) fn crashes(&self, position: Position) -> u32 {
        if !self.any.load(Ordering::Relaxed) {
            return 0;
        }
        match self.crashes.lock().get(&position) {
            None => 0,
            // It was alone these times, and one of many before.
            Some(alone) => alone + 1,
        }
    }

    /// It is quarantined: who replays it means it.
    pub(crate) fn forget(&self, position: Position) {
        self.crashes.lock().remove(&position);
    }

    /// Whether the others wait.
    pub(crate) fn keeps_others(&self) -> bool {
        self.others.lock().is_some()
    }

    /// How long they still do.
    pub(crate) fn patience(&self, now: Timestamp) -> Duration {
        QUIET.saturating_sub(now.since(self.since))
    }

    /// The others need not wait any more.
    pub(crate) fn let_others_go(&self) {
        drop(self.others.lock().take());
    }
}

impl Shared {
    /// Names the one that is to run alone, in the commit that has what was settled before it.
    pub(crate) async fn name_suspect(&self, one: Option<Position>) {
        let suspects = &self.suspects;
        let run = Run { clean: false, to: suspects.to, one, crashes: suspects.crashes.lock().clone() };
        self.keep_run(&run).await;
    }

    async fn keep_run(&self, run: &Run) {
        loop {
            let kept = {
                let mut book = self.book.lock();
                book.note_run(run.value());
                book.when_kept()
            };
            self.press();
            tokio::select! {
                () = self.leave.cancelled() => return,
                kept = kept => if kept != Ok(false) { return },
            }
        }
    }

    /// Whether there are no suspects any more.
    pub(crate) async fn suspects_over(&self) -> bool {
        let suspects = &self.suspects;
        let over = {
            let book = self.book.lock();
            let mut rows = suspects.rows.lock();
            rows.retain(|id| match book.rows.get(id).map(|row| &row.state) {
                None | Some(State::Parked { .. }) => false,
                Some(State::Pending { due, .. }) => *due <= suspects.since,
                Some(State::Draining { .. }) => true,
            });
            rows.is_empty() && book.window.watermark() >= suspects.to
        };
        if over {
            let run = Run { crashes: suspects.crashes.lock().clone(), ..Run::default() };
            self.keep_run(&run).await;
            suspects.active.store(false, Ordering::SeqCst);
            suspects.let_others_go();
            self.told();
        }
        over
    }
}
