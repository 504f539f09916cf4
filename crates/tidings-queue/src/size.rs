//! How much is in the queue: entries and bytes in one number, so that both are reserved by one atomic step.

use crate::sync::{AtomicU64, Ordering};

const BYTES_BITS: u32 = 40;
const EVENTS_BITS: u32 = 23;
const CLOSED: u64 = 1 << (BYTES_BITS + EVENTS_BITS);

/// The most bytes a queue can be told to hold: a tebibyte less one, less the tenth that handlers may exceed it by.
pub(crate) const BYTES_MAX: usize = ((1 << BYTES_BITS) - 1) / 11 * 10;

/// The most entries it can be told to hold.
pub(crate) const EVENTS_MAX: usize = 5_000_000;

/// A number of entries and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Size {
    pub(crate) events: usize,
    pub(crate) bytes: usize,
}

/// Why there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum None {
    Events,
    Bytes,
    Closed,
}

/// What is taken of the room.
#[derive(Debug)]
pub(crate) struct Taken(AtomicU64);

impl Size {
    pub(crate) fn one(bytes: usize) -> Self {
        Self { events: 1, bytes }
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.events += other.events;
        self.bytes += other.bytes;
    }

    /// Takes a part of it away, if it is as much. Answers whether it was.
    pub(crate) fn take(&mut self, part: Self) -> bool {
        let enough = self.events >= part.events && self.bytes >= part.bytes;
        if enough {
            (self.events, self.bytes) = (self.events - part.events, self.bytes - part.bytes);
        }
        enough
    }

    /// A tenth more, at least one entry.
    pub(crate) fn and_a_tenth(self) -> Self {
        Self { events: self.events + (self.events / 10).max(1), bytes: self.bytes + self.bytes / 10 }
    }

    fn packed(self) -> u64 {
        ((self.events as u64) << BYTES_BITS) | self.bytes as u64
    }

    fn unpacked(packed: u64) -> Self {
        let events = (packed & !CLOSED) >> BYTES_BITS;
        Self { events: events as usize, bytes: (packed & ((1 << BYTES_BITS) - 1)) as usize }
    }
}

impl Taken {
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    pub(crate) fn get(&self) -> Size {
        Size::unpacked(self.0.load(Ordering::SeqCst))
    }

    /// Takes room for one more in exchange for what is given up, if then no more than `most` is taken.
    pub(crate) fn exchange(
        &self,
        given: Size,
        one: Size,
        most: Size,
        though_closed: bool,
    ) -> Result<(), None> {
        if one.bytes > most.bytes {
            return Err(None::Bytes);
        }
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            if seen & CLOSED != 0 && !though_closed {
                return Err(None::Closed);
            }
            let taken = Size::unpacked(seen);
            if taken.events - given.events + one.events > most.events {
                return Err(None::Events);
            }
            if taken.bytes - given.bytes + one.bytes > most.bytes {
                return Err(None::Bytes);
            }
            let next = seen - given.packed() + one.packed();
            match self.0.compare_exchange_weak(seen, next, Ordering::SeqCst, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(changed) => seen = changed,
            }
        }
    }

    /// Gives room back; answers what is still taken.
    pub(crate) fn give_back(&self, size: Size) -> Size {
        Size::unpacked(self.0.fetch_sub(size.packed(), Ordering::SeqCst) - size.packed())
    }

    /// From now on nothing is taken.
    pub(crate) fn close(&self) {
        self.0.fetch_or(CLOSED, Ordering::SeqCst);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.load(Ordering::SeqCst) & CLOSED != 0
    }
}
