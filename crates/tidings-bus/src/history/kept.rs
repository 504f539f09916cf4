//! What is kept, and how keeping, emitting and joining late fit together.
//!
//! An emission keeps its event and makes sure that its plan is current in one step, under the shared side of one lock.
//! A late listener looks at what is kept and joins in one step, under the exclusive side. So for each event there are
//! two cases. If it was kept before, the late listener finds it; and the plan it is emitted by was current then, when
//! the listener was not there yet, so that it does not also come by itself. If it is kept after, the late listener does
//! not find it; but the plan was current, or made anew, when the listener was already in it, so that it comes. Either
//! way it comes once.
//!
//! The lock of what is registered may be taken under this one, never the other way round. No user's code runs under
//! it: an envelope that falls out of a history is dropped afterwards, for it may hold the last of somebody's event.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::{Mutex, RwLock};
use tidings_core::{Envelope, Pattern, Text, Timestamp};

use super::{History, Replay, Which};
use crate::{
    core::Core,
    emission::Emission,
    plan::{Current, Plan, Waste},
};

/// What is kept of all topics.
pub(crate) struct Histories {
    rules: Vec<(Pattern, History)>,
    topics_max: usize,
    topics: RwLock<HashMap<Text, Mutex<Topic>>>,
    next: AtomicU64,
}

/// The last events of one topic.
#[derive(Default)]
struct Topic {
    entries: VecDeque<Entry>,
    /// The number of its last event.
    latest: u64,
}

struct Entry {
    /// Its place in the order of all that was kept.
    number: u64,
    time: Timestamp,
    envelope: Envelope,
}

impl Topic {
    /// Answers what falls out.
    fn push(&mut self, most: usize, entry: Entry) -> Option<Entry> {
        let out = if self.entries.len() >= most { self.entries.pop_front() } else { None };
        self.latest = entry.number;
        self.entries.push_back(entry);
        out
    }
}

impl Histories {
    pub(crate) fn new(rules: Vec<(Pattern, History)>, topics_max: usize) -> Self {
        Self { rules, topics_max, topics: RwLock::default(), next: AtomicU64::new(0) }
    }

    /// How many events are kept under a name, if any. Of several rules that match, the one said last counts.
    pub(crate) fn most(&self, name: &str) -> Option<usize> {
        let rule = self.rules.iter().rev().find(|(pattern, _)| pattern.matches(name));
        rule.map(|(_, history)| history.last).filter(|last| *last > 0 && self.topics_max > 0)
    }

    /// Keeps an event, and answers what `meanwhile` does in the same step.
    fn keep<R>(&self, most: usize, time: Timestamp, envelope: Envelope, meanwhile: impl FnOnce() -> R) -> R {
        let name = envelope.name().clone();
        let entry = |number| Entry { number, time, envelope };
        let topics = self.topics.read();
        if let Some(topic) = topics.get(&name) {
            let mut topic = topic.lock();
            // Within one topic the numbers rise as the entries do, because they are given out under its lock.
            let out = topic.push(most, entry(self.number()));
            drop(topic);
            let answer = meanwhile();
            drop(topics);
            drop(out);
            return answer;
        }
        drop(topics);
        let mut topics = self.topics.write();
        let out = if topics.contains_key(&name) { None } else { self.make_room(&mut topics) };
        let entry = entry(self.number());
        let pushed_out = topics.entry(name).or_default().get_mut().push(most, entry);
        let answer = meanwhile();
        drop(topics);
        drop((out, pushed_out));
        answer
    }

    fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes out the topic that has been quiet for longest, if there are too many.
    fn make_room(&self, topics: &mut HashMap<Text, Mutex<Topic>>) -> Option<Mutex<Topic>> {
        if topics.len() < self.topics_max {
            return None;
        }
        let quiet = topics.iter().min_by_key(|(_, topic)| topic.lock().latest);
        let name = quiet.map(|(name, _)| name.clone())?;
        topics.remove(&name)
    }

    /// What is kept, in the order it was.
    pub(crate) fn select(&self, pattern: &Pattern, replay: Replay) -> Vec<Envelope> {
        selected(&mut self.topics.write(), pattern, replay)
    }

    /// Answers what is kept, and does `join` in the same step. What that leaves to be dropped is dropped afterwards.
    pub(super) fn join<R>(
        &self,
        pattern: &Pattern,
        replay: Replay,
        join: impl FnOnce() -> (R, Waste),
    ) -> (Vec<Envelope>, R) {
        let mut topics = self.topics.write();
        let past = selected(&mut topics, pattern, replay);
        let (answer, waste) = join();
        drop(topics);
        drop(waste);
        (past, answer)
    }
}

fn selected(topics: &mut HashMap<Text, Mutex<Topic>>, pattern: &Pattern, replay: Replay) -> Vec<Envelope> {
    let mut found: Vec<(u64, Envelope)> = Vec::new();
    for (_, topic) in topics.iter_mut().filter(|(name, _)| pattern.matches(name)) {
        let entries = &topic.get_mut().entries;
        let skipped = match replay.0 {
            Which::Last(last) => entries.len().saturating_sub(last),
            Which::Since(_) => 0,
        };
        let wanted = entries.iter().skip(skipped).filter(|entry| match replay.0 {
            Which::Last(_) => true,
            Which::Since(time) => entry.time >= time,
        });
        found.extend(wanted.map(|entry| (entry.number, entry.envelope.clone())));
    }
    found.sort_unstable_by_key(|(number, _)| *number);
    found.into_iter().map(|(_, envelope)| envelope).collect()
}

/// In a plan: keeps each event.
pub(crate) struct Keep<T: ?Sized> {
    pub(crate) histories: Arc<Histories>,
    pub(crate) most: usize,
    /// The plan as it is now. Called under the lock of the histories.
    pub(crate) renew: fn(&Core, &T) -> (Current<T>, Waste),
}

impl<T: ?Sized> Keep<T> {
    /// Keeps the event. Answers the plan to emit it by, if that is not this one any more.
    pub(crate) fn keep(&self, plan: &Plan<T>, event: &T, emission: &Emission<'_>) -> Option<Current<T>> {
        let core = emission.core();
        let envelope = match emission.envelope() {
            Ok(envelope) => envelope.clone(),
            Err(failure) => {
                let event = emission.envelope_or_bare().name();
                tracing::error!(%event, %failure, "an event cannot be kept in its history");
                return None;
            }
        };
        let renewed = self.histories.keep(self.most, core.now(), envelope, || {
            if plan.is_current() { None } else { Some((self.renew)(core, event)) }
        });
        renewed.map(|(current, waste)| {
            drop(waste);
            current
        })
    }
}
