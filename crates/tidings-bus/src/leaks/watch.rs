//! When a warning is due. Pure: it is told counts and times.

use std::collections::{HashMap, VecDeque};

use tidings_core::Timestamp;

use super::{LEAK_SAMPLES_MAX, LEAK_WATCHED_MAX, LeakLevel, LeakSample, LeakWatch};

/// What is watched of a bus. It remembers only topics that have at least half as many listeners as they may have; a
/// topic that falls below is forgotten, and with that its warnings are armed again.
pub(crate) struct Watch {
    settings: LeakWatch,
    watched: HashMap<String, Watched>,
    /// How many registrations found no room in `watched`.
    unwatched: u64,
}

#[derive(Default)]
struct Watched {
    told: Option<LeakLevel>,
    samples: VecDeque<LeakSample>,
}

/// Without a limit, a topic is watched from this many listeners on: one is no trend.
const WATCHED_FROM: usize = 2;

impl Watch {
    pub(crate) fn new(settings: LeakWatch) -> Self {
        Self { settings, watched: HashMap::new(), unwatched: 0 }
    }

    pub(crate) fn limit_of(&self, topic: &str) -> Option<usize> {
        self.settings.limit_of(topic)
    }

    pub(crate) fn unwatched(&self) -> u64 {
        self.unwatched
    }

    /// What was told of a topic, and its samples.
    pub(crate) fn known_of(&self, topic: &str) -> (Option<LeakLevel>, Vec<LeakSample>) {
        let watched = self.watched.get(topic);
        watched
            .map_or((None, Vec::new()), |watched| (watched.told, watched.samples.iter().copied().collect()))
    }

    /// A topic has a listener more. `listeners` may contain some that are pointless by now; `live` counts the others,
    /// and is asked only when a warning seems due. Answers the level to warn at.
    pub(crate) fn grown(
        &mut self,
        topic: &str,
        listeners: usize,
        live: impl FnOnce() -> usize,
        now: Timestamp,
    ) -> Option<LeakLevel> {
        // Some may have gone without a word since the last time, because their targets had.
        self.shrunk(topic, listeners);
        let limit = self.settings.limit_of(topic);
        if listeners < watched_from(limit) {
            return None;
        }
        if !self.watched.contains_key(topic) {
            if self.watched.len() >= LEAK_WATCHED_MAX {
                self.unwatched = self.unwatched.saturating_add(1);
                return None;
            }
            self.watched.insert(topic.to_owned(), Watched::default());
        }
        let watched = self.watched.get_mut(topic)?;
        watched.sample(listeners, now, &self.settings);
        let level = |count| level(limit?, self.settings.near_percent, count);
        let due = level(listeners)?;
        if watched.told >= Some(due) {
            return None;
        }
        let due = level(live())?;
        if watched.told >= Some(due) {
            return None;
        }
        watched.told = Some(due);
        Some(due)
    }

    /// A topic has fewer listeners.
    pub(crate) fn shrunk(&mut self, topic: &str, listeners: usize) {
        let limit = self.settings.limit_of(topic);
        if listeners < watched_from(limit) {
            self.watched.remove(topic);
        } else if let (Some(limit), Some(watched)) = (limit, self.watched.get_mut(topic))
            && listeners < near(limit, self.settings.near_percent)
        {
            watched.told = watched.told.map(|_| LeakLevel::Near);
        }
    }

    /// No topic has any listener.
    pub(crate) fn emptied(&mut self) {
        self.watched.clear();
    }
}

impl Watched {
    fn sample(&mut self, listeners: usize, now: Timestamp, settings: &LeakWatch) {
        if self.samples.back().is_some_and(|last| now.since(last.time) < settings.sample_every) {
            return;
        }
        if self.samples.len() >= LEAK_SAMPLES_MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(LeakSample { time: now, listeners });
    }
}

fn watched_from(limit: Option<usize>) -> usize {
    limit.map_or(WATCHED_FROM, |limit| limit.div_ceil(2).max(1))
}

fn near(limit: usize, percent: u8) -> usize {
    limit.saturating_mul(percent.min(100).into()).div_ceil(100)
}

fn level(limit: usize, percent: u8, listeners: usize) -> Option<LeakLevel> {
    if listeners >= limit {
        Some(LeakLevel::Reached)
    } else {
        (listeners >= near(limit, percent)).then_some(LeakLevel::Near)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Lets a topic have each of these numbers of listeners, one after another; answers the warnings.
    fn told(watch: &mut Watch, counts: &[usize]) -> Vec<(usize, LeakLevel)> {
        let (mut before, mut told) = (0, Vec::new());
        for count in counts.iter().copied() {
            if count > before {
                let due = watch.grown("a", count, || count, Timestamp::from_millis(0));
                told.extend(due.map(|level| (count, level)));
            } else {
                watch.shrunk("a", count);
            }
            before = count;
        }
        told
    }

    #[test]
    fn it_warns_once_near_the_limit_and_once_at_it() {
        let mut watch = Watch::new(LeakWatch::limit(10));
        let counts: Vec<usize> = (1..=30).collect();
        assert_eq!(told(&mut watch, &counts), [(8, LeakLevel::Near), (10, LeakLevel::Reached)]);
    }

    #[test]
    fn it_warns_again_only_after_the_number_has_fallen_well_below() {
        let mut watch = Watch::new(LeakWatch::limit(10));
        let jitter = [8, 7, 8, 7, 8, 9, 10, 9, 10, 8, 10, 7, 8, 9, 10, 5, 8, 10, 4, 5, 8];
        let expected = [
            (8, LeakLevel::Near),
            (10, LeakLevel::Reached),
            (10, LeakLevel::Reached),
            (10, LeakLevel::Reached),
        ];
        let again = [expected.as_slice(), &[(8, LeakLevel::Near)]].concat();
        assert_eq!(told(&mut watch, &jitter), again);
    }

    #[test]
    fn the_smallest_limits_warn_once_and_arm_again_when_all_are_gone() {
        for limit in [0, 1] {
            let mut watch = Watch::new(LeakWatch::limit(limit));
            let expected = [(1, LeakLevel::Reached), (1, LeakLevel::Reached)];
            assert_eq!(told(&mut watch, &[1, 2, 3, 1, 0, 1]), expected, "limit {limit}");
        }
        let mut watch = Watch::new(LeakWatch::unbounded());
        assert_eq!(told(&mut watch, &(1..100).collect::<Vec<_>>()), []);
    }

    #[test]
    fn listeners_that_are_pointless_by_now_give_no_warning() {
        let mut watch = Watch::new(LeakWatch::limit(4));
        let now = Timestamp::from_millis(0);
        assert_eq!(watch.grown("a", 9, || 2, now), None);
        assert_eq!(watch.grown("a", 10, || 4, now), Some(LeakLevel::Reached));
        assert_eq!(watch.grown("a", 1, || 1, now), None);
        assert_eq!(
            watch.grown("a", 4, || 4, now),
            Some(LeakLevel::Reached),
            "the pointless ones were let go"
        );
    }

    #[test]
    fn it_remembers_a_bounded_number_of_topics_and_samples_and_counts_the_rest() {
        let mut watch = Watch::new(LeakWatch::limit(2).sample_every(Duration::from_secs(1)));
        for topic in 0..LEAK_WATCHED_MAX + 5 {
            watch.grown(&format!("a{topic}"), 1, || 1, Timestamp::from_millis(0));
        }
        assert_eq!((watch.watched.len(), watch.unwatched()), (LEAK_WATCHED_MAX, 5));
        for second in 0..100 {
            for part in [0, 400, 999] {
                watch.grown("a0", second, || 1, Timestamp::from_millis(second as i64 * 1_000 + part));
            }
        }
        let (_, samples) = watch.known_of("a0");
        assert_eq!((samples.len(), samples[0].listeners), (LEAK_SAMPLES_MAX, 100 - LEAK_SAMPLES_MAX));
        assert!(samples.is_sorted_by_key(|sample| sample.time));
        for topic in 0..LEAK_WATCHED_MAX + 5 {
            watch.shrunk(&format!("a{topic}"), 0);
        }
        assert_eq!(watch.watched.len(), 0);
    }
}
