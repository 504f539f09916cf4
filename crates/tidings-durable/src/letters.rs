//! Dead letters in a store: of durable subscriptions, and of buffered and bus handlers.
//!
//! Those of durable subscriptions are decided about by whoever runs the subscription, through an [`Operator`]. The others
//! are plain documents: a decision is a conditional write, and a replay is a row with a due time, which the process that
//! runs the handler takes.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tidings_core::{
    BoxFuture, Commit, DeadLetter, DeadLetters, Decided, Decision, DocumentChange, DocumentKey,
    DocumentWrite, DueChange, DueRow, Failure, GivenUp, Handled, LetterAndEvent, LetterFigures, LetterFilter,
    LetterKeeper, LetterPage, OrFail, REPLAY_CLAIM, Text, Timestamp,
};
use tidings_store::{Document, DocumentQuery, Error, PAGE_EVENTS_MAX, Tenants};

use crate::{
    Carried, DEAD_FIELDS, DEAD_HANDLERS, Operator, Pace, SUBSCRIPTIONS, Verb, control::event_of,
    dead_namespace,
};

/// How often a decision is made again because a letter has changed meanwhile.
const TRIES: usize = 10;

/// Dead letters of a store.
#[derive(Debug)]
pub struct StoredLetters {
    operator: Operator,
    patience: Duration,
    kept: AtomicU64,
    discarded: AtomicU64,
    /// Handlers that are noted in the store.
    noted: Mutex<HashSet<Text>>,
    /// What is being replayed here.
    in_hand: Mutex<HashSet<(Text, Text)>>,
}

impl StoredLetters {
    /// Those of `operator`'s store. A process that runs a subscription has `patience` to answer.
    pub fn new(operator: Operator, patience: Duration) -> Self {
        Self {
            operator,
            patience,
            kept: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
            noted: Mutex::default(),
            in_hand: Mutex::default(),
        }
    }

    async fn ids(&self, namespace: &str, all: &mut BTreeSet<Text>) -> Result<(), Error> {
        let mut query = self.query(Text::from(namespace));
        loop {
            let page = self.operator.store.documents(&query).await?;
            let full = page.len() == query.limit;
            query.after = page.last().map(|document| document.key.id.clone());
            all.extend(page.into_iter().map(|document| document.key.id));
            if !full {
                return Ok(());
            }
        }
    }

    fn query(&self, namespace: Text) -> DocumentQuery {
        let tenant = self.operator.config.tenant.clone();
        DocumentQuery { tenant, limit: PAGE_EVENTS_MAX, ..DocumentQuery::all(namespace) }
    }

    async fn is_durable(&self, handler: &str) -> Result<bool, Error> {
        let key = DocumentKey::new(SUBSCRIPTIONS, handler);
        Ok(self.operator.store.document(&self.operator.config.tenant, &key).await?.is_some())
    }

    async fn found(&self, handler: &str, entry: &str) -> Handled<Option<(DeadLetter, u64)>> {
        let key = DocumentKey::new(dead_namespace(handler), entry);
        let found = self.operator.store.document(&self.operator.config.tenant, &key).await?;
        found.map(|document| Ok((letter_of(&document)?, document.version))).transpose()
    }

    async fn counted(&self, handler: &Text, filter: &LetterFilter) -> Handled<u64> {
        let mut fields = filter.fields();
        if fields.len() <= 1 && !filter.asks_time() {
            let mut query = self.query(dead_namespace(handler));
            query.field = fields.pop().map(|(field, value)| (field.into(), value));
            return Ok(self.operator.store.count_documents(&query).await?);
        }
        let (mut many, mut after) = (0, None);
        loop {
            let page = self.page(handler, filter, after.as_deref(), PAGE_EVENTS_MAX).await?;
            many += page.letters.len() as u64;
            after = page.next;
            if after.is_none() {
                return Ok(many);
            }
        }
    }

    async fn by_operator(&self, handler: &str, entries: Vec<Text>, decision: Decision) -> Handled<Decided> {
        let (mut positions, mut refused) = (Vec::new(), Vec::new());
        for entry in entries {
            match entry.parse() {
                Ok(position) => positions.push(position),
                Err(_) => refused.push(no_letter(&entry)),
            }
        }
        let verb = match decision {
            Decision::Discard => Verb::Discard { positions },
            Decision::Replay { from, every } => {
                let every_micros = u64::try_from(every.as_micros()).unwrap_or(u64::MAX);
                Verb::Replay { positions, pace: Some(Pace { from, every_micros }) }
            }
            Decision::Edit { payload, by } => match positions.first() {
                Some(&position) => Verb::Edit { position, payload, by },
                None => return Ok(Decided { refused, ..Decided::default() }),
            },
        };
        let carried = self.operator.carry_out(handler, verb, self.patience).await?;
        Ok(match carried {
            Carried::Here(answer) | Carried::ByNode(answer) => {
                refused.extend(answer.refused);
                Decided { done: answer.done, refused, waiting: false }
            }
            Carried::Waiting => Decided { done: 0, refused, waiting: true },
        })
    }

    async fn here(&self, handler: &str, entries: &[Text], decision: &Decision) -> Handled<Decided> {
        for _ in 0..TRIES {
            let now = self.operator.clock.now();
            let (mut commit, mut decided) = (self.commit(), Decided::default());
            for (at, entry) in entries.iter().enumerate() {
                let Some((letter, version)) = self.found(handler, entry).await? else {
                    decided.refused.push(no_letter(entry));
                    continue;
                };
                let event = letter.envelope()?;
                match letter.decided(decision, at, event.as_ref(), now) {
                    Ok(after) => {
                        write(&mut commit, handler, entry, after.as_ref(), Some(version))?;
                        decided.done += 1;
                    }
                    Err(why) => decided.refused.push(why.describe()),
                }
            }
            if decided.done == 0 {
                return Ok(decided);
            }
            match self.operator.store.apply(commit).await {
                Ok(_) => return Ok(decided),
                Err(Error::DocumentChanged { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Failure::transient("the dead letters change too often to decide about them"))
    }

    fn commit(&self) -> Commit {
        Commit { tenant: self.operator.config.tenant.clone(), ..Commit::default() }
    }

    fn hold(&self, handler: &str, entry: &Text) -> (Text, Text) {
        (Text::from(handler), entry.clone())
    }
}

/// Writes a letter as it is now, and the row by which it is replayed.
fn write(
    commit: &mut Commit,
    handler: &str,
    entry: &Text,
    letter: Option<&DeadLetter>,
    expected: Option<u64>,
) -> Handled {
    let namespace = dead_namespace(handler);
    let change = match letter {
        Some(letter) => DocumentChange::Put(Bytes::from(serde_json::to_vec(letter).permanent()?)),
        None => DocumentChange::Delete,
    };
    commit.documents.push(DocumentWrite {
        key: DocumentKey { namespace: namespace.clone(), id: entry.clone() },
        change,
        indexed: DEAD_FIELDS.iter().map(|field| Text::from(*field)).collect(),
        expected,
    });
    let due = letter.and_then(|letter| letter.claimed.or(letter.due));
    commit.due.push(match due {
        Some(due) => DueChange::Put(DueRow { queue: namespace, id: entry.clone(), due, body: Bytes::new() }),
        None => DueChange::Drop { queue: namespace, id: entry.clone() },
    });
    Ok(())
}

fn letter_of(document: &Document) -> Handled<DeadLetter> {
    serde_json::from_slice(&document.value).permanent()
}

fn no_letter(entry: &str) -> String {
    format!("there is no dead letter {entry}")
}

impl DeadLetters for StoredLetters {
    fn handlers(&self) -> BoxFuture<'_, Handled<Vec<Text>>> {
        Box::pin(async move {
            let mut all = BTreeSet::new();
            self.ids(SUBSCRIPTIONS, &mut all).await?;
            self.ids(DEAD_HANDLERS, &mut all).await?;
            Ok(all.into_iter().collect())
        })
    }

    fn page<'a>(
        &'a self,
        handler: &'a str,
        filter: &'a LetterFilter,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Handled<LetterPage>> {
        Box::pin(async move {
            let mut query = self.query(dead_namespace(handler));
            query.after = after.map(Text::from);
            query.limit = limit.clamp(1, PAGE_EVENTS_MAX);
            // The engine looks for one of the fields; the others are compared here.
            query.field = filter.fields().into_iter().next().map(|(field, value)| (field.into(), value));
            let page = self.operator.store.documents(&query).await?;
            let next = page.last().filter(|_| page.len() == query.limit).map(|last| last.key.id.clone());
            let letters: Vec<_> = page.iter().map(letter_of).collect::<Handled<_>>()?;
            Ok(LetterPage {
                letters: letters.into_iter().filter(|letter| filter.matches(letter)).collect(),
                next,
            })
        })
    }

    fn count<'a>(&'a self, filter: &'a LetterFilter) -> BoxFuture<'a, Handled<u64>> {
        Box::pin(async move {
            let handlers = match &filter.handler {
                Some(handler) => vec![handler.clone()],
                None => self.handlers().await?,
            };
            let mut many = 0;
            for handler in handlers {
                many += self.counted(&handler, filter).await?;
            }
            Ok(many)
        })
    }

    fn get<'a>(&'a self, handler: &'a str, entry: &'a str) -> BoxFuture<'a, Handled<Option<LetterAndEvent>>> {
        Box::pin(async move {
            let Some((letter, _)) = self.found(handler, entry).await? else { return Ok(None) };
            let event = event_of(&self.operator.store, &self.operator.config.tenant, &letter).await?;
            Ok(Some((letter, event)))
        })
    }

    fn decide<'a>(
        &'a self,
        handler: &'a str,
        entries: Vec<Text>,
        decision: Decision,
    ) -> BoxFuture<'a, Handled<Decided>> {
        Box::pin(async move {
            if self.is_durable(handler).await? {
                return self.by_operator(handler, entries, decision).await;
            }
            let mut all = Decided::default();
            for (at, part) in entries.chunks(500).enumerate() {
                let decision = match decision.clone() {
                    Decision::Replay { from, every } => {
                        let before = u32::try_from(at * 500).unwrap_or(u32::MAX);
                        Decision::Replay { from: from.after(every.saturating_mul(before)), every }
                    }
                    other => other,
                };
                all = all.and(self.here(handler, part, &decision).await?);
            }
            Ok(all)
        })
    }

    fn figures(&self) -> LetterFigures {
        LetterFigures {
            kept: self.kept.load(Ordering::Relaxed),
            discarded: self.discarded.load(Ordering::Relaxed),
            dropped: 0,
        }
    }
}

impl LetterKeeper for StoredLetters {
    fn keep<'a>(&'a self, given_up: GivenUp, hidden: &'a [&'a str]) -> BoxFuture<'a, Handled> {
        Box::pin(async move {
            let (handler, before) = (given_up.handler.clone(), given_up.before.clone());
            let letter = given_up.letter(hidden)?;
            let mut commit = self.commit();
            if let Some(letter) = &letter {
                write(&mut commit, &handler, &letter.entry, Some(letter), None)?;
            } else if let Some(before) = &before {
                write(&mut commit, &handler, &before.entry, None, None)?;
            }
            let is_noted = self.noted.lock().contains(&handler);
            if letter.is_some() && !is_noted {
                commit.documents.push(DocumentWrite {
                    key: DocumentKey::new(DEAD_HANDLERS, handler.clone()),
                    change: DocumentChange::Put(Bytes::from_static(b"{}")),
                    indexed: Arc::from([]),
                    expected: None,
                });
            }
            if commit.writes() > 0 {
                self.operator.store.apply(commit).await?;
            }
            match (&letter, &before) {
                (None, _) => self.discarded.fetch_add(1, Ordering::Relaxed),
                (Some(_), None) => self.kept.fetch_add(1, Ordering::Relaxed),
                (Some(_), Some(_)) => 0,
            };
            if letter.is_some() {
                self.noted.lock().insert(handler.clone());
            }
            if let Some(before) = before {
                self.in_hand.lock().remove(&self.hold(&handler, &before.entry));
            }
            Ok(())
        })
    }

    fn claim<'a>(
        &'a self,
        handler: &'a str,
        now: Timestamp,
        limit: usize,
    ) -> BoxFuture<'a, Handled<(Vec<DeadLetter>, Option<Timestamp>)>> {
        Box::pin(async move {
            let tenants = Tenants::One(self.operator.config.tenant.clone());
            let queue = dead_namespace(handler);
            let rows = self.operator.store.due(&tenants, &queue, Timestamp::MAX, limit.max(1)).await?;
            let mut taken = Vec::new();
            for (_, row) in rows {
                if row.due > now {
                    return Ok((taken, Some(row.due)));
                }
                let mut commit = self.commit();
                let Some((mut letter, version)) = self.found(handler, &row.id).await? else {
                    commit.due.push(DueChange::Drop { queue: queue.clone(), id: row.id });
                    self.operator.store.apply(commit).await?;
                    continue;
                };
                letter.claimed = Some(now.after(REPLAY_CLAIM));
                letter.due = None;
                write(&mut commit, handler, &row.id, Some(&letter), Some(version))?;
                match self.operator.store.apply(commit).await {
                    // One that takes longer than its claim goes on, and is not begun again.
                    Ok(_) if self.in_hand.lock().insert(self.hold(handler, &row.id)) => taken.push(letter),
                    // Somebody else was faster.
                    Ok(_) | Err(Error::DocumentChanged { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok((taken, None))
        })
    }

    fn settle<'a>(&'a self, letter: &'a DeadLetter, handled: bool) -> BoxFuture<'a, Handled> {
        Box::pin(async move {
            let mut commit = self.commit();
            let mut done = Ok(());
            if handled {
                write(&mut commit, &letter.handler, &letter.entry, None, None)?;
            } else if let Some((mut found, version)) = self.found(&letter.handler, &letter.entry).await?
                && found.claimed.take().is_some()
            {
                found.due = None;
                write(&mut commit, &letter.handler, &letter.entry, Some(&found), Some(version))?;
            }
            if commit.writes() > 0 {
                done = self.operator.store.apply(commit).await.map(drop).map_err(Failure::from);
            }
            self.in_hand.lock().remove(&self.hold(&letter.handler, &letter.entry));
            done
        })
    }

    fn is_due<'a>(&'a self, handler: &'a str, now: Timestamp) -> BoxFuture<'a, Handled<bool>> {
        Box::pin(async move {
            if self.in_hand.lock().iter().any(|(of, _)| **of == *handler) {
                return Ok(true);
            }
            let tenants = Tenants::One(self.operator.config.tenant.clone());
            let rows = self.operator.store.due(&tenants, &dead_namespace(handler), now, 1).await?;
            Ok(!rows.is_empty())
        })
    }
}
