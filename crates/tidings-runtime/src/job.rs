//! One event on its way to one buffered handler.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tidings_core::{Attempt, DeadLetter, Envelope, Text, Timestamp};

use crate::{Ended, Outcome, receipt::Told, shelf::Remains, spill::Spiller};

/// A delivery as it waits in a queue.
pub(crate) struct Job {
    pub envelope: Envelope,
    /// Which handler of its pool.
    pub handler: u32,
    /// Which attempt comes next, from 1.
    pub attempt: u32,
    /// Which call comes next, from 1: deliveries that were put off are called, and have used no attempt.
    pub calls: u32,
    /// When the handler was first called.
    pub first: Option<Timestamp>,
    /// What went wrong so far.
    #[expect(clippy::box_collection, reason = "most have none, and then it is a word and not three")]
    pub troubles: Option<Box<Vec<Attempt>>>,
    /// Where its end is told.
    pub told: Option<Arc<Told>>,
    /// The row of the store it came from.
    pub spilled: Option<Arc<Row>>,
    /// The dead letter that is being replayed.
    pub letter: Option<Arc<DeadLetter>>,
}

/// A row of spilled events, which is removed when its last delivery has ended.
pub(crate) struct Row {
    pub number: u64,
    pub open: AtomicUsize,
    pub spiller: Arc<Spiller>,
}

impl Job {
    pub fn new(envelope: Envelope, handler: u32, told: Option<Arc<Told>>) -> Self {
        Self {
            envelope,
            handler,
            attempt: 1,
            calls: 1,
            first: None,
            troubles: None,
            told,
            spilled: None,
            letter: None,
        }
    }

    /// The delivery of a dead letter: its policy begins anew, and its calls are counted on.
    pub fn replay(envelope: Envelope, handler: u32, letter: Arc<DeadLetter>, told: Arc<Told>) -> Self {
        let calls = letter.attempts.saturating_add(1);
        Self { calls, letter: Some(letter), ..Self::new(envelope, handler, Some(told)) }
    }

    /// The delivery has ended.
    pub fn end(mut self, handler: &Text, ended: Ended) {
        self.finish(handler, ended);
    }

    /// The same; answers what is left of it.
    pub fn end_and_leave(mut self, handler: &Text, ended: Ended) -> Remains {
        self.finish(handler, ended);
        (self.envelope, self.told)
    }

    /// The same for one that somebody else keeps a little longer.
    pub fn finish(&mut self, handler: &Text, ended: Ended) {
        let attempts =
            self.calls - u32::from(!matches!(ended, Ended::Handled | Ended::ByFallback | Ended::Dead { .. }));
        if let Some(told) = &self.told {
            told.tell(|| Outcome { handler: handler.clone(), attempts, ended });
        }
        if let Some(row) = self.spilled.take()
            && row.open.fetch_sub(1, Ordering::AcqRel) == 1
        {
            row.spiller.done(row.number);
        }
    }
}
