//! The most recent events, kept as they were written, so that readers near the head do not read them back.
//!
//! What is in it is part of the log for ever, so it may be served whatever has happened since; whether something came
//! after it is for the file to say.

use std::collections::VecDeque;

use bytes::Bytes;
use tidings_core::Tenant;
use tidings_store::Recorded;

use crate::pages::Filling;

#[derive(Debug)]
pub(crate) struct Ring {
    events: VecDeque<(Tenant, Recorded)>,
    bytes: usize,
    events_max: usize,
    bytes_max: usize,
}

fn size(event: &Recorded) -> usize {
    event.envelope.payload().map_or(0, Bytes::len)
}

impl Ring {
    pub(crate) fn new(events_max: usize, bytes_max: usize) -> Self {
        Self { events: VecDeque::new(), bytes: 0, events_max, bytes_max }
    }

    /// Adds an event; one that does not follow the last makes the ring begin anew.
    pub(crate) fn push(&mut self, tenant: Tenant, event: Recorded) {
        if self.events.back().is_some_and(|(_, last)| last.position + 1 != event.position) {
            self.events.clear();
            self.bytes = 0;
        }
        self.bytes += size(&event);
        self.events.push_back((tenant, event));
        while self.events.len() > self.events_max || self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.events.pop_front() else { break };
            self.bytes -= size(&oldest);
        }
    }

    /// Goes on with a page of the log, forward, as far as the ring has what comes next. Answers whether it had
    /// something.
    pub(crate) fn fill(&self, filling: &mut Filling<'_>) -> bool {
        let Some((_, first)) = self.events.front() else { return false };
        let Some(begin) = filling.next().checked_add(1).and_then(|next| next.checked_sub(first.position))
        else {
            return false;
        };
        let begin = usize::try_from(begin).unwrap_or(usize::MAX);
        if begin >= self.events.len() {
            return false;
        }
        for (tenant, event) in self.events.range(begin..) {
            if !filling.has_room() {
                break;
            }
            filling.passed(event.position);
            if filling.sees(tenant) {
                filling.offer_shared(event);
            }
        }
        true
    }
}
