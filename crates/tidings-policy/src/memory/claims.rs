//! Claims in memory.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use ahash::AHashMap;
use parking_lot::Mutex;
use tidings_core::{Claim, ClaimAsk, Claimed, Claims, Failure, Handled, Reply, Text, Timestamp};

/// How many things are remembered unless said otherwise.
const ENTRIES_MAX: usize = 100_000;

/// Claims that live as long as the process: the reference of what a store does for many processes.
///
/// It remembers a bounded number of things. When that is reached, what was finished longest ago and is remembered least
/// longer is forgotten, and counted; when all of them are being worked on, further claims fail.
#[derive(Debug)]
pub struct MemoryClaims {
    most: usize,
    table: Mutex<Table>,
    forgotten: AtomicU64,
}

type Thing = (Text, Text);

#[derive(Debug, Default)]
struct Table {
    epoch: u64,
    entries: AHashMap<Thing, Entry>,
    /// Finished things by when they may be forgotten.
    expiry: BTreeSet<(Timestamp, Thing)>,
    /// Claims by when their lease ends.
    leases: BTreeSet<(Timestamp, Thing)>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Entry {
    running: Option<(u64, Timestamp)>,
    finished: Option<(Timestamp, Option<u64>)>,
}

impl Default for MemoryClaims {
    /// Remembers 100,000 things.
    fn default() -> Self {
        Self::bounded(ENTRIES_MAX)
    }
}

impl MemoryClaims {
    /// Remembers `most` things; at least one.
    pub fn bounded(most: usize) -> Self {
        Self { most: most.max(1), table: Mutex::default(), forgotten: AtomicU64::new(0) }
    }

    /// How many things were forgotten before their time, for want of room: each may be handled twice.
    pub fn forgotten(&self) -> u64 {
        self.forgotten.load(Ordering::Relaxed)
    }

    /// How many things are remembered.
    pub fn len(&self) -> usize {
        self.table.lock().entries.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn claim_now(&self, ask: &ClaimAsk) -> Handled<Claimed> {
        let mut table = self.table.lock();
        table.forget(ask.now);
        let thing = (ask.scope.clone(), ask.key.clone());
        let entry = table.entries.get(&thing).copied().unwrap_or_default();
        if let Some((_, version)) = entry.finished
            && (ask.version.is_none() || version >= ask.version)
        {
            return Ok(Claimed::Finished);
        }
        if let Some((_, until)) = entry.running {
            return Ok(Claimed::Running(until));
        }
        while entry.finished.is_none() && table.entries.len() >= self.most {
            let Some((_, oldest)) = table.expiry.pop_first() else {
                return Err(Failure::transient(format!("{} claims are being worked on", self.most)));
            };
            table.drop_finished(&oldest);
            self.forgotten.fetch_add(1, Ordering::Relaxed);
        }
        table.epoch += 1;
        let (epoch, until) = (table.epoch, ask.now.after(ask.lease));
        table.entries.insert(thing.clone(), Entry { running: Some((epoch, until)), ..entry });
        table.leases.insert((until, thing));
        let (scope, key) = (ask.scope.clone(), ask.key.clone());
        Ok(Claimed::Mine(Claim { scope, key, version: ask.version, epoch }))
    }

    /// Ends a claim, if it is still held.
    fn end(&self, claim: &Claim, finished: Option<(Timestamp, Option<u64>)>) -> Handled {
        let mut table = self.table.lock();
        let thing = (claim.scope.clone(), claim.key.clone());
        let entry = table.entries.get(&thing).copied().unwrap_or_default();
        let Some((_, until)) = entry.running.filter(|(epoch, _)| *epoch == claim.epoch) else {
            return Err(Failure::permanent("the claim was lost: its lease had ended"));
        };
        table.leases.remove(&(until, thing.clone()));
        let before = entry.finished;
        if let (Some((at, _)), Some(_)) = (before, finished) {
            table.expiry.remove(&(at, thing.clone()));
        }
        let finished = finished.or(before);
        match finished {
            None => {
                table.entries.remove(&thing);
            }
            Some((at, _)) => {
                table.entries.insert(thing.clone(), Entry { running: None, finished });
                table.expiry.insert((at, thing));
            }
        }
        Ok(())
    }
}

impl Table {
    /// Forgets what is over.
    fn forget(&mut self, now: Timestamp) {
        while self.expiry.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, thing)) = self.expiry.pop_first() else { break };
            self.drop_finished(&thing);
        }
        while self.leases.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, thing)) = self.leases.pop_first() else { break };
            if let Some(entry) = self.entries.get_mut(&thing) {
                entry.running = None;
                if entry.finished.is_none() {
                    self.entries.remove(&thing);
                }
            }
        }
    }

    fn drop_finished(&mut self, thing: &Thing) {
        if let Some(entry) = self.entries.get_mut(thing) {
            entry.finished = None;
            if entry.running.is_none() {
                self.entries.remove(thing);
            }
        }
    }
}

impl Claims for MemoryClaims {
    fn claim(&self, ask: &ClaimAsk) -> Reply<'static, Handled<Claimed>> {
        Reply::Now(self.claim_now(ask))
    }

    fn finish(&self, claim: &Claim, ttl: Duration, now: Timestamp) -> Reply<'static, Handled> {
        Reply::Now(self.end(claim, Some((now.after(ttl), claim.version))))
    }

    fn release(&self, claim: &Claim) -> Reply<'static, Handled> {
        Reply::Now(self.end(claim, None))
    }
}
