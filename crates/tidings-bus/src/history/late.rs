//! Listeners that come late.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::ThreadId,
};

use parking_lot::{Condvar, Mutex};
use tidings_core::{Envelope, Event, Pattern};

use super::{HISTORY_WAITING_MAX, Replay};
use crate::{
    LeakSuspected,
    about::About,
    core::Core,
    emission::{Emission, Given},
    hear::{Decoding, Hear},
    plan::{Plan, Waste},
    state::State,
};

/// A listener that is given earlier events first: those that come meanwhile wait.
struct Late<T: ?Sized> {
    listener: Arc<dyn Hear<T>>,
    waiting: Arc<Waiting>,
}

impl<T: ?Sized> Hear<T> for Late<T> {
    fn hear(&self, event: &T, emission: &Emission<'_>) {
        if self.waiting.is_over() {
            return self.listener.hear(event, emission);
        }
        match emission.envelope() {
            // One that waits will be called, and counts as one that was.
            Ok(envelope) if self.waiting.put(envelope) => {}
            Ok(_) => self.listener.hear(event, emission),
            Err(failure) => emission.unreadable(self.about(), failure),
        }
    }

    fn about(&self) -> &About {
        self.listener.about()
    }
}

/// What has come for a late listener since it joined.
struct Waiting {
    /// So that, when everything earlier was given, nobody takes the lock any more.
    over: AtomicBool,
    queue: Mutex<Queue>,
    moved: Condvar,
    by: ThreadId,
}

#[derive(Default)]
struct Queue {
    envelopes: VecDeque<Envelope>,
    over: bool,
}

impl Waiting {
    fn new() -> Self {
        let by = std::thread::current().id();
        Self { over: AtomicBool::new(false), queue: Mutex::default(), moved: Condvar::new(), by }
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Lets an event wait; answers whether it does, and need not be given by who emits it. Where too many wait already,
    /// this one waits for room, unless it is the very thread that makes room.
    fn put(&self, envelope: &Envelope) -> bool {
        let mut queue = self.queue.lock();
        while !queue.over
            && queue.envelopes.len() >= HISTORY_WAITING_MAX
            && std::thread::current().id() != self.by
        {
            self.moved.wait(&mut queue);
        }
        if !queue.over {
            queue.envelopes.push_back(envelope.clone());
        }
        !queue.over
    }

    /// Takes what has come; nothing when nothing has, and then nothing waits any more. An event that comes from here on
    /// finds everything before it given.
    fn take(&self) -> Option<VecDeque<Envelope>> {
        let mut queue = self.queue.lock();
        let envelopes = std::mem::take(&mut queue.envelopes);
        if envelopes.is_empty() {
            queue.over = true;
            self.over.store(true, Ordering::Release);
        }
        drop(queue);
        self.moved.notify_all();
        (!envelopes.is_empty()).then_some(envelopes)
    }
}

/// Gives a late listener what was kept and what has come meanwhile.
struct Giving<'a> {
    core: &'a Arc<Core>,
    listener: Plan<Envelope>,
    waiting: Arc<Waiting>,
    about: &'a About,
}

impl Giving<'_> {
    fn all(&self, past: Vec<Envelope>) {
        past.iter().for_each(|envelope| self.one(envelope));
        while let Some(envelopes) = self.waiting.take() {
            envelopes.iter().for_each(|envelope| self.one(envelope));
        }
    }

    fn one(&self, envelope: &Envelope) {
        if !self.about.is_ended() {
            self.listener.run(envelope, &Emission::new(self.core, &Given::new(envelope)));
        }
    }
}

impl Drop for Giving<'_> {
    /// However this ends, nobody waits for ever.
    fn drop(&mut self) {
        while self.waiting.take().is_some() {}
    }
}

impl Core {
    pub(crate) fn attach_typed_late<E: Event>(self: &Arc<Self>, listener: Arc<dyn Hear<E>>, replay: Replay) {
        // A name that is no topic has no history: nothing can be put into an envelope under it.
        let Ok(pattern) = Pattern::parse(listener.about().listener().topic()) else {
            return self.attach_typed(listener);
        };
        let (waiting, late) = late(&listener);
        let (past, versions) = self.join(&pattern, replay, |state, waste| {
            state.attach_typed(late, waste);
            state.versions(pattern.as_str())
        });
        let given: Arc<dyn Hear<Envelope>> = Arc::new(Decoding { listener: listener.clone(), versions });
        self.give(listener.about(), given, waiting, past);
    }

    pub(crate) fn attach_pattern_late(
        self: &Arc<Self>,
        pattern: &Pattern,
        listener: Arc<dyn Hear<Envelope>>,
        replay: Replay,
    ) {
        let (waiting, late) = late(&listener);
        let (past, ()) =
            self.join(pattern, replay, |state, waste| state.attach_pattern(pattern, late, waste));
        self.give(listener.about(), listener.clone(), waiting, past);
    }

    /// Answers what is kept, and lets a listener join in the same step.
    fn join<R>(
        self: &Arc<Self>,
        pattern: &Pattern,
        replay: Replay,
        attach: impl FnOnce(&mut State, &mut Waste) -> R,
    ) -> (Vec<Envelope>, R) {
        let now = self.watch_time();
        let join = || {
            self.locked_with_waste(|state, waste| -> (R, Option<LeakSuspected>) {
                let answer = attach(state, waste);
                (answer, state.grown(pattern.as_str(), now))
            })
        };
        let (past, (answer, leak)) = match &self.histories {
            Some(histories) => histories.join(pattern, replay, join),
            None => (Vec::new(), join().0),
        };
        self.suspect(leak);
        (past, answer)
    }

    fn give(
        self: &Arc<Self>,
        about: &About,
        listener: Arc<dyn Hear<Envelope>>,
        waiting: Arc<Waiting>,
        past: Vec<Envelope>,
    ) {
        let listener = Plan::new(Box::new([listener]));
        Giving { core: self, listener, waiting, about }.all(past);
    }
}

fn late<T: ?Sized + 'static>(listener: &Arc<dyn Hear<T>>) -> (Arc<Waiting>, Arc<dyn Hear<T>>) {
    let waiting = Arc::new(Waiting::new());
    (waiting.clone(), Arc::new(Late { listener: listener.clone(), waiting }))
}
