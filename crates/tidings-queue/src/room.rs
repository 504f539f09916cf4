//! The bound: who may come in, and who waits until there is room.

use std::{collections::VecDeque, sync::Arc};

use tokio::sync::{Notify, oneshot};

use crate::{
    entry::Why,
    size::{self, Size, Taken},
    sync::{AtomicUsize, Mutex, Ordering, lock},
};

/// While a worker works off cheap entries, who waits for room is woken when this part of it is free, or so many entries:
/// to wake somebody takes as long as some entries. Nobody waits longer than for the worker to slow down or run dry.
const WAKE_PART: usize = 32;
const WAKE_EVENTS: usize = 256;

/// The room of a queue.
#[derive(Debug)]
pub(crate) struct Room {
    pub(crate) taken: Taken,
    events_max: AtomicUsize,
    bytes_max: AtomicUsize,
    /// How many wait, for a look without the lock.
    waiters: AtomicUsize,
    line: Mutex<Line>,
    /// Told whenever nothing is left.
    pub(crate) empty: Notify,
}

#[derive(Debug, Default)]
struct Line {
    next: u64,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    number: u64,
    size: Size,
    granted: oneshot::Sender<Reserved>,
}

/// Room that is kept for somebody; what is not used of it is given back when it is dropped.
#[derive(Debug)]
#[must_use = "room that is dropped is given back"]
pub struct Reserved {
    room: Arc<Room>,
    size: Option<Size>,
}

/// The same for somebody who uses it at once, and does not keep it.
#[derive(Debug)]
#[must_use = "room that is dropped is given back"]
pub struct Held<'a> {
    room: &'a Arc<Room>,
    left: Size,
}

/// A place in the line; left when it is dropped.
pub(crate) struct InLine {
    room: Arc<Room>,
    number: u64,
    pub(crate) granted: oneshot::Receiver<Reserved>,
}

impl Room {
    pub(crate) fn new(events_max: usize, bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            taken: Taken::new(),
            events_max: AtomicUsize::new(events_max),
            bytes_max: AtomicUsize::new(bytes_max),
            waiters: AtomicUsize::new(0),
            line: Mutex::default(),
            empty: Notify::new(),
        })
    }

    pub(crate) fn set(self: &Arc<Self>, events_max: usize, bytes_max: usize) {
        self.events_max.store(events_max, Ordering::SeqCst);
        self.bytes_max.store(bytes_max, Ordering::SeqCst);
        self.grant();
    }

    pub(crate) fn most(&self) -> Size {
        let (events, bytes) =
            (self.events_max.load(Ordering::Relaxed), self.bytes_max.load(Ordering::Relaxed));
        Size { events, bytes }
    }

    /// Takes room, unless others wait for it.
    pub(crate) fn take(&self, bytes: usize) -> Result<(), Why> {
        self.take_all(Size::one(bytes))
    }

    /// Takes room for several at once, unless others wait for it.
    pub(crate) fn take_all(&self, size: Size) -> Result<(), Why> {
        if self.waiters.load(Ordering::SeqCst) > 0 {
            return Err(if self.taken.is_closed() { Why::Closed } else { Why::Events });
        }
        self.taken.exchange(Size::default(), size, self.most(), false).map_err(why)
    }

    /// Takes room in exchange for what is given up.
    pub(crate) fn exchange(&self, given: Size, bytes: usize) -> Result<(), Why> {
        self.taken.exchange(given, Size::one(bytes), self.most(), false).map_err(why)
    }

    /// Takes room, a tenth more than there is, and though the queue is closed.
    pub(crate) fn take_over(&self, size: Size) -> Result<(), Why> {
        self.taken.exchange(Size::default(), size, self.most().and_a_tenth(), true).map_err(why)
    }

    /// Gives room back, and lets in who waits.
    pub(crate) fn give_back(self: &Arc<Self>, size: Size) {
        self.give_more_back(size, false);
    }

    /// The same; if more will `follow` at once, who waits is let in when it is worth it.
    pub(crate) fn give_more_back(self: &Arc<Self>, size: Size, follow: bool) {
        if size.events == 0 {
            return;
        }
        let left = self.taken.give_back(size);
        if self.waiters.load(Ordering::SeqCst) > 0 && (!follow || self.is_worth_waking(left)) {
            self.grant();
        }
        if left.events == 0 {
            self.empty.notify_waiters();
        }
    }

    /// Lets in who waits, as far as there is room.
    pub(crate) fn let_in(self: &Arc<Self>) {
        if self.waiters.load(Ordering::SeqCst) > 0 {
            self.grant();
        }
    }

    /// Whether there is so much room that it is worth to wake somebody for it.
    fn is_worth_waking(&self, taken: Size) -> bool {
        let most = self.most();
        let (events, bytes) = ((most.events / WAKE_PART).min(WAKE_EVENTS), most.bytes / WAKE_PART);
        taken.events + events <= most.events && taken.bytes + bytes <= most.bytes
    }

    /// Nobody comes in any more; who waits is told.
    pub(crate) fn close(&self) {
        self.taken.close();
        let mut line = lock(&self.line);
        line.waiters.clear();
        self.waiters.store(0, Ordering::SeqCst);
    }

    /// Waits in line.
    pub(crate) fn line_up(self: &Arc<Self>, size: Size) -> InLine {
        let (granted, receiver) = oneshot::channel();
        let mut line = lock(&self.line);
        let number = line.next;
        line.next += 1;
        line.waiters.push_back(Waiter { number, size, granted });
        // Before the room is looked at again: who gives back after that sees it.
        self.waiters.store(line.waiters.len(), Ordering::SeqCst);
        drop(line);
        self.grant();
        InLine { room: self.clone(), number, granted: receiver }
    }

    /// Lets in who waits, in order, as far as there is room.
    fn grant(self: &Arc<Self>) {
        let mut line = lock(&self.line);
        while let Some(first) = line.waiters.front() {
            match self.taken.exchange(Size::default(), first.size, self.most(), false) {
                Ok(()) => {}
                Err(size::None::Closed) => {
                    line.waiters.clear();
                    break;
                }
                Err(_) => break,
            }
            let Some(waiter) = line.waiters.pop_front() else { break };
            let reserved = Reserved { room: self.clone(), size: Some(waiter.size) };
            if let Err(mut unwanted) = waiter.granted.send(reserved) {
                // Not by dropping it, which would come back here for the lock.
                unwanted.size = None;
                self.taken.give_back(waiter.size);
            }
        }
        self.waiters.store(line.waiters.len(), Ordering::SeqCst);
    }
}

fn why(none: size::None) -> Why {
    match none {
        size::None::Events => Why::Events,
        size::None::Bytes => Why::Bytes,
        size::None::Closed => Why::Closed,
    }
}

impl Reserved {
    pub(crate) fn new(room: Arc<Room>, size: Size) -> Self {
        Self { room, size: Some(size) }
    }

    pub(crate) fn is_of(&self, room: &Arc<Room>) -> bool {
        Arc::ptr_eq(&self.room, room)
    }

    /// Uses a part of the room. Answers whether as much is left.
    pub(crate) fn use_part(&mut self, part: Size) -> bool {
        self.size.as_mut().is_some_and(|size| size.take(part))
    }

    /// The room is used from now on.
    pub(crate) fn used(mut self) {
        self.size = None;
    }
}

impl<'a> Held<'a> {
    pub(crate) fn new(room: &'a Arc<Room>, size: Size) -> Self {
        Self { room, left: size }
    }

    /// Keeps it, for somebody who does something else first.
    pub fn keep(mut self) -> Reserved {
        Reserved::new(self.room.clone(), std::mem::take(&mut self.left))
    }

    pub(crate) fn is_of(&self, room: &Arc<Room>) -> bool {
        Arc::ptr_eq(self.room, room)
    }

    /// Uses a part of the room. Answers whether as much is left.
    pub(crate) fn use_part(&mut self, part: Size) -> bool {
        self.left.take(part)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.room.give_back(self.left);
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        if let Some(size) = self.size.take() {
            self.room.give_back(size);
        }
    }
}

impl Drop for InLine {
    fn drop(&mut self) {
        let mut line = lock(&self.room.line);
        let before = line.waiters.len();
        line.waiters.retain(|waiter| waiter.number != self.number);
        let left = line.waiters.len();
        self.room.waiters.store(left, Ordering::SeqCst);
        drop(line);
        // Who was behind this one may fit where it did not.
        if left < before && left > 0 {
            self.room.grant();
        }
    }
}
