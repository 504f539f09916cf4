//! Room for several entries at once, kept before they are there: all of them come in, or none.

use std::{sync::atomic::Ordering, time::Duration};

use crate::{
    entry::{Entry, Full, Why},
    queue::Queue,
    room::{Held, Reserved},
    size::Size,
    work::Work,
};

impl<W: Work> Queue<W> {
    /// Keeps room for so many entries of `bytes` each, if there is room now and nobody waits for it.
    ///
    /// # Errors
    /// Why there is none.
    pub fn reserve(&self, events: usize, bytes: usize) -> Result<Reserved, Why> {
        self.hold(events, bytes).map(Held::keep)
    }

    /// The same for who pushes them at once.
    ///
    /// # Errors
    /// Why there is none.
    pub fn hold(&self, events: usize, bytes: usize) -> Result<Held<'_>, Why> {
        let size = of(events, bytes);
        self.shared.room.take_all(size)?;
        Ok(Held::new(&self.shared.room, size))
    }

    /// The same, waiting for room at most until `deadline`, in order with others who wait.
    ///
    /// # Errors
    /// Why there is none, also when it would be too much for an empty queue.
    pub async fn reserve_waiting(
        &self,
        events: usize,
        bytes: usize,
        deadline: Duration,
    ) -> Result<Reserved, Why> {
        let (room, size) = (&self.shared.room, of(events, bytes));
        let why = match self.reserve(events, bytes) {
            Ok(reserved) => return Ok(reserved),
            Err(Why::Closed) => return Err(Why::Closed),
            Err(_) if size.bytes > room.most().bytes => return Err(Why::Bytes),
            Err(_) if size.events > room.most().events => return Err(Why::Events),
            Err(why) => why,
        };
        let mut line = room.line_up(size);
        let granted = tokio::select! {
            biased;
            granted = &mut line.granted => granted.ok(),
            () = self.shared.clock.sleep(deadline) => {
                room.let_in();
                line.granted.try_recv().ok()
            }
        };
        granted.ok_or(if room.taken.is_closed() { Why::Closed } else { why })
    }

    /// Room for who must not wait, because the queue waits for it: a tenth more than there is, and also when the
    /// queue is closed and still works off what it has.
    ///
    /// # Errors
    /// Why there is none.
    pub fn hold_over(&self, events: usize, bytes: usize) -> Result<Held<'_>, Why> {
        if self.shared.is_stopped() {
            return Err(Why::Closed);
        }
        let size = of(events, bytes);
        self.shared.room.take_over(size)?;
        Ok(Held::new(&self.shared.room, size))
    }

    /// Pushes an entry into room that is held for it.
    ///
    /// # Errors
    /// The room is not of this queue, or not as large; then the entry is given back.
    pub fn push_held(&self, held: &mut Held<'_>, entry: Entry<W::Item>) -> Result<(), Full<W::Item>> {
        if !held.is_of(&self.shared.room) || !held.use_part(Size::one(entry.bytes)) {
            return Err(Full { entry, why: Why::Events });
        }
        self.leave(entry);
        Ok(())
    }

    /// Pushes an entry into room that was kept for it.
    ///
    /// # Errors
    /// The room is not of this queue, or not as large; then the entry is given back.
    pub fn push_reserved(&self, reserved: &mut Reserved, entry: Entry<W::Item>) -> Result<(), Full<W::Item>> {
        if !reserved.is_of(&self.shared.room) || !reserved.use_part(Size::one(entry.bytes)) {
            return Err(Full { entry, why: Why::Events });
        }
        self.leave(entry);
        Ok(())
    }

    /// Whether it takes nothing in any more.
    pub fn is_closed(&self) -> bool {
        self.shared.room.taken.is_closed()
    }

    /// How many entries were settled so far.
    pub fn processed(&self) -> u64 {
        self.shared.slots.iter().map(|slot| slot.processed.load(Ordering::Relaxed)).sum()
    }

    /// Waits until nothing waits or runs.
    pub async fn settled(&self) {
        self.emptied().await;
    }
}

fn of(events: usize, bytes: usize) -> Size {
    Size { events, bytes: bytes.saturating_mul(events) }
}
