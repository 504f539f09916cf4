//! What an operator may do to a subscription: pause, resume, reset, replay and discard dead letters.
//!
//! The node that holds the lease carries it out. Somebody else asks by a document in `$control/…`, and reads the answer
//! there; when nobody holds the lease, whoever asks takes it for that moment and does the work itself, by the same code.

mod decided;
mod serving;

use decided::{chunks, no_letter, on_letters};
pub(crate) use serving::serve;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_core::{
    CheckpointMove, Clock, Commit, DocumentChange, DocumentKey, DocumentWrite, Envelope, Fence, Position,
    Tenant, Text, Timestamp,
};
use tidings_store::{AnyStore, DocumentQuery, Error, Lease, PAGE_EVENTS_MAX, Read};

use crate::{
    Config, DeadLetter, Described, Reason, SUBSCRIPTIONS,
    book::{Book, again, lease_name, rows_namespace},
    dead::dead_namespace,
    rows::{Row, State, row_id},
    runner::load,
    shared::{Shared, newer},
};

/// What an operator asks of a subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "verb")]
pub enum Verb {
    /// Take nothing in until `Resume`.
    Pause,
    /// Go on.
    Resume,
    /// Go back, or forward, to just after this position. Waiting and parked keys are forgotten; dead letters stay where
    /// they are at or before the position, those after it come again from the log.
    Reset {
        /// Everything after it is handled again.
        to: Position,
    },
    /// Give dead letters to the failed handler again, the oldest first.
    Replay {
        /// The positions of the dead letters.
        positions: Vec<Position>,
        /// When; at once, all of them, unless said.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        pace: Option<Pace>,
    },
    /// Replace the payload of a dead letter: a replay handles the new one.
    Edit {
        /// The position of the dead letter.
        position: Position,
        /// The new payload: JSON.
        payload: Text,
        /// Who wants it.
        by: Text,
    },
    /// Forget dead letters; what waited behind them goes on.
    Discard {
        /// The positions of the dead letters.
        positions: Vec<Position>,
    },
}

/// When dead letters are replayed: the first at `from`, each of the others so much later than the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pace {
    /// When the first one is handled.
    pub from: Timestamp,
    /// The microseconds between two.
    pub every_micros: u64,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// How many dead letters, or 1.
    pub done: u64,
    /// What could not be done, and why.
    pub refused: Vec<String>,
}

impl Answer {
    fn add(&mut self, other: Self) {
        self.done += other.done;
        self.refused.extend(other.refused);
    }
}

/// A request as it is kept in the store.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Request {
    #[serde(flatten)]
    verb: Verb,
    asked: Timestamp,
    answer: Option<Answer>,
}

fn namespace(subscription: &str) -> Text {
    Text::from(format!("$control/{subscription}"))
}

/// An operator's hand on a store.
#[derive(Debug, Clone)]
pub struct Operator {
    /// The store.
    pub store: AnyStore,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Whose subscriptions, and by which name leases are taken.
    pub config: Config,
}

/// How a request was carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carried {
    /// Here, because no node runs the subscription now.
    Here(Answer),
    /// By the node that runs it.
    ByNode(Answer),
    /// The node has not answered in time; the request stays, and will be carried out.
    Waiting,
}

impl Operator {
    /// Carries out `verb`, or has it carried out by the node that runs the subscription, waiting up to `patience`.
    ///
    /// # Errors
    /// An unknown subscription, or a store that cannot be read or written.
    pub async fn carry_out(
        &self,
        subscription: &str,
        verb: Verb,
        patience: Duration,
    ) -> Result<Carried, Error> {
        let key = DocumentKey::new(SUBSCRIPTIONS, subscription);
        if self.store.document(&self.config.tenant, &key).await?.is_none() {
            return Err(Error::Refused(format!("there is no subscription {subscription:?} in this store")));
        }
        let lease = lease_name(subscription);
        // A name of its own: by the name of a node in this process the lease would be taken out of that node's hands.
        let owner = format!("{}/operator/{}", self.config.owner, tidings_core::id::next());
        match self.store.lease(&lease, &owner, self.config.lease).await? {
            Lease::Granted { epoch } => {
                let done = self.here(subscription, &verb, epoch).await;
                self.store.release(&lease, &owner).await?;
                done.map(Carried::Here)
            }
            Lease::Held { .. } => self.ask(subscription, verb, patience).await,
        }
    }

    async fn here(&self, subscription: &str, verb: &Verb, epoch: u64) -> Result<Answer, Error> {
        let context = Context { store: &self.store, config: &self.config, name: subscription, epoch };
        match verb {
            Verb::Pause | Verb::Resume => context.pause(*verb == Verb::Pause).await,
            Verb::Reset { to } => context.reset(*to).await,
            Verb::Replay { .. } | Verb::Discard { .. } | Verb::Edit { .. } => {
                let mut all = Answer::default();
                for (verb, positions) in chunks(verb, self.clock.now()) {
                    let (checkpoint, rows) = load(&self.store, &self.config.tenant, subscription).await?;
                    let letters = context.letters(&verb, &positions, self.clock.now()).await?;
                    let name = subscription.into();
                    let mut book = Book::new(name, self.config.clone(), epoch, &checkpoint, rows);
                    all.add(on_letters(&mut book, &verb, letters, self.clock.now()));
                    if book.is_dirty() {
                        self.store.apply(book.seal().commit).await?;
                    }
                }
                Ok(all)
            }
        }
    }

    async fn ask(&self, subscription: &str, verb: Verb, patience: Duration) -> Result<Carried, Error> {
        let key = DocumentKey { namespace: namespace(subscription), id: tidings_core::id::next() };
        let request = Request { verb, asked: self.clock.now(), answer: None };
        put(&self.store, &self.config, &key, Some(&request)).await?;
        let mut beats = self.store.beats();
        let late = self.clock.sleep(patience);
        tokio::pin!(late);
        loop {
            beats.borrow_and_update();
            let found = self.store.document(&self.config.tenant, &key).await?;
            let request = found.and_then(|document| serde_json::from_slice::<Request>(&document.value).ok());
            if let Some(answer) = request.and_then(|request| request.answer) {
                put::<Request>(&self.store, &self.config, &key, None).await?;
                return Ok(Carried::ByNode(answer));
            }
            tokio::select! {
                () = &mut late => return Ok(Carried::Waiting),
                changed = beats.changed() => if changed.is_err() { return Err(Error::Closed) },
            }
        }
    }
}

async fn put<T: Serialize>(
    store: &AnyStore,
    config: &Config,
    key: &DocumentKey,
    value: Option<&T>,
) -> Result<(), Error> {
    let change = match value {
        None => DocumentChange::Delete,
        Some(value) => {
            let json = serde_json::to_vec(value).map_err(|error| Error::Refused(error.to_string()))?;
            DocumentChange::Put(Bytes::from(json))
        }
    };
    let write = DocumentWrite { key: key.clone(), change, indexed: Arc::from([]), expected: None };
    let commit = Commit { tenant: config.tenant.clone(), documents: vec![write], ..Commit::default() };
    store.apply(commit).await.map(drop)
}

struct Context<'a> {
    store: &'a AnyStore,
    config: &'a Config,
    name: &'a str,
    epoch: u64,
}

impl Context<'_> {
    async fn pause(&self, paused: bool) -> Result<Answer, Error> {
        let key = DocumentKey::new(SUBSCRIPTIONS, self.name);
        let Some(document) = self.store.document(&self.config.tenant, &key).await? else {
            return Err(Error::Refused(format!("there is no subscription {:?}", self.name)));
        };
        let described: Described = serde_json::from_slice(&document.value)
            .map_err(|error| Error::Damaged(format!("the description of {}: {error}", self.name)))?;
        put(self.store, self.config, &key, Some(&Described { paused, ..described })).await?;
        Ok(Answer { done: 1, refused: Vec::new() })
    }

    /// Moves the checkpoint under the lease and forgets the rows; a run that goes on meets the moved checkpoint and
    /// begins anew from it. What is more than one commit may hold goes into further ones: a process that dies in between
    /// leaves rows and letters that are not needed, never a checkpoint that has passed over something.
    async fn reset(&self, to: Position) -> Result<Answer, Error> {
        loop {
            let (checkpoint, rows) = load(self.store, &self.config.tenant, self.name).await?;
            let head = self.store.head().await?;
            let mut commit = self.fenced();
            commit.checkpoints.push(CheckpointMove {
                name: self.name.into(),
                expected_revision: checkpoint.revision,
                watermark: to.min(head),
                settled: Vec::new(),
            });
            let mut gone: Vec<(Text, Text)> =
                rows.into_keys().map(|id| (rows_namespace(self.name), id)).collect();
            let mut query = DocumentQuery::all(dead_namespace(self.name));
            query.tenant = self.config.tenant.clone();
            query.after = Some(DeadLetter::document_id(to));
            query.limit = PAGE_EVENTS_MAX;
            loop {
                let page = self.store.documents(&query).await?;
                let full = page.len() == query.limit;
                query.after = page.last().map(|letter| letter.key.id.clone());
                gone.extend(page.into_iter().map(|letter| (letter.key.namespace, letter.key.id)));
                if !full {
                    break;
                }
            }
            let mut parts = gone.chunks(self.config.writes.saturating_sub(2).clamp(1, PAGE_EVENTS_MAX));
            commit.documents = parts.next().unwrap_or_default().iter().map(remove).collect();
            match self.store.apply(commit).await {
                Ok(_) => {}
                Err(Error::CheckpointMoved { .. }) => continue,
                Err(error) => return Err(error),
            }
            for part in parts {
                let mut commit = self.fenced();
                commit.documents = part.iter().map(remove).collect();
                self.store.apply(commit).await?;
            }
            return Ok(Answer { done: 1, refused: Vec::new() });
        }
    }

    fn fenced(&self) -> Commit {
        let mut commit = Commit { tenant: self.config.tenant.clone(), ..Commit::default() };
        commit.fences.push(Fence { lease: lease_name(self.name), epoch: self.epoch });
        commit
    }

    /// The letters as `verb` leaves them, or why it cannot be done.
    async fn letters(
        &self,
        verb: &Verb,
        positions: &[Position],
        now: Timestamp,
    ) -> Result<Vec<Result<DeadLetter, String>>, Error> {
        let mut letters = Vec::new();
        for &position in positions {
            let key = DocumentKey::new(dead_namespace(self.name), DeadLetter::document_id(position));
            let found = self.store.document(&self.config.tenant, &key).await?;
            let letter: Option<DeadLetter> =
                found.and_then(|document| serde_json::from_slice(&document.value).ok());
            letters.push(match (letter, verb) {
                (None, _) => Err(no_letter(position)),
                (Some(letter), Verb::Edit { payload, by, .. }) => {
                    let event = event_of(self.store, &self.config.tenant, &letter).await?;
                    match event {
                        Some(event) => letter
                            .edited(&event, payload.as_bytes(), by.clone(), now)
                            .map_err(|failure| failure.describe()),
                        None => Err(format!("the event at position {position} is not in the log any more")),
                    }
                }
                (Some(letter), _) => Ok(letter),
            });
        }
        Ok(letters)
    }
}

/// The event of a dead letter as a replay would handle it; `None` when the log does not have it any more.
pub(crate) async fn event_of(
    store: &AnyStore,
    tenant: &Tenant,
    letter: &DeadLetter,
) -> Result<Option<Envelope>, Error> {
    let damaged = |failure: tidings_core::Failure| {
        Error::Damaged(format!("dead letter {} of {}: {failure}", letter.entry, letter.handler))
    };
    if let Some(event) = letter.envelope().map_err(damaged)? {
        return Ok(Some(event));
    }
    if letter.position == 0 {
        return Ok(None);
    }
    let read = Read::after(letter.position - 1).tenant(tenant.clone()).limit(1);
    let page = store.read(&read).await?;
    Ok(page.events.into_iter().find(|event| event.position == letter.position).map(|event| event.envelope))
}

fn remove((namespace, id): &(Text, Text)) -> DocumentWrite {
    DocumentWrite {
        key: DocumentKey { namespace: namespace.clone(), id: id.clone() },
        change: DocumentChange::Delete,
        indexed: Arc::from([]),
        expected: None,
    }
}

/// How many dead letters one commit decides about.
const LETTERS: usize = 500;

/// How often a decision is made again that was taken back with the commit it was in.
const TRIES: usize = 10;
