//! Dead letters in memory, for applications without a store.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use parking_lot::Mutex;
use tidings_core::{
    BoxFuture, DeadLetter, DeadLetters, Decided, Decision, GivenUp, Handled, LetterAndEvent, LetterFigures,
    LetterFilter, LetterKeeper, LetterPage, REPLAY_CLAIM, Text, Timestamp,
};
use tokio::sync::watch;

/// Keeps the newest dead letters, up to a bound; those that had to go are counted.
#[derive(Debug)]
pub struct MemoryDeadLetters {
    most: usize,
    clock: std::sync::Arc<dyn tidings_core::Clock>,
    state: Mutex<State>,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    /// By entry, and so in the order in which they occurred.
    letters: BTreeMap<Text, DeadLetter>,
    due: BTreeSet<(Timestamp, Text)>,
    in_hand: HashSet<Text>,
    figures: LetterFigures,
}

impl State {
    /// Puts a letter in the place of what it was.
    fn put(&mut self, letter: DeadLetter) {
        self.remove(&letter.entry.clone());
        if let Some(due) = letter.claimed.or(letter.due) {
            self.due.insert((due, letter.entry.clone()));
        }
        self.letters.insert(letter.entry.clone(), letter);
    }

    fn remove(&mut self, entry: &Text) {
        if let Some(gone) = self.letters.remove(entry)
            && let Some(due) = gone.claimed.or(gone.due)
        {
            self.due.remove(&(due, entry.clone()));
        }
    }
}

impl MemoryDeadLetters {
    /// Room for so many.
    pub fn new(most: usize, clock: std::sync::Arc<dyn tidings_core::Clock>) -> Self {
        Self { most, clock, state: Mutex::default(), changes: watch::channel(0).0 }
    }

    /// Changes whenever they do.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn tell(&self) {
        self.changes.send_modify(|changes| *changes += 1);
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl DeadLetters for MemoryDeadLetters {
    fn handlers(&self) -> BoxFuture<'_, Handled<Vec<Text>>> {
        let state = self.state.lock();
        let all: BTreeSet<Text> = state.letters.values().map(|letter| letter.handler.clone()).collect();
        ready(Ok(all.into_iter().collect()))
    }

    fn page<'a>(
        &'a self,
        handler: &'a str,
        filter: &'a LetterFilter,
        after: Option<&'a str>,
        limit: usize,
    ) -> BoxFuture<'a, Handled<LetterPage>> {
        use std::ops::Bound;
        let limit = limit.max(1);
        let state = self.state.lock();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = state.letters.range::<str, _>((from, Bound::Unbounded)).map(|(_, letter)| letter);
        let wanted = range.filter(|letter| *letter.handler == *handler && filter.matches(letter));
        let letters: Vec<DeadLetter> = wanted.take(limit).cloned().collect();
        let next = letters.last().filter(|_| letters.len() == limit).map(|last| last.entry.clone());
        ready(Ok(LetterPage { letters, next }))
    }

    fn count<'a>(&'a self, filter: &'a LetterFilter) -> BoxFuture<'a, Handled<u64>> {
        let state = self.state.lock();
        let many = match *filter == LetterFilter::default() {
            true => state.letters.len(),
            false => state.letters.values().filter(|letter| filter.matches(letter)).count(),
        };
        ready(Ok(many as u64))
    }

    fn get<'a>(&'a self, handler: &'a str, entry: &'a str) -> BoxFuture<'a, Handled<Option<LetterAndEvent>>> {
        let found = self.state.lock().letters.get(entry).filter(|one| *one.handler == *handler).cloned();
        ready(found.map(|letter| letter.envelope().map(|event| (letter, event))).transpose())
    }

    fn decide<'a>(
        &'a self,
        handler: &'a str,
        entries: Vec<Text>,
        decision: Decision,
    ) -> BoxFuture<'a, Handled<Decided>> {
        let now = self.clock.now();
        let mut decided = Decided::default();
        let mut state = self.state.lock();
        for (at, entry) in entries.into_iter().enumerate() {
            let Some(letter) = state.letters.get(&entry).filter(|one| *one.handler == *handler) else {
                decided.refused.push(format!("there is no dead letter {entry}"));
                continue;
            };
            let after =
                letter.envelope().and_then(|event| letter.decided(&decision, at, event.as_ref(), now));
            match after {
                Ok(Some(letter)) => state.put(letter),
                Ok(None) => state.remove(&entry),
                Err(why) => {
                    decided.refused.push(why.describe());
                    continue;
                }
            }
            decided.done += 1;
        }
        drop(state);
        self.tell();
        ready(Ok(decided))
    }

    fn figures(&self) -> LetterFigures {
        self.state.lock().figures
    }
}

impl LetterKeeper for MemoryDeadLetters {
    fn keep<'a>(&'a self, given_up: GivenUp, hidden: &'a [&'a str]) -> BoxFuture<'a, Handled> {
        let before = given_up.before.clone();
        let letter = match given_up.letter(hidden) {
            Ok(letter) => letter,
            Err(failure) => return ready(Err(failure)),
        };
        let mut state = self.state.lock();
        if let Some(before) = &before {
            state.in_hand.remove(&before.entry);
            state.remove(&before.entry);
        }
        match letter {
            None => state.figures.discarded += 1,
            Some(letter) => {
                state.figures.kept += u64::from(before.is_none());
                while state.letters.len() >= self.most
                    && let Some(oldest) = state.letters.keys().next().cloned()
                {
                    state.remove(&oldest);
                    state.figures.dropped += 1;
                }
                state.put(letter);
            }
        }
        drop(state);
        self.tell();
        ready(Ok(()))
    }

    fn claim<'a>(
        &'a self,
        handler: &'a str,
        now: Timestamp,
        limit: usize,
    ) -> BoxFuture<'a, Handled<(Vec<DeadLetter>, Option<Timestamp>)>> {
        let mut state = self.state.lock();
        let mine = |state: &State, entry: &Text| {
            state.letters.get(entry).is_some_and(|letter| *letter.handler == *handler)
        };
        let due: Vec<Text> = state
            .due
            .iter()
            .take_while(|(due, _)| *due <= now)
            .filter(|(_, entry)| mine(&state, entry))
            .map(|(_, entry)| entry.clone())
            .take(limit)
            .collect();
        let mut taken = Vec::new();
        for entry in due {
            let Some(mut letter) = state.letters.get(&entry).cloned() else { continue };
            (letter.claimed, letter.due) = (Some(now.after(REPLAY_CLAIM)), None);
            state.put(letter.clone());
            if state.in_hand.insert(entry) {
                taken.push(letter);
            }
        }
        let next = state.due.iter().find(|(_, entry)| mine(&state, entry)).map(|(due, _)| *due);
        ready(Ok((taken, next)))
    }

    fn settle<'a>(&'a self, letter: &'a DeadLetter, handled: bool) -> BoxFuture<'a, Handled> {
        let mut state = self.state.lock();
        state.in_hand.remove(&letter.entry);
        if handled {
            state.remove(&letter.entry);
        } else if let Some(mut found) = state.letters.get(&letter.entry).cloned()
            && found.claimed.is_some()
        {
            (found.claimed, found.due) = (None, None);
            state.put(found);
        }
        drop(state);
        self.tell();
        ready(Ok(()))
    }

    fn is_due<'a>(&'a self, handler: &'a str, now: Timestamp) -> BoxFuture<'a, Handled<bool>> {
        let state = self.state.lock();
        let mine = |entry: &Text| state.letters.get(entry).is_some_and(|letter| *letter.handler == *handler);
        let due = state.due.iter().take_while(|(due, _)| *due <= now).any(|(_, entry)| mine(entry));
        ready(Ok(due || state.in_hand.iter().any(mine)))
    }
}
