//! Makes the steps of a history. What it knows of the store it asks the model, so that a seed alone decides.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use tidings_core::{
    Append, BlobChange, Clock, Commit, DocumentKey, Envelope, EventQuery, Expected, Fence, ManualClock,
    NothingSince, Tenant, Text, Timestamp,
};

use super::{
    dice::Dice,
    queries::{OWNERS, QUEUES, STREAMS},
};
use crate::{
    AnyStore, DocumentQuery, Read, Tenants,
    contract::{kit::made, show},
};

/// What the clock shows at the beginning of a history.
pub(super) const BEGINNING: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A step.
#[derive(Debug, Clone)]
pub(super) enum Op {
    Apply(Box<Commit>),
    Read(Box<Read>),
    Head,
    StreamVersion(Tenant, &'static str),
    Find(Tenant, Text, Text),
    FirstMatch(Tenant, EventQuery, u64),
    Document(Tenant, DocumentKey),
    Documents(DocumentQuery),
    Count(DocumentQuery),
    Checkpoint(&'static str),
    Checkpoints,
    Lease(&'static str, &'static str, Duration),
    Release(&'static str, &'static str),
    Holder(&'static str),
    Due(Tenants, &'static str, Timestamp, usize),
    Blob(Tenant, &'static str),
    Stats,
    Verify,
    /// The clock has been set to this.
    Clock(Timestamp),
    /// The engine is closed and opened again, where that is possible.
    Restart,
}

/// The names of checkpoints.
pub(super) const SUBSCRIPTIONS: [&str; 2] = ["sub", "Sub"];

pub(super) struct Plan {
    pub(super) dice: Dice,
    pub(super) model: AnyStore,
    commits: Vec<Commit>,
    epochs: HashMap<&'static str, u64>,
    ids: u64,
}

impl Plan {
    pub(super) fn new(seed: u64, model: AnyStore) -> Self {
        Self { dice: Dice::new(seed), model, commits: Vec::new(), epochs: HashMap::new(), ids: 0 }
    }

    /// The next step. A step of the clock has been taken when this returns.
    pub(super) async fn next(&mut self, clock: &ManualClock) -> Op {
        let now = clock.now();
        match self.dice.below(100) {
            0..35 => Op::Apply(Box::new(self.commit(now).await)),
            35..45 => Op::Apply(Box::new(self.echo(now).await)),
            45..60 => {
                let head = self.model.head().await.unwrap_or(0);
                Op::Read(Box::new(self.dice.read(head, now)))
            }
            60..65 => self.set(clock),
            65..68 => Op::Restart,
            68..78 => self.ask_log().await,
            78..88 => self.ask_documents(),
            _ => self.ask_rest(now),
        }
    }

    /// Remembers what was done, to do it again.
    pub(super) fn learn(&mut self, op: &Op, answer: &str) {
        match op {
            Op::Apply(commit) if !commit.appends.is_empty() => self.commits.push((**commit).clone()),
            Op::Lease(name, ..) => {
                let epoch = answer.strip_prefix("Granted { epoch: ").and_then(|rest| rest.strip_suffix(" }"));
                if let Some(epoch) = epoch.and_then(|epoch| epoch.parse().ok()) {
                    self.epochs.insert(name, epoch);
                }
            }
            _ => {}
        }
    }

    fn set(&mut self, clock: &ManualClock) -> Op {
        // Mostly whole seconds, so that times meet the ends of ranges.
        let unit = if self.dice.chance(80) { 1_000_000 } else { 1_001 };
        let span = i64::try_from(self.dice.below(20)).unwrap_or(0) * unit;
        let micros = if self.dice.chance(75) { span } else { -span };
        clock.set(Timestamp::from_micros(clock.now().as_micros() + micros));
        Op::Clock(clock.now())
    }

    async fn ask_log(&mut self) -> Op {
        let head = self.model.head().await.unwrap_or(0);
        let of = self.dice.tenant();
        match self.dice.below(4) {
            0 => Op::Head,
            1 => Op::StreamVersion(of, self.dice.pick(&STREAMS)),
            2 => {
                let id = Text::from(format!("e{}", self.dice.below(self.ids + 1)));
                Op::Find(of, Text::from(self.dice.pick(&["/contract", "/b"])), id)
            }
            _ => Op::FirstMatch(of, self.dice.query(), self.dice.below(head + 2)),
        }
    }

    fn ask_documents(&mut self) -> Op {
        match self.dice.below(3) {
            0 => Op::Document(self.dice.tenant(), self.dice.document_key()),
            1 => Op::Documents(self.dice.document_query()),
            _ => Op::Count(self.dice.document_query()),
        }
    }

    fn ask_rest(&mut self, now: Timestamp) -> Op {
        let lease = self.dice.pick(&show::LEASES);
        let owner = self.dice.pick(&OWNERS);
        match self.dice.below(10) {
            0 => Op::Checkpoint(self.dice.pick(&SUBSCRIPTIONS)),
            1 => Op::Checkpoints,
            2 | 3 => Op::Lease(lease, owner, self.dice.span()),
            4 => Op::Release(lease, owner),
            5 => Op::Holder(lease),
            6 => {
                let until = Timestamp::from_micros(now.as_micros() + self.dice.around(60) * 1_000_000);
                Op::Due(self.dice.tenants(), self.dice.pick(&QUEUES), until, self.dice.pick(&[1, 2, 100]))
            }
            7 => Op::Blob(self.dice.tenant(), self.dice.pick(&show::BLOBS)),
            8 => Op::Stats,
            _ => Op::Verify,
        }
    }

    fn new_id(&mut self) -> Text {
        self.ids += 1;
        Text::from(format!("e{}", self.ids))
    }

    /// A new commit, most of whose conditions hold.
    async fn commit(&mut self, now: Timestamp) -> Commit {
        let mut commit = Commit { tenant: self.dice.tenant(), ..Commit::default() };
        let appends = self.dice.pick(&[0, 1, 1, 1, 2, 3]);
        for _ in 0..appends {
            let append = self.new_append(&commit.tenant, now).await;
            commit.appends.push(append);
        }
        while self.dice.chance(15) {
            let lease = self.dice.pick(&show::LEASES);
            let known = self.epochs.get(lease).copied().unwrap_or(0);
            let epoch = if self.dice.chance(75) { known } else { self.dice.below(known + 2) };
            commit.fences.push(Fence { lease: Text::from(lease), epoch });
        }
        while self.dice.chance(20) {
            let head = self.model.head().await.unwrap_or(0);
            let after = head.saturating_sub(self.dice.below(8));
            commit.conditions.push(NothingSince { query: self.dice.query(), after });
        }
        self.add_documents(&mut commit).await;
        while self.dice.chance(15) {
            let checkpoint = self.checkpoint_move().await;
            commit.checkpoints.push(checkpoint);
        }
        while self.dice.chance(20) {
            let change = self.due_change(now);
            commit.due.push(change);
        }
        while self.dice.chance(20) {
            let key = Text::from(self.dice.pick(&show::BLOBS));
            let bytes = Bytes::from(vec![self.dice.pick(b"xyz"); self.dice.index(50)]);
            let put = self.dice.chance(70);
            commit.blobs.push(if put { BlobChange::Put { key, bytes } } else { BlobChange::Delete { key } });
        }
        commit
    }

    async fn new_append(&mut self, of: &Tenant, now: Timestamp) -> Append {
        let stream = self.dice.pick(&STREAMS);
        let version = self.model.stream_version(of, stream).await.unwrap_or(0);
        let expected = match self.dice.below(10) {
            0..5 => Expected::Any,
            5..8 => Expected::Exact(version),
            8 => self.dice.pick(&[Expected::None, Expected::Exists]),
            _ => Expected::Exact(self.dice.below(version + 3)),
        };
        let mut events = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            let old = self.dice.chance(3) && self.ids > 0;
            let id =
                if old { Text::from(format!("e{}", 1 + self.dice.below(self.ids))) } else { self.new_id() };
            events.push(self.dice.event(&id, now));
        }
        Append::to(stream, events).expecting(expected)
    }

    /// An earlier commit again: whole, in part, together with another, or changed.
    async fn echo(&mut self, now: Timestamp) -> Commit {
        if self.commits.is_empty() {
            return self.commit(now).await;
        }
        let mut commit = self.commits[self.dice.index(self.commits.len())].clone();
        match self.dice.below(6) {
            0 => {}
            1 => {
                let kept = self.dice.index(commit.appends.len());
                commit.appends.swap(0, kept);
                commit.appends.truncate(1);
                let events = &mut commit.appends[0].events;
                let first = self.dice.index(events.len());
                events.rotate_left(first);
                events.truncate(1 + self.dice.index(events.len()));
            }
            2 => {
                let other = &self.commits[self.dice.index(self.commits.len())];
                commit.appends.extend(other.appends.iter().cloned());
            }
            3 => {
                let event = self.changed(&commit.appends[0].events[0]);
                commit.appends[0].events[0] = event;
            }
            4 => {
                let id = self.new_id();
                let more = self.dice.event(&id, now);
                let append = self.dice.index(commit.appends.len());
                commit.appends[append].events.push(more);
            }
            _ => {
                commit.tenant = self.dice.tenant();
                commit.appends[0].stream = Text::from(self.dice.pick(&STREAMS));
            }
        }
        commit
    }

    fn changed(&mut self, event: &Envelope) -> Envelope {
        let edit = event.edit();
        made(match self.dice.below(5) {
            0 => edit.json(r#"{"n":99}"#),
            1 => edit.tags(vec![Text::from("changed")]),
            2 => edit.hops(event.hops() ^ 1),
            3 => edit.key("changed"),
            // The very same, under another name for its stream where that is no change.
            _ => edit.stream(event.stream().into_owned()),
        })
    }
}
