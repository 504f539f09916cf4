//! What both sides of a flow see: whoever pushes, and the task.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidings_core::{Clock, Timestamp};
use tokio::sync::Notify;

use super::{Figures, GivenUp, Left};
use crate::{Operator, Refused, Why};

pub(super) struct Shared<O: Operator> {
    pub(super) state: Mutex<State<O>>,
    pub(super) clock: Arc<dyn Clock>,
    /// Wakes the task.
    pub(super) work: Notify,
    /// Wakes who waits for room.
    pub(super) room: Notify,
    queue: usize,
}

pub(super) struct State<O: Operator> {
    pub(super) operator: O,
    /// What came out and waits for the consumer.
    pub(super) ready: VecDeque<O::Out>,
    /// What is in the consumer's hands, or waits to be there again.
    pub(super) delivering: Option<Arc<O::Out>>,
    pub(super) given_up: VecDeque<GivenUp<O::Out>>,
    pub(super) figures: Figures,
    /// The latest time seen: a clock may be set back, an operator must not be.
    now: Timestamp,
    /// What the task's timer is set to.
    armed: Option<Timestamp>,
    ended: bool,
}

/// What the task is to do.
pub(super) enum Next<Out> {
    Deliver(Out),
    /// Nothing, until it is woken or this span is over.
    Wait(Option<(Duration, Timestamp)>),
    End,
}

impl<O: Operator> State<O> {
    fn reach(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    fn run(&mut self, work: impl FnOnce(&mut O, Timestamp, &mut dyn FnMut(O::Out))) {
        let (ready, now) = (&mut self.ready, self.now);
        work(&mut self.operator, now, &mut |out| ready.push_back(out));
    }

    /// Whether the task has to look again earlier than it would.
    fn has_news(&self) -> bool {
        !self.ready.is_empty()
            || self.operator.due().is_some_and(|due| self.armed.is_none_or(|armed| due < armed))
    }
}

impl<O: Operator> Shared<O> {
    pub(super) fn new(operator: O, clock: Arc<dyn Clock>, queue: usize) -> Self {
        let state = State {
            operator,
            ready: VecDeque::new(),
            delivering: None,
            given_up: VecDeque::new(),
            figures: Figures::default(),
            now: clock.now(),
            armed: None,
            ended: false,
        };
        Self { state: Mutex::new(state), clock, work: Notify::new(), room: Notify::new(), queue }
    }

    pub(super) fn take(&self, item: O::Item) -> Result<(), Refused<O::Item>> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        let why = match (state.ended, state.ready.len() >= self.queue) {
            (true, _) => Some(Why::Ended),
            (_, true) => Some(Why::Full),
            _ => None,
        };
        if let Some(why) = why {
            state.figures.refused += 1;
            return Err(Refused { item, why });
        }
        state.reach(now);
        state.figures.taken += 1;
        state.run(|operator, now, emit| operator.push(item, now, emit));
        let news = state.has_news();
        drop(state);
        if news {
            self.work.notify_one();
        }
        Ok(())
    }

    pub(super) fn flush(&self) {
        let mut state = self.state.lock();
        state.reach(self.clock.now());
        state.run(|operator, now, emit| operator.flush(now, emit));
        drop(state);
        self.work.notify_one();
    }

    /// Takes nothing more; the task flushes and ends.
    pub(super) fn end(&self) {
        self.state.lock().ended = true;
        self.work.notify_one();
        self.room.notify_waiters();
    }

    /// What the task is to do now.
    pub(super) fn next(&self) -> Next<O::Out> {
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.reach(now);
        state.run(|operator, now, emit| operator.fire(now, emit));
        if state.ended {
            state.run(|operator, now, emit| operator.flush(now, emit));
        }
        if let Some(out) = state.ready.pop_front() {
            drop(state);
            self.room.notify_waiters();
            return Next::Deliver(out);
        }
        if state.ended {
            return Next::End;
        }
        state.armed = state.operator.due();
        // A span and not a time is slept, so that a clock that is set meanwhile makes it neither shorter nor longer.
        Next::Wait(state.armed.map(|due| (due.since(state.now), due)))
    }

    /// The timer that was set to `due` has run down, whatever the clock says now.
    pub(super) fn slept(&self, due: Timestamp) {
        self.state.lock().reach(due);
    }

    /// What is left when no task runs any more.
    pub(super) fn left(&self) -> Left<O::Out> {
        self.flush();
        let mut state = self.state.lock();
        let first = state.delivering.take();
        let outputs = first.into_iter().chain(state.ready.drain(..).map(Arc::new)).collect();
        Left { outputs, given_up: state.given_up.drain(..).collect(), figures: state.figures }
    }
}

impl<O: Operator> Drop for Shared<O> {
    fn drop(&mut self) {
        let state = self.state.get_mut();
        let now = state.now;
        state.run(|operator, _, emit| operator.flush(now, emit));
        let lost = state.ready.len() + usize::from(state.delivering.is_some());
        if lost > 0 {
            tracing::error!(lost, "a flow's runtime ended before its consumer was done");
        }
    }
}
