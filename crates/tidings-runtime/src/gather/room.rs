//! How much a handler of batches may hold.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for so many events and bytes; whoever waits for it gets it in order.
pub(super) struct Room {
    events: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    bytes_max: u32,
    waiting: AtomicUsize,
}

/// Room for one event; given back when it is dropped.
pub(super) struct Place {
    _event: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

/// Counts somebody who waits.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::SeqCst);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Room {
    pub fn new(events: usize, bytes: usize) -> Self {
        let bytes_max = u32::try_from(bytes).unwrap_or(u32::MAX).max(1);
        Self {
            events: Arc::new(Semaphore::new(events.clamp(1, Semaphore::MAX_PERMITS))),
            bytes: Arc::new(Semaphore::new(bytes_max as usize)),
            bytes_max,
            waiting: AtomicUsize::new(0),
        }
    }

    /// What is larger than all the room takes all of it.
    fn bytes(&self, bytes: usize) -> u32 {
        u32::try_from(bytes).unwrap_or(u32::MAX).min(self.bytes_max)
    }

    pub fn try_take(&self, bytes: usize) -> Option<Place> {
        let event = self.events.clone().try_acquire_owned().ok()?;
        let bytes = self.bytes.clone().try_acquire_many_owned(self.bytes(bytes)).ok()?;
        Some(Place { _event: event, _bytes: bytes })
    }

    /// Waits for room; `told` is called when somebody waits. `None` when it is closed.
    pub async fn take(&self, bytes: usize, told: impl FnOnce()) -> Option<Place> {
        let _waiting = Waiting::begin(&self.waiting);
        told();
        let event = self.events.clone().acquire_owned().await.ok()?;
        let bytes = self.bytes.clone().acquire_many_owned(self.bytes(bytes)).await.ok()?;
        Some(Place { _event: event, _bytes: bytes })
    }

    /// Whether somebody waits for room.
    pub fn is_short(&self) -> bool {
        self.waiting.load(Ordering::SeqCst) > 0
    }

    /// There is no room for anybody any more.
    pub fn close(&self) {
        self.events.close();
        self.bytes.close();
    }
}
