//! What the leak watch has to say, as plain data; and the questions it asks of what is registered.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Deserialize, Serialize};
use tidings_core::Timestamp;

use super::{LEAK_ORIGINS_MAX, LeakLevel, LeakSuspected};
use crate::{Bus, about::About, core::Core, notice, state::State};

/// How many events and patterns a report lists: those with the most listeners.
const LISTED_MAX: usize = 1_000;

/// A place in the source where listeners were registered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakOrigin {
    /// The source file.
    pub file: String,
    /// The line in it.
    pub line: u32,
    /// How many listeners were registered there.
    pub listeners: usize,
}

/// How many listeners there were at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakSample {
    /// When, on the bus's clock.
    pub time: Timestamp,
    /// How many.
    pub listeners: usize,
}

/// One event or pattern in a report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Leak {
    /// The name or pattern that is listened to.
    pub topic: String,
    /// How many listeners it has.
    pub listeners: usize,
    /// How many it may have; nothing where there is no limit.
    pub limit: Option<usize>,
    /// The warning that holds, if there was one.
    pub told: Option<LeakLevel>,
    /// Where they were registered, the place with most of them first; no more than
    /// [`LEAK_ORIGINS_MAX`].
    pub origins: Vec<LeakOrigin>,
    /// How many of them were registered in other places.
    pub elsewhere: usize,
    /// How many there were earlier, the oldest first, taken when one joined and the last sample was old enough.
    pub samples: Vec<LeakSample>,
    /// By how many listeners an hour it has grown since the oldest sample; nothing without an older sample.
    pub growth_per_hour: Option<f64>,
}

/// What [`Bus::leaks`] answers.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Leaks {
    /// What is listened to, that with most listeners first.
    pub topics: Vec<Leak>,
    /// How many topics there are beyond those listed.
    pub others: usize,
    /// How many registrations were not watched, because more topics than
    /// [`LEAK_WATCHED_MAX`](super::LEAK_WATCHED_MAX) had many listeners.
    pub unwatched: u64,
}

impl Bus {
    /// What is listened to by how many, where they were registered, and how their number grows. Without a
    /// [leak watch](crate::Builder::leak_watch) there are no samples, limits and warnings.
    ///
    /// ```
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// let bus = Bus::new();
    /// bus.on(|_: &OrderPlaced| ()).forever();
    /// let report = bus.leaks();
    /// let leak = &report.topics[0];
    /// assert_eq!((leak.topic.as_str(), leak.listeners, leak.limit), ("order.placed", 1, None));
    /// ```
    pub fn leaks(&self) -> Leaks {
        let now = self.core().now();
        self.core().locked(|state, _| state.leaks(now))
    }
}

impl Core {
    /// The time, if a leak watch has to know it.
    pub(crate) fn watch_time(&self) -> Option<Timestamp> {
        self.settings.leak_watch.as_ref().map(|_| self.now())
    }

    /// Tells everyone of a suspicion.
    pub(crate) fn suspect(self: &Arc<Self>, leak: Option<LeakSuspected>) {
        let Some(leak) = leak else { return };
        let places = leak.origins.iter().map(|at| format!("{}:{} ({})", at.file, at.line, at.listeners));
        let origins = places.collect::<Vec<_>>().join(", ");
        let LeakSuspected { topic, listeners, limit, elsewhere, .. } = &leak;
        tracing::warn!(topic, listeners, limit, origins, elsewhere, "listeners have perhaps been forgotten");
        notice::tell(self, &leak);
    }
}

impl State {
    /// Says that a listener has joined under `topic`; answers what is to be told.
    pub(crate) fn grown(&mut self, topic: &str, now: Option<Timestamp>) -> Option<LeakSuspected> {
        let (now, mut watch) = (now?, self.watch.take()?);
        let live = || self.registered(topic).filter(|about| about.is_live()).count();
        let level = watch.grown(topic, self.registered_count(topic), live, now);
        let limit = watch.limit_of(topic);
        self.watch = Some(watch);
        let (origins, elsewhere) =
            origins(self.registered(topic).filter(|about| level.is_some() && about.is_live()));
        let listeners = origins.iter().map(|origin| origin.listeners).sum::<usize>() + elsewhere;
        Some(LeakSuspected {
            topic: topic.to_owned(),
            listeners,
            limit: limit?,
            level: level?,
            origins,
            elsewhere,
        })
    }

    /// Says that a listener has left `topic`.
    pub(crate) fn shrunk(&mut self, topic: &str) {
        if self.watch.is_some() {
            let left = self.registered_count(topic);
            if let Some(watch) = &mut self.watch {
                watch.shrunk(topic, left);
            }
        }
    }

    fn leaks(&self, now: Timestamp) -> Leaks {
        let live = |topic: &str| self.registered(topic).filter(|about| about.is_live()).count();
        let mut counts: Vec<(usize, String)> =
            self.listened_to().into_iter().map(|topic| (live(&topic), topic)).collect();
        counts.sort_by(|(one, a), (other, b)| other.cmp(one).then_with(|| a.cmp(b)));
        let others = counts.len().saturating_sub(LISTED_MAX);
        counts.truncate(LISTED_MAX);
        let topics = counts.into_iter().map(|(listeners, topic)| self.leak(topic, listeners, now)).collect();
        Leaks { topics, others, unwatched: self.watch.as_ref().map_or(0, |watch| watch.unwatched()) }
    }

    fn leak(&self, topic: String, listeners: usize, now: Timestamp) -> Leak {
        let watch = self.watch.as_ref();
        let limit = watch.and_then(|watch| watch.limit_of(&topic));
        let (told, samples) = watch.map_or_else(Default::default, |watch| watch.known_of(&topic));
        let (origins, elsewhere) = origins(self.registered(&topic).filter(|about| about.is_live()));
        let growth_per_hour = samples.first().and_then(|oldest| {
            let hours = now.since(oldest.time).as_secs_f64() / 3_600.0;
            (hours > 0.0).then(|| (listeners as f64 - oldest.listeners as f64) / hours)
        });
        Leak { topic, listeners, limit, told, origins, elsewhere, samples, growth_per_hour }
    }
}

/// The places of registration, grouped and bounded, and how many listeners are left out by that.
fn origins<'a>(listeners: impl Iterator<Item = &'a About>) -> (Vec<LeakOrigin>, usize) {
    let mut places: BTreeMap<(&str, u32), usize> = BTreeMap::new();
    for about in listeners {
        let location = about.listener().location();
        *places.entry((location.file(), location.line())).or_default() += 1;
    }
    let origin = |((file, line), listeners): ((&str, u32), usize)| LeakOrigin {
        file: file.to_owned(),
        line,
        listeners,
    };
    let mut origins: Vec<LeakOrigin> = places.into_iter().map(origin).collect();
    origins.sort_by_key(|origin| std::cmp::Reverse(origin.listeners));
    let rest = origins.split_off(LEAK_ORIGINS_MAX.min(origins.len()));
    (origins, rest.iter().map(|origin| origin.listeners).sum())
}
