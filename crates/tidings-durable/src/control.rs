//! What an operator may do to a subscription: pause, resume, reset, replay and discard dead letters.
//!
//! The node that holds the lease carries it out. Somebody else asks by a document in `$control/…`, and reads the answer
//! there; when nobody holds the lease, whoever asks takes it for that moment and does the work itself, by the same code.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tidings_core::{
    CheckpointMove, Clock, Commit, DocumentChange, DocumentKey, DocumentWrite, Fence, Position, Text,
    Timestamp,
};
use tidings_store::{AnyStore, DocumentQuery, Error, Lease};

use crate::{
    Config, DeadLetter, Described, Reason, SUBSCRIPTIONS,
    book::{Book, lease_name, rows_namespace},
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
    },
    /// Forget dead letters; what waited behind them goes on.
    Discard {
        /// The positions of the dead letters.
        positions: Vec<Position>,
    },
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
            Verb::Replay { positions } | Verb::Discard { positions } => {
                let mut all = Answer::default();
                for positions in chunks(positions) {
                    let (checkpoint, rows) = load(&self.store, &self.config.tenant, subscription).await?;
                    let letters = context.letters(&positions).await?;
                    let name = subscription.into();
                    let mut book = Book::new(name, self.config.clone(), epoch, &checkpoint, rows);
                    all.add(on_letters(&mut book, verb, letters, self.clock.now()));
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
    /// begins anew from it.
    async fn reset(&self, to: Position) -> Result<Answer, Error> {
        loop {
            let (checkpoint, rows) = load(self.store, &self.config.tenant, self.name).await?;
            let head = self.store.head().await?;
            let mut commit = Commit { tenant: self.config.tenant.clone(), ..Commit::default() };
            commit.fences.push(Fence { lease: lease_name(self.name), epoch: self.epoch });
            commit.checkpoints.push(CheckpointMove {
                name: self.name.into(),
                expected_revision: checkpoint.revision,
                watermark: to.min(head),
                settled: Vec::new(),
            });
            let remove = |namespace: Text, id: Text| DocumentWrite {
                key: DocumentKey { namespace, id },
                change: DocumentChange::Delete,
                indexed: Arc::from([]),
                expected: None,
            };
            commit.documents = rows.into_keys().map(|id| remove(rows_namespace(self.name), id)).collect();
            let mut query = DocumentQuery::all(dead_namespace(self.name));
            query.tenant = self.config.tenant.clone();
            query.after = Some(DeadLetter::document_id(to));
            query.limit = 4_000;
            for letter in self.store.documents(&query).await? {
                commit.documents.push(remove(letter.key.namespace, letter.key.id));
            }
            match self.store.apply(commit).await {
                Ok(_) => return Ok(Answer { done: 1, refused: Vec::new() }),
                Err(Error::CheckpointMoved { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    async fn letters(&self, positions: &[Position]) -> Result<Vec<Result<DeadLetter, String>>, Error> {
        let mut letters = Vec::new();
        for &position in positions {
            let key = DocumentKey::new(dead_namespace(self.name), DeadLetter::document_id(position));
            let found = self.store.document(&self.config.tenant, &key).await?;
            let letter = found.and_then(|document| serde_json::from_slice(&document.value).ok());
            letters.push(letter.ok_or_else(|| no_letter(position)));
        }
        Ok(letters)
    }
}

/// How many dead letters one commit decides about.
const LETTERS: usize = 500;

/// How often a decision is made again that was taken back with the commit it was in.
const TRIES: usize = 10;

/// The positions in order, as many at a time as one commit decides about.
fn chunks(positions: &[Position]) -> Vec<Vec<Position>> {
    let mut sorted = positions.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    sorted.chunks(LETTERS).map(<[Position]>::to_vec).collect()
}

fn no_letter(position: Position) -> String {
    format!("there is no dead letter at position {position}")
}

/// Replays or discards `letters`, which come in order of position.
fn on_letters(
    book: &mut Book,
    verb: &Verb,
    letters: Vec<Result<DeadLetter, String>>,
    now: Timestamp,
) -> Answer {
    let mut answer = Answer::default();
    book.now = now;
    for letter in letters {
        let done = letter.and_then(|letter| match verb {
            _ if book.letter_on_its_way(letter.position) == Some(false) => Err(no_letter(letter.position)),
            Verb::Discard { .. } => discard(book, &letter),
            _ => replay(book, &letter, now),
        });
        match done {
            Ok(()) => answer.done += 1,
            Err(why) => answer.refused.push(why),
        }
    }
    answer
}

/// The row of the letter's key, if it has one and order was kept when it was given up.
fn row_of(book: &Book, letter: &DeadLetter) -> Option<(Text, Row)> {
    let key = letter.key.as_ref()?;
    let id = row_id(Some(key), letter.position);
    let row = book.rows.get(&id)?;
    let concerns = match row.state {
        State::Parked { position } => position == letter.position || letter.reason == Reason::Follower,
        State::Pending { position, .. } => position == letter.position || letter.reason == Reason::Follower,
        State::Draining { .. } => letter.reason == Reason::Follower,
    };
    concerns.then(|| (id, row.clone()))
}

fn pending(letter: &DeadLetter, now: Timestamp) -> State {
    State::Pending {
        position: letter.position,
        attempt: 1,
        calls: letter.attempts + 1,
        due: now,
        first: letter.first_at,
        error: letter.error.clone(),
    }
}

fn replay(book: &mut Book, letter: &DeadLetter, now: Timestamp) -> Result<(), String> {
    let position = letter.position;
    match row_of(book, letter) {
        Some((id, row)) => match row.state {
            State::Parked { position: head } if head == position => {
                book.operate(&id, Some(Row { state: pending(letter, now), ..row }), []);
                Ok(())
            }
            // It follows by itself when what is before it is through.
            State::Pending { .. } | State::Draining { .. } => Ok(()),
            State::Parked { position: head } => Err(format!(
                "the dead letter at {position} waits behind the one at {head} of the same key; decide that one first"
            )),
        },
        None => {
            let id = row_id(None, position);
            if book.rows.get(&id).is_none() {
                book.operate(&id, Some(Row::new(None, pending(letter, now))), []);
            }
            Ok(())
        }
    }
}

fn discard(book: &mut Book, letter: &DeadLetter) -> Result<(), String> {
    let position = letter.position;
    match row_of(book, letter) {
        Some((id, row)) if matches!(row.state, State::Parked { position: head } if head == position) => {
            let rest = row.end > position;
            book.operate(
                &id,
                rest.then_some(Row { state: State::Draining { after: position }, ..row }),
                [position],
            );
        }
        Some((id, row)) if letter.reason == Reason::Follower && !book.rows.is_begun(&id, position) => {
            let overflow = row.overflow.saturating_sub(1);
            book.operate(&id, Some(Row { overflow, ..row }), [position]);
        }
        Some(_) => return Err(format!("the dead letter at {position} is being replayed")),
        None => {
            let id = row_id(None, position);
            if book.rows.get(&id).is_some() {
                return Err(format!("the dead letter at {position} is being replayed"));
            }
            book.forget(position);
        }
    }
    Ok(())
}

/// Looks for requests at a running subscription, and carries them out.
pub(crate) async fn serve(shared: Arc<Shared>) {
    let mut beats = shared.store.beats();
    let mut taken_up = false;
    loop {
        beats.borrow_and_update();
        let mut done = Ok(());
        if !taken_up {
            done = take_up(&shared).await;
            taken_up = done.is_ok();
        }
        if let Err(error) = done.and(requests(&shared).await) {
            tracing::warn!(subscription = %shared.name, %error, "requests of operators wait");
        }
        // Looking is cheap, but not free: at most ten times a second.
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = shared.clock.sleep(Duration::from_millis(100)) => {}
        }
        tokio::select! {
            () = shared.stop.cancelled() => return,
            changed = beats.changed() => if changed.is_err() { return },
        }
    }
}

async fn requests(shared: &Shared) -> Result<(), Error> {
    let query =
        DocumentQuery { tenant: shared.config.tenant.clone(), ..DocumentQuery::all(namespace(&shared.name)) };
    for document in shared.store.documents(&query).await? {
        let Ok(request) = serde_json::from_slice::<Request>(&document.value) else { continue };
        if request.answer.is_some() {
            continue;
        }
        let answer = carried(shared, &request.verb).await?;
        tracing::info!(subscription = %shared.name, verb = ?request.verb, ?answer, "an operator's request was carried out");
        put(&shared.store, &shared.config, &document.key, Some(&Request { answer: Some(answer), ..request }))
            .await?;
    }
    Ok(())
}

async fn carried(shared: &Shared, verb: &Verb) -> Result<Answer, Error> {
    let epoch = shared.book.lock().epoch();
    let context = Context { store: &shared.store, config: &shared.config, name: &shared.name, epoch };
    match verb {
        Verb::Pause | Verb::Resume => {
            let paused = *verb == Verb::Pause;
            let answer = context.pause(paused).await?;
            shared.paused.send_replace(paused);
            Ok(answer)
        }
        Verb::Reset { to } => {
            let answer = context.reset(*to).await?;
            shared.lost.cancel();
            Ok(answer)
        }
        Verb::Replay { positions } | Verb::Discard { positions } => {
            let mut all = Answer::default();
            for positions in chunks(positions) {
                all.add(decided(shared, &context, verb, &positions).await?);
            }
            Ok(all)
        }
    }
}

/// Decides about dead letters; the answer is given when the decision is in the store.
async fn decided(
    shared: &Shared,
    context: &Context<'_>,
    verb: &Verb,
    positions: &[Position],
) -> Result<Answer, Error> {
    for _ in 0..TRIES {
        let before = shared.book.lock().revision();
        let letters = context.letters(positions).await?;
        let (answer, kept) = {
            let mut book = shared.book.lock();
            if book.revision() != before {
                // A letter that was read may be gone by now.
                continue;
            }
            let answer = on_letters(&mut book, verb, letters, shared.clock.now());
            shared.blocked.store(book.rows.len(), std::sync::atomic::Ordering::SeqCst);
            if !book.is_dirty() {
                return Ok(answer);
            }
            (answer, book.when_kept())
        };
        shared.press();
        shared.rows.notify_one();
        tokio::select! {
            kept = kept => if kept == Ok(true) { return Ok(answer) },
            () = shared.leave.cancelled() => return Err(Error::Closed),
        }
    }
    Err(Error::Locked("the subscription commits too often to decide in between; it is tried again".into()))
}

/// What an earlier version of this program did not know, and this one knows, is taken up again.
async fn take_up(shared: &Shared) -> Result<(), Error> {
    let Some(known) = shared.event else { return Ok(()) };
    let mut query = DocumentQuery::all(dead_namespace(&shared.name));
    query.tenant = shared.config.tenant.clone();
    query.field = Some(("reason".into(), Reason::Newer.to_string().into()));
    let mut positions = Vec::new();
    loop {
        let page = shared.store.documents(&query).await?;
        let full = page.len() == query.limit;
        for document in page {
            query.after = Some(document.key.id);
            let Ok(letter) = serde_json::from_slice::<DeadLetter>(&document.value) else { continue };
            let found = shared.store.find(&shared.config.tenant, &letter.source, &letter.id).await?;
            if found.is_some_and(|event| !newer(known, &event.envelope)) {
                positions.push(letter.position);
            }
        }
        if !full {
            break;
        }
    }
    if !positions.is_empty() {
        let answer = carried(shared, &Verb::Replay { positions }).await?;
        tracing::info!(subscription = %shared.name, ?answer, "events that were too new are taken up");
    }
    Ok(())
}
