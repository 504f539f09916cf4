//! One emission: what every listener of it may need, made when the first one needs it and at most once.

use std::{
    any::Any,
    cell::{Cell, OnceCell, RefCell},
    mem::ManuallyDrop,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use parking_lot::Mutex;
use tidings_core::{Envelope, Event, Failure, Handled, Kind, On, PayloadForm};

use crate::{
    Fault, Listener, ListenerFailed, about::About, asked::Asked, core::Core, decoded::Decoded,
    failed::Origin, filter, namespace::written, running::Run,
};

/// What is being emitted, in whatever form the caller has it.
pub(crate) trait Fact {
    /// Name and schema version.
    fn contract(&self) -> (&str, u32);

    /// An envelope of it, dated and with a source.
    fn envelope(&self, core: &Core) -> Handled<Envelope>;

    /// The envelope, and room for what is decoded from it, when an envelope is what the caller has.
    fn given(&self) -> Option<(&Envelope, &Decoded)> {
        None
    }

    /// The question that this is, if an answer is expected.
    fn asked(&self) -> Option<&Arc<Asked>> {
        None
    }

    /// Whether it went to where relays lead already.
    fn is_relayed(&self) -> bool {
        false
    }
}

/// An event that the caller keeps. It can outlive the call only by being written down.
impl<E: Event> Fact for E {
    fn contract(&self) -> (&str, u32) {
        (E::INFO.name, E::INFO.version)
    }

    fn envelope(&self, core: &Core) -> Handled<Envelope> {
        let builder = written(E::INFO.name, self)?;
        core.stamp(builder).finish().map_err(|error| Failure::of(Kind::Permanent, error))
    }
}

/// An event that is shared with whoever needs it for longer than the call.
pub(crate) struct Shared<'a, E>(pub(crate) &'a Arc<E>);

impl<E: Event> Fact for Shared<'_, E> {
    fn contract(&self) -> (&str, u32) {
        (E::INFO.name, E::INFO.version)
    }

    fn envelope(&self, core: &Core) -> Handled<Envelope> {
        let builder = core.stamp(Envelope::of::<E>(self.0.clone()));
        builder.finish().map_err(|error| Failure::of(Kind::Permanent, error))
    }
}

/// An envelope as it came.
pub(crate) struct Given<'a> {
    envelope: &'a Envelope,
    decoded: Decoded,
    relayed: bool,
}

impl<'a> Given<'a> {
    pub(crate) fn new(envelope: &'a Envelope) -> Self {
        Self { envelope, decoded: Decoded::default(), relayed: false }
    }

    /// The same, of an event that went to where relays lead already.
    pub(crate) fn relayed(envelope: &'a Envelope) -> Self {
        Self { relayed: true, ..Self::new(envelope) }
    }

    /// The same, where the event in it is at hand.
    pub(crate) fn with<E: Event>(envelope: &'a Envelope, event: Arc<E>) -> Self {
        let given = Self::new(envelope);
        given.decoded.put(event);
        given
    }
}

impl Fact for Given<'_> {
    fn contract(&self) -> (&str, u32) {
        (self.envelope.name(), self.envelope.schema_version())
    }

    fn envelope(&self, _: &Core) -> Handled<Envelope> {
        Ok(self.envelope.clone())
    }

    fn given(&self) -> Option<(&Envelope, &Decoded)> {
        Some((self.envelope, &self.decoded))
    }

    fn is_relayed(&self) -> bool {
        self.relayed
    }
}

/// What is emitted in the place of something else, for the same asker.
struct Instead<'a> {
    fact: &'a dyn Fact,
    asked: Option<&'a Arc<Asked>>,
    relayed: bool,
}

impl Fact for Instead<'_> {
    fn contract(&self) -> (&str, u32) {
        self.fact.contract()
    }

    fn envelope(&self, core: &Core) -> Handled<Envelope> {
        self.fact.envelope(core)
    }

    fn given(&self) -> Option<(&Envelope, &Decoded)> {
        self.fact.given()
    }

    fn asked(&self) -> Option<&Arc<Asked>> {
        self.asked
    }

    fn is_relayed(&self) -> bool {
        self.relayed
    }
}

/// One emission, on the stack of whoever emits. It begins with five words, because most never need more.
pub(crate) struct Emission<'a> {
    core: &'a Arc<Core>,
    fact: &'a dyn Fact,
    passed_over: Cell<usize>,
    /// Dropped by hand, in a function of its own, so that an emission without it pays for one comparison.
    extra: ManuallyDrop<OnceCell<Box<Extra>>>,
}

/// What an emission may need beyond the event itself.
#[derive(Default)]
struct Extra {
    envelope: OnceCell<Made>,
    decoded: Decoded,
    json: OnceCell<Handled<serde_json::Value>>,
    collected: Option<Collected>,
}

/// An envelope; with a failure it is a bare one, without the data that could not be written.
struct Made {
    envelope: Envelope,
    failure: Option<Failure>,
}

/// What an awaited emission leaves to be done and told.
#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) running: RefCell<Vec<Run>>,
    pub(crate) failed: RefCell<Vec<ListenerFailed>>,
    pub(crate) ended: Ended,
}

/// The failures of asynchronous calls in the order in which they ended, those that were dropped included: what is known
/// when the wait is cut short.
pub(crate) type Ended = Arc<Mutex<Vec<ListenerFailed>>>;

impl<'a> Emission<'a> {
    /// An emission whose asynchronous listeners are handed to a runtime.
    #[inline]
    pub(crate) fn new(core: &'a Arc<Core>, fact: &'a dyn Fact) -> Self {
        Self { core, fact, passed_over: Cell::new(0), extra: ManuallyDrop::default() }
    }

    /// An emission that somebody awaits.
    pub(crate) fn awaited(core: &'a Arc<Core>, fact: &'a dyn Fact, ended: Ended) -> Self {
        let extra =
            Extra { collected: Some(Collected { ended, ..Collected::default() }), ..Extra::default() };
        let extra = ManuallyDrop::new(OnceCell::from(Box::new(extra)));
        Self { core, fact, passed_over: Cell::new(0), extra }
    }

    pub(crate) fn core(&self) -> &'a Arc<Core> {
        self.core
    }

    /// The question that this is, if an answer is expected.
    pub(crate) fn asked(&self) -> Option<&Arc<Asked>> {
        self.fact.asked()
    }

    /// Whether the event went to where relays lead already.
    pub(crate) fn is_relayed(&self) -> bool {
        self.fact.is_relayed()
    }

    /// Notes that a listener did not run.
    pub(crate) fn pass_over(&self) {
        self.passed_over.set(self.passed_over.get() + 1);
    }

    /// How many listeners did not run.
    #[inline]
    pub(crate) fn passed_over(&self) -> usize {
        self.passed_over.get()
    }

    /// Where an awaited emission puts what is to be awaited.
    pub(crate) fn collected(&self) -> Option<&Collected> {
        self.extra.get().and_then(|extra| extra.collected.as_ref())
    }

    /// What an awaited emission has collected.
    pub(crate) fn into_collected(mut self) -> Collected {
        self.extra.take().and_then(|extra| extra.collected).unwrap_or_default()
    }

    /// The event in an envelope.
    ///
    /// # Errors
    /// Why it cannot be put into one.
    pub(crate) fn envelope(&self) -> Result<&Envelope, &Failure> {
        if let Some((envelope, _)) = self.fact.given() {
            return Ok(envelope);
        }
        let made = self.made();
        made.failure.as_ref().map_or(Ok(&made.envelope), Err)
    }

    /// The envelope, if there is one already.
    pub(crate) fn known_envelope(&self) -> Option<&Envelope> {
        let made = || self.extra.get()?.envelope.get().filter(|made| made.failure.is_none());
        let given = self.fact.given().map(|(envelope, _)| envelope);
        given.or_else(|| made().map(|made| &made.envelope))
    }

    /// Goes on with another event in the place of this one. If this is awaited, so is what comes of it.
    pub(crate) fn within<R>(&self, fact: &dyn Fact, work: impl FnOnce(&Emission<'_>) -> R) -> R {
        // A question stays one, whatever middleware makes of what it says.
        let fact = &Instead { fact, asked: self.asked(), relayed: self.is_relayed() };
        let Some(outer) = self.collected() else { return work(&Emission::new(self.core, fact)) };
        let inner = Emission::awaited(self.core, fact, outer.ended.clone());
        let answer = work(&inner);
        let inner = inner.into_collected();
        outer.running.borrow_mut().extend(inner.running.into_inner());
        outer.failed.borrow_mut().extend(inner.failed.into_inner());
        answer
    }

    /// The event in an envelope, without its data if that cannot be written.
    pub(crate) fn envelope_or_bare(&self) -> &Envelope {
        self.fact.given().map_or_else(|| &self.made().envelope, |(envelope, _)| envelope)
    }

    fn made(&self) -> &Made {
        self.extra().envelope.get_or_init(|| {
            // This runs the author's `Serialize`, `key` and `tags`, which may panic like a listener.
            let made =
                catch_unwind(AssertUnwindSafe(|| self.fact.envelope(self.core))).unwrap_or_else(|payload| {
                    Err(Failure::permanent(format!("writing the event: {}", Fault::panicked(payload))))
                });
            match made {
                Ok(envelope) => Made { envelope, failure: None },
                Err(failure) => {
                    let (name, version) = self.fact.contract();
                    let builder = Envelope::build(name).schema_version(version).id(tidings_core::id::next());
                    let builder = builder.payload(PayloadForm::Absent, Vec::new());
                    Made { envelope: self.core.stamp(builder).trusted(), failure: Some(failure) }
                }
            }
        })
    }

    /// The event as a type that it was perhaps not emitted as.
    ///
    /// # Errors
    /// Why the payload cannot be read as that type.
    pub(crate) fn decoded<E: Event>(&self) -> Result<&E, &Failure> {
        let event = self.any_decoded::<E>()?;
        Ok(event
            .downcast_ref()
            .unwrap_or_else(|| unreachable!("it is kept under the type it was decoded as")))
    }

    /// Spares decoding an event that is shared.
    pub(crate) fn share<E: Event>(&self, event: &Arc<E>) {
        self.extra().decoded.put(event.clone());
    }

    /// The event and its envelope by a handle that may outlive the call.
    ///
    /// # Errors
    /// Why there is no envelope, or why its payload cannot be read as that type.
    pub(crate) fn on<E: Event>(&self) -> Handled<On<E>> {
        let event = self.any_decoded::<E>().map_err(Failure::clone)?.clone().downcast();
        let event = event.unwrap_or_else(|_| unreachable!("it is kept under the type it was decoded as"));
        Ok(On::new(event, self.envelope().map_err(Failure::clone)?.clone()))
    }

    fn any_decoded<E: Event>(&self) -> Result<&Arc<dyn Any + Send + Sync>, &Failure> {
        match self.fact.given() {
            Some((envelope, decoded)) => decoded.get::<E>(envelope),
            None => self.extra().decoded.get::<E>(self.envelope()?),
        }
    }

    /// The payload as JSON, for filters. An absent one is null.
    ///
    /// # Errors
    /// Why it is no JSON.
    pub(crate) fn json(&self) -> Result<&serde_json::Value, Failure> {
        let envelope = self.envelope().map_err(Failure::clone)?;
        let json = self.extra().json.get_or_init(|| filter::read(envelope));
        json.as_ref().map_err(Failure::clone)
    }

    /// Tells that a listener did not run because the event cannot be given to it.
    #[cold]
    pub(crate) fn unreadable(&self, about: &About, failure: &Failure) {
        self.pass_over();
        self.failed(about, Fault::Unreadable(failure.clone()));
    }

    /// Tells the error channel, and whoever awaits this emission.
    #[cold]
    pub(crate) fn failed(&self, about: &About, fault: Fault) {
        if let Some(calls) = about.calls() {
            calls.failed();
        }
        let (envelope, origin) = (self.envelope_or_bare(), self.core.origin(about, self.envelope().is_ok()));
        let failed = self.core.failed(envelope, about.listener(), fault, origin);
        if let Some(collected) = self.collected() {
            collected.failed.borrow_mut().push(failed.clone());
        }
        self.core.report(&failed);
    }

    fn extra(&self) -> &Extra {
        self.extra.get_or_init(Box::default)
    }
}

impl Drop for Emission<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.extra.get().is_some() {
            discard(std::mem::take(&mut self.extra));
        }
    }
}

#[cold]
#[inline(never)]
fn discard(extra: OnceCell<Box<Extra>>) {
    drop(extra);
}

impl Core {
    pub(crate) fn failed(
        &self,
        envelope: &Envelope,
        listener: &Listener,
        fault: Fault,
        origin: Origin,
    ) -> ListenerFailed {
        ListenerFailed::new(envelope.clone(), listener.clone(), fault, self.now(), origin)
    }

    /// Where a listener is found again; `whole` says whether there is an envelope with all that it was given.
    pub(crate) fn origin(&self, about: &About, whole: bool) -> Origin {
        Origin { bus: self.secret, rank: about.rank(), whole }
    }
}
