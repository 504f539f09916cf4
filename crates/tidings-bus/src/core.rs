//! The heart of a bus: what is registered, under one lock, and the plans made of it, which are read without.

use std::{cell::RefCell, hash::BuildHasher, sync::Arc};

use tidings_core::{Clock, Envelope, EnvelopeBuilder, Event, Pattern, Text, Timestamp};

use crate::{
    History, LeakWatch, StatsOptions,
    about::Place,
    emission::{Emission, Given},
    errors::ErrorListener,
    hear::Hear,
    history::Histories,
    middleware::Filed,
    plan::{Current, Plan, Slot, Waste},
    plugin::Plugins,
    rank::{Rank, Ranks},
    registry::Registry,
    running::{InFlight, Spawn},
    state::State,
    stats::Meter,
    subjects::Subjects,
    sync::Mutex,
    types::Types,
};

thread_local! {
    /// The last name that only relays listened to, and on which bus, in which generation.
    static ALONE: RefCell<((u64, u64), Text)> = RefCell::default();
}

/// A bus without its handle.
pub(crate) struct Core {
    state: Mutex<State>,
    types: Types,
    subjects: Arc<Subjects>,
    pub(crate) ranks: Ranks,
    pub(crate) in_flight: InFlight,
    pub(crate) meter: Option<Arc<Meter>>,
    pub(crate) histories: Option<Arc<Histories>>,
    pub(crate) plugins: Plugins,
    pub(crate) settings: Settings,
    pub(crate) modules: Registry,
    /// Tells this bus apart from any other, also from one that was where this is.
    pub(crate) secret: u64,
}

/// What a bus is built with.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) source: Text,
    pub(crate) spawn: Option<Arc<Spawn>>,
    pub(crate) in_flight_max: usize,
    pub(crate) leak_watch: Option<LeakWatch>,
    pub(crate) stats: Option<StatsOptions>,
    pub(crate) history: Vec<(Pattern, History)>,
    pub(crate) history_topics_max: usize,
}

impl Core {
    pub(crate) fn new(settings: Settings) -> Self {
        // Nobody outside this process knows the seed, so nobody can send names that all fall into one place.
        let seed = std::hash::RandomState::new().hash_one("names");
        let subjects = Arc::new(Subjects::new(seed));
        let meter = settings.stats.clone().map(|options| Arc::new(Meter::new(options)));
        let histories = (!settings.history.is_empty())
            .then(|| Arc::new(Histories::new(settings.history.clone(), settings.history_topics_max)));
        let state = State::new(subjects.clone(), seed, &settings, meter.clone(), histories.clone());
        Self {
            state: Mutex::new(state),
            meter,
            histories,
            plugins: Plugins::default(),
            types: Types::new(),
            subjects,
            ranks: Ranks::default(),
            in_flight: InFlight::default(),
            settings,
            modules: Registry::default(),
            secret: seed,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.settings.clock.now()
    }

    /// Gives an envelope that is made here its source and time.
    pub(crate) fn stamp(&self, builder: EnvelopeBuilder) -> EnvelopeBuilder {
        builder.source(self.settings.source.clone()).time(self.now())
    }

    /// The only place that takes the lock. What `change` puts into the waste is dropped after the lock is released.
    pub(crate) fn locked<R>(&self, change: impl FnOnce(&mut State, &mut Waste) -> R) -> R {
        self.locked_with_waste(change).0
    }

    /// The same where the waste must not be dropped yet, because there is another lock.
    pub(crate) fn locked_with_waste<R>(
        &self,
        change: impl FnOnce(&mut State, &mut Waste) -> R,
    ) -> (R, Waste) {
        let mut waste = Waste::default();
        let answer = change(&mut self.state.lock(), &mut waste);
        (answer, waste)
    }

    pub(crate) fn attach_typed<E: Event>(self: &Arc<Self>, listener: Arc<dyn Hear<E>>) {
        let now = self.watch_time();
        let who = listener.clone();
        let leak = self.locked(|state, waste| {
            state.attach_typed(listener, waste);
            state.grown(who.about().listener().topic(), now)
        });
        self.suspect(leak);
    }

    pub(crate) fn attach_pattern(self: &Arc<Self>, pattern: &Pattern, listener: Arc<dyn Hear<Envelope>>) {
        let now = self.watch_time();
        let leak = self.locked(|state, waste| {
            state.attach_pattern(pattern, listener, waste);
            state.grown(pattern.as_str(), now)
        });
        self.suspect(leak);
    }

    pub(crate) fn attach_middleware(&self, middleware: Arc<dyn Filed>) {
        self.locked(|state, waste| state.attach_middleware(middleware, waste));
    }

    pub(crate) fn attach_errors(&self, listener: Arc<ErrorListener>) {
        self.locked(|state, _| state.attach_errors(listener));
    }

    /// Takes a listener out and ends it, if it is still there.
    pub(crate) fn detach(&self, place: &Place, rank: Rank) {
        self.locked(|state, waste| state.detach(place, rank, waste));
    }

    /// Where the plan of a type stands.
    pub(crate) fn slot<E: Event>(&self) -> Arc<Slot<E>> {
        self.locked(|state, _| {
            let mut is_new = false;
            let slot = self.types.get_or_put::<Slot<E>>(|| {
                is_new = true;
                Slot::new()
            });
            if is_new {
                state.add_slot(slot.clone());
            }
            slot
        })
    }

    /// Emits an event of a type that has perhaps never been seen.
    #[inline]
    pub(crate) fn emit<E: Event>(&self, event: &E, emission: &Emission<'_>) -> usize {
        if let Some(slot) = self.types.get::<Slot<E>>()
            && let Some(plan) = &*slot.load()
        {
            return plan.run(event, emission);
        }
        self.emit_first(event, emission)
    }

    #[cold]
    #[inline(never)]
    fn emit_first<E: Event>(&self, event: &E, emission: &Emission<'_>) -> usize {
        self.plan::<E>().run(event, emission)
    }

    /// The plan of a type, made if there is none.
    pub(crate) fn plan<E: Event>(&self) -> Arc<Plan<E>> {
        let slot = self.slot::<E>();
        self.locked(|state, _| state.fill(slot))
    }

    /// Emits under a name what gets an envelope if anybody listens.
    pub(crate) fn emit_named(&self, name: &Text, emission: &Emission<'_>) -> usize {
        let kept = self.subjects.get(name).and_then(|kept| kept.as_ref().cloned());
        let subject = kept.unwrap_or_else(|| self.locked(|state, waste| state.keep(name, waste)));
        let plan = subject.plan();
        if plan.is_empty() {
            return 0;
        }
        match emission.envelope() {
            Ok(envelope) => plan.run(envelope, emission),
            Err(failure) => {
                plan.abouts().for_each(|about| emission.unreadable(about, failure));
                0
            }
        }
    }

    /// Emits what is in an envelope, by its name.
    pub(crate) fn emit_envelope(&self, envelope: &Envelope, emission: &Emission<'_>) -> usize {
        if let Some(kept) = self.subjects.get(envelope.name())
            && let Some(subject) = &*kept
        {
            return subject.plan().run(envelope, emission);
        }
        let subject = self.locked(|state, waste| state.keep(envelope.name(), waste));
        subject.plan().run(envelope, emission)
    }

    /// The same for what relays need not be given, which mostly are the only ones that listen.
    pub(crate) fn emit_relayed(self: &Arc<Self>, envelope: &Envelope) -> usize {
        // Who publishes an event publishes more of its kind, and asking costs more than the answer.
        let now = (self.secret, self.subjects.generation());
        if ALONE.with_borrow(|(at, name)| *at == now && name == envelope.name()) {
            return 0;
        }
        if let Some(kept) = self.subjects.get(envelope.name())
            && let Some(subject) = &*kept
        {
            let plan = subject.plan();
            if plan.has_only_relays() {
                ALONE.with_borrow_mut(|alone| *alone = (now, envelope.name().clone()));
                return 0;
            }
            return plan.run(envelope, &Emission::new(self, &Given::relayed(envelope)));
        }
        self.emit_envelope(envelope, &Emission::new(self, &Given::relayed(envelope)))
    }

    /// The plan of a name, and what is to be dropped when no lock is held.
    pub(crate) fn subject(&self, name: &Text) -> (Current<Envelope>, Waste) {
        let (subject, waste) = self.locked_with_waste(|state, waste| state.keep(name, waste));
        (subject, waste)
    }
}
