//! The dead letters of an application: kept, replayed when they are due, and told of when there are too many.
//!
//! With a store they are documents in it, also those of buffered and bus handlers; without one they are in memory,
//! bounded, and what had to go is counted. A replay goes to the handler that failed and to no other: to a durable
//! subscription through its rows, to the others from here.

use std::{
    collections::HashSet,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tidings_core::{
    Clock, DeadLetter, Envelope, Failure, GivenUp, Handled, LetterFilter, LetterKeeper, Letters, Ran, Text,
    Timestamp,
};
use tidings_durable::{Config, Operator, StoredLetters};
use tidings_runtime::{Ended, Gatherer, MemoryDeadLetters, Outcomes};
use tidings_store::{AnyStore, Beat};
use tokio::sync::{Notify, watch};

use crate::{Model, app::Inner};

/// How many letters of a handler are replayed at once; they are in its queue then, in order.
const AT_ONCE: usize = 256;

/// How often the store is looked at, at most.
const LOOK: Duration = Duration::from_millis(50);

/// Counting takes no more than one of so many parts of the time.
const COUNTING: u32 = 100;

/// How long the process that runs a subscription may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The dead letters of an application.
pub(crate) struct Desk {
    pub letters: Letters,
    keeper: Arc<dyn LetterKeeper>,
    signal: Signal,
    /// Handlers of this application that are no durable subscriptions, and where they run.
    handlers: Mutex<Vec<(Text, Ran)>>,
    /// Those whose letters are being replayed.
    busy: Mutex<HashSet<Text>>,
    done: Arc<Notify>,
    over: u64,
    is_over: AtomicBool,
}

enum Signal {
    Store(watch::Receiver<Beat>),
    Memory(watch::Receiver<u64>),
}

impl Desk {
    pub fn new(
        store: Option<&AnyStore>,
        settings: &crate::DeadLetterSettings,
        config: &Config,
        clock: &Arc<dyn Clock>,
        handlers: Vec<(Text, Ran)>,
    ) -> Self {
        let (keeper, signal): (Arc<dyn LetterKeeper>, _) = match store {
            Some(store) => {
                let operator =
                    Operator { store: store.clone(), clock: clock.clone(), config: config.clone() };
                (Arc::new(StoredLetters::new(operator, PATIENCE)), Signal::Store(store.beats()))
            }
            None => {
                let memory = Arc::new(MemoryDeadLetters::new(settings.memory_max, clock.clone()));
                let signal = Signal::Memory(memory.changes());
                (memory, signal)
            }
        };
        Self {
            letters: Letters::new(keeper.clone(), clock.clone()),
            keeper,
            signal,
            handlers: Mutex::new(handlers),
            busy: Mutex::default(),
            done: Arc::default(),
            over: settings.alert_over,
            is_over: AtomicBool::new(false),
        }
    }

    /// A handler has come while the application runs: from now on its letters are replayed here.
    pub fn join(&self, handler: Text, place: Ran) {
        self.handlers.lock().push((handler, place));
        self.done.notify_one();
    }

    /// A handler that came while the application ran has gone; its letters stay.
    pub fn leave(&self, handler: &Text) {
        let mut handlers = self.handlers.lock();
        if let Some(at) = handlers.iter().rposition(|(one, _)| one == handler) {
            handlers.remove(at);
        }
    }

    /// Keeps what was given up; `hidden` are the redacted fields of the event.
    pub async fn keep(&self, given_up: GivenUp, hidden: &[&str]) -> Handled {
        self.keeper.keep(given_up, hidden).await
    }

    /// Whether a letter is due, or is being replayed here.
    pub async fn is_due(&self, now: Timestamp) -> Handled<bool> {
        if !self.busy.lock().is_empty() {
            return Ok(true);
        }
        let handlers = self.handlers.lock().clone();
        for (handler, _) in handlers {
            if self.keeper.is_due(&handler, now).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Tells once when there are too many, and once when there are not any more.
    async fn count(&self, app: &Inner) -> Handled {
        let count = self.letters.count(&LetterFilter::default()).await?;
        let is_over = count > self.over;
        if self.is_over.swap(is_over, Ordering::SeqCst) == is_over {
            return Ok(());
        }
        let name = if is_over { "tidings.dead-letters.over" } else { "tidings.dead-letters.under" };
        let body = serde_json::json!({ "count": count, "over": self.over }).to_string();
        let notice = Envelope::build(name).source(app.source.clone()).json(body.into_bytes()).finish();
        if let Ok(notice) = notice {
            app.bus.emit_envelope(&notice);
        }
        Ok(())
    }

    /// Begins to replay what is due; answers when to look again.
    async fn replay(&self, app: &Arc<Inner>) -> Handled<Option<Timestamp>> {
        let handlers = self.handlers.lock().clone();
        let mut next: Option<Timestamp> = None;
        for (handler, place) in handlers {
            if self.busy.lock().contains(&handler) {
                continue;
            }
            let (letters, later) = self.keeper.claim(&handler, app.clock.now(), AT_ONCE).await?;
            next = next.into_iter().chain(later).min();
            if letters.is_empty() {
                continue;
            }
            self.busy.lock().insert(handler.clone());
            let app = app.clone();
            app.calls.clone().spawn(async move {
                let desk = &app.desk;
                let gatherer = app.gatherers.find(&handler, Ran::Bus);
                match (place, gatherer) {
                    (Ran::Bus, Some(gatherer)) => desk.replay_gathered(&gatherer, letters).await,
                    (Ran::Buffered, _) => desk.replay_buffered(&app, letters).await,
                    (Ran::Bus | Ran::Durable, _) => {
                        for letter in letters {
                            let replayed = desk.call(&app, &letter).await;
                            desk.settle(&letter, replayed).await;
                        }
                    }
                }
                desk.busy.lock().remove(&handler);
                desk.done.notify_one();
            });
        }
        Ok(next)
    }

    async fn replay_buffered(&self, app: &Inner, letters: Vec<DeadLetter>) {
        // In order into the queue, which keeps the order of a key.
        let mut waiting: Vec<(DeadLetter, Option<Outcomes>)> = Vec::new();
        for letter in letters {
            let outcomes = match letter.envelope() {
                Ok(Some(event)) => {
                    let shared = Arc::new(letter.clone());
                    app.buffered.replay(&letter.handler, shared, &event).await
                }
                Ok(None) | Err(_) => None,
            };
            waiting.push((letter, outcomes));
        }
        self.settle_all(waiting).await;
    }

    /// In order into its open batches.
    async fn replay_gathered(&self, gatherer: &Gatherer, letters: Vec<DeadLetter>) {
        let mut waiting = Vec::new();
        for letter in letters {
            let outcomes = match letter.envelope() {
                Ok(Some(event)) => gatherer.replay(Arc::new(letter.clone()), &event).await,
                Ok(None) | Err(_) => None,
            };
            waiting.push((letter, outcomes));
        }
        self.settle_all(waiting).await;
    }

    async fn settle_all(&self, waiting: Vec<(DeadLetter, Option<Outcomes>)>) {
        for (letter, outcomes) in waiting {
            let ended = match outcomes {
                Some(outcomes) => outcomes.all().await.into_iter().next().map(|outcome| outcome.ended),
                None => None,
            };
            self.settle(&letter, ended).await;
        }
    }

    async fn call(&self, app: &Inner, letter: &DeadLetter) -> Option<Ended> {
        let event = letter.envelope().ok()??;
        app.direct.replay(&letter.handler, Arc::new(letter.clone()), &event, &app.closing).await
    }

    async fn settle(&self, letter: &DeadLetter, ended: Option<Ended>) {
        let settled = match ended {
            Some(Ended::Handled | Ended::ByFallback | Ended::Skipped(_)) => {
                self.keeper.settle(letter, true).await
            }
            // What was given up again is in the place of what it was already.
            Some(Ended::Dead { .. }) => Ok(()),
            Some(Ended::Refused(_) | Ended::Dropped(_)) | None => self.keeper.settle(letter, false).await,
        };
        if let Err(failure) = settled {
            tracing::warn!(handler = %letter.handler, entry = %letter.entry, %failure, "a replayed dead letter could not be settled");
        }
    }
}

/// Replays what is due and counts what is there, until the application ends.
pub(crate) async fn run(app: Weak<Inner>) {
    let Some((closing, clock, mut beats, mut changes)) = app.upgrade().map(|app| {
        let (beats, changes) = match &app.desk.signal {
            Signal::Store(beats) => (Some(beats.clone()), None),
            Signal::Memory(changes) => (None, Some(changes.clone())),
        };
        (app.closing.clone(), app.clock.clone(), beats, changes)
    }) else {
        return;
    };
    let mut counting = Instant::now();
    while !closing.is_cancelled() {
        let Some(app) = app.upgrade() else { return };
        beats.as_mut().map(|beats| *beats.borrow_and_update());
        changes.as_mut().map(|changes| *changes.borrow_and_update());
        let mut next = match app.desk.replay(&app).await {
            Ok(next) => next,
            Err(failure) => {
                tracing::warn!(%failure, "dead letters wait");
                Some(clock.now().after(Duration::from_secs(1)))
            }
        };
        if Instant::now() >= counting {
            let begun = Instant::now();
            if let Err(failure) = app.desk.count(&app).await {
                tracing::warn!(%failure, "dead letters were not counted");
            }
            counting = Instant::now() + begun.elapsed() * COUNTING;
        } else {
            // Whatever has changed is counted, if later.
            next = Some(next.map_or(clock.now().after(LOOK), |next| next.min(clock.now().after(LOOK))));
        }
        let done = app.desk.done.clone();
        drop(app);
        let sleep = async {
            match next {
                Some(at) => clock.sleep(at.since(clock.now())).await,
                None => std::future::pending().await,
            }
        };
        let changed = async {
            let ended = match (&mut beats, &mut changes) {
                (Some(beats), _) => beats.changed().await.is_err(),
                (None, Some(changes)) => changes.changed().await.is_err(),
                (None, None) => true,
            };
            if ended {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            () = closing.cancelled() => return,
            () = done.notified() => continue,
            () = sleep => {}
            () = changed => {}
        }
        // Many commits are looked at once.
        tokio::select! {
            () = closing.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// The redacted fields of an event, as the application declares them.
pub(crate) fn hidden<'a>(model: &'a Model, event: &Envelope) -> Vec<&'a str> {
    let events = model.events.iter().filter(|one| *one.name == **event.name());
    let fields = events.flat_map(|one| &one.fields).filter(|(_, redacted)| *redacted);
    fields.map(|(name, _)| name.as_str()).collect()
}

/// As a failure, where the application has gone.
pub(crate) fn ended() -> Failure {
    Failure::transient("the application has ended")
}
