//! How listeners are registered.

use std::{any::type_name_of_val, fmt, future::Future, panic::Location, sync::Arc};

use tidings_core::{BoxFuture, Envelope, Event, Handled, IntoHandled, On, Pattern, Text, TopicError};
use tokio::runtime::Handle;

use crate::{
    Bus, Filter, Guard, Listener, Replay,
    about::{About, Place},
    emission::Emission,
    gate::{Always, Chosen},
    hear::{Deferred, Hear, InPlace},
    rank::End,
    stats::Measured,
};

/// A subscription in the making: where the listener stands, how often it is called, and for which events.
///
/// Begun by [`Bus::listen`]; `T` follows from the listener.
///
/// ```
/// use tidings_bus::{Bus, example::OrderPlaced};
/// let bus = Bus::new();
/// let large = bus
///     .listen()
///     .first()
///     .once()
///     .when(|placed: &OrderPlaced| placed.total_cents > 1_000)
///     .on(|placed: &OrderPlaced| assert_eq!(placed.order, "2"));
/// assert_eq!(bus.emit(&OrderPlaced { order: "1".into(), total_cents: 10 }), 0);
/// assert_eq!(bus.emit(&OrderPlaced { order: "2".into(), total_cents: 5_000 }), 1);
/// assert_eq!(bus.emit(&OrderPlaced { order: "3".into(), total_cents: 5_000 }), 0);
/// # drop(large);
/// ```
#[must_use = "nothing listens until `on`, `subscribe` or one of their like is called"]
pub struct Listen<'a, T: ?Sized> {
    pub(crate) bus: &'a Bus,
    priority: i32,
    end: End,
    pub(crate) chosen: Chosen<T>,
    pub(crate) replay: Option<Replay>,
    namespace: Option<Text>,
}

/// What is known of a listener before it has a rank.
pub(crate) struct Written {
    pub(crate) function: &'static str,
    pub(crate) location: &'static Location<'static>,
}

impl Written {
    pub(crate) fn by<F>(listener: &F, location: &'static Location<'static>) -> Self {
        Self { function: type_name_of_val(listener), location }
    }
}

impl<'a, T: ?Sized + 'static> Listen<'a, T> {
    pub(crate) fn new(bus: &'a Bus) -> Self {
        Self { bus, priority: 0, end: End::Last, chosen: Chosen::new(), replay: None, namespace: None }
    }

    pub(crate) fn within(bus: &'a Bus, namespace: Text) -> Self {
        Self { namespace: Some(namespace), ..Self::new(bus) }
    }

    /// Before listeners of a lower priority, whenever they joined; 0 unless said. Among those of one priority the order
    /// of registration decides. Typed listeners and those to patterns stand in one order.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// let (bus, said) = (Bus::new(), Arc::new(Mutex::new(Vec::new())));
    /// let say = |word: &'static str| {
    ///     let said = said.clone();
    ///     move || said.lock().unwrap().push(word)
    /// };
    /// let (log, check, ship) = (say("log"), say("check"), say("ship"));
    /// bus.listen().priority(-10).subscribe("**", move |_| log())?.forever();
    /// bus.on(move |_: &OrderPlaced| ship()).forever();
    /// bus.listen().priority(10).on(move |_: &OrderPlaced| check()).forever();
    /// bus.emit(&OrderPlaced { order: "4711".into(), total_cents: 300 });
    /// assert_eq!(*said.lock().unwrap(), ["check", "ship", "log"]);
    /// # Ok::<(), tidings_core::TopicError>(())
    /// ```
    pub fn priority(self, priority: i32) -> Self {
        Self { priority, ..self }
    }

    /// Before all listeners of its priority that are there, not after them.
    pub fn first(self) -> Self {
        Self { end: End::First, ..self }
    }

    /// For one event only. The listener is gone before its call: emissions at the same time on other threads, or inside
    /// the call, do not find it any more. An event that does not meet its conditions does not use it up.
    pub fn once(mut self) -> Self {
        self.chosen.once();
        self
    }

    /// As a relay, which only hands events on to another place. It is not called for what went there already, and is
    /// [emitted as relayed](Bus::emit_relayed).
    pub fn relay(mut self) -> Self {
        self.chosen.relay();
        self
    }

    /// For events of which `predicate` holds; said again, for those of which both do.
    pub fn when(mut self, predicate: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        self.chosen.predicate(Box::new(predicate));
        self
    }

    /// For events that match `filter`; said again, for those that match both. The event is put into an envelope to
    /// decide: a predicate is faster where the type is known.
    pub fn filter(mut self, filter: Filter) -> Self {
        self.chosen.filter(filter);
        self
    }

    pub(crate) fn about(&self, place: Place, written: Written) -> About {
        self.uncounted(place, written).counted(self.bus.core().meter.as_ref())
    }

    fn uncounted(&self, place: Place, written: Written) -> About {
        let place = match (&self.namespace, place) {
            (Some(prefix), Place::Name(name)) => Place::FullName(format!("{prefix}.{name}").into()),
            (_, place) => place,
        };
        let listener = Listener::new(place, written.function, written.location);
        let rank = self.bus.core().ranks.next(self.priority, self.end);
        About::new(rank, listener).in_namespace(self.namespace.clone()).relaying(self.chosen.is_relay())
    }

    pub(crate) fn set_replay(&mut self, replay: Replay) {
        self.replay = Some(replay);
    }

    pub(crate) fn bus(&self) -> &'a Bus {
        self.bus
    }

    /// What a middleware is made of.
    pub(crate) fn for_middleware(self, topic: &str, written: Written) -> (About, Chosen<T>, Guard) {
        let about = self.uncounted(Place::Middleware(topic.into()), written);
        let guard = self.guard(&about);
        (about, self.chosen, guard)
    }

    /// A pattern as it is on the bus.
    pub(crate) fn pattern(&self, text: &str) -> Result<Pattern, TopicError> {
        let own = Pattern::parse(text)?;
        self.namespace.as_ref().map_or(Ok(own), |prefix| Pattern::parse(&format!("{prefix}.{text}")))
    }

    /// Every name there is; in a namespace, every name in it.
    fn everything(&self) -> Pattern {
        let Some(prefix) = &self.namespace else { return Pattern::all() };
        // Where the prefix leaves no room for a name behind it, there is none.
        let inside = Pattern::parse(&format!("{prefix}.**")).or_else(|_| Pattern::parse(prefix));
        inside.expect("a prefix is a name, and every name is a pattern")
    }

    pub(crate) fn guard(&self, about: &About) -> Guard {
        Guard::new(Arc::downgrade(self.bus.core()), about.listener().place().clone(), about.rank())
    }
}

pub(crate) fn in_place<T: ?Sized + 'static>(
    about: About,
    chosen: Chosen<T>,
    function: impl Fn(&T) -> Option<Handled> + Send + Sync + 'static,
) -> Arc<dyn Hear<T>> {
    if about.calls().is_some() {
        Arc::new(Measured { about, gate: chosen, function: Box::new(function) })
    } else if chosen.is_always() {
        Arc::new(InPlace { about, gate: Always, function })
    } else {
        Arc::new(InPlace { about, gate: chosen, function })
    }
}

pub(crate) fn deferred<T, A, Fut>(
    about: About,
    chosen: Chosen<T>,
    prepare: impl Fn(&Emission<'_>) -> Handled<Option<A>> + Send + Sync + 'static,
    listener: impl Fn(A) -> Fut + Send + Sync + 'static,
) -> Arc<dyn Hear<T>>
where
    T: ?Sized + 'static,
    A: Send + 'static,
    Fut: Future<Output: IntoHandled> + Send + 'static,
{
    let listener = Arc::new(listener);
    // The listener itself is called in the task that runs it, so that nothing of it happens where the event is emitted.
    let function = move |argument: A| -> BoxFuture<'static, Handled> {
        let listener = listener.clone();
        Box::pin(async move { listener(argument).await.into_handled() })
    };
    let runtime = Handle::try_current().ok();
    if chosen.is_always() {
        Arc::new(Deferred { about, gate: Always, prepare, function, runtime })
    } else {
        Arc::new(Deferred { about, gate: chosen, prepare, function, runtime })
    }
}

impl Bus {
    pub(crate) fn attach_typed<E: Event>(&self, replay: Option<Replay>, listener: Arc<dyn Hear<E>>) {
        match replay {
            None => self.core().attach_typed(listener),
            Some(replay) => self.core().attach_typed_late(listener, replay),
        }
    }

    fn attach_pattern(&self, pattern: &Pattern, replay: Option<Replay>, listener: Arc<dyn Hear<Envelope>>) {
        match replay {
            None => self.core().attach_pattern(pattern, listener),
            Some(replay) => self.core().attach_pattern_late(pattern, listener, replay),
        }
    }
}

impl<E: Event> Listen<'_, E> {
    /// Calls `listener` in place, by reference. It may return nothing or a [`Handled`].
    #[track_caller]
    pub fn on<R: IntoHandled>(self, listener: impl Fn(&E) -> R + Send + Sync + 'static) -> Guard {
        let written = Written::by(&listener, Location::caller());
        self.attach_in_place(written, move |event| Some(listener(event).into_handled()))
    }

    /// The same for a function that can only be called once.
    #[track_caller]
    pub(crate) fn on_once<R: IntoHandled>(self, listener: impl FnOnce(&E) -> R + Send + 'static) -> Guard {
        let written = Written::by(&listener, Location::caller());
        let listener = parking_lot::Mutex::new(Some(listener));
        self.once().attach_in_place(written, move |event| {
            let listener = listener.lock().take();
            listener.map(|listener| listener(event).into_handled())
        })
    }

    fn attach_in_place(
        self,
        written: Written,
        function: impl Fn(&E) -> Option<Handled> + Send + Sync + 'static,
    ) -> Guard {
        let about = self.about(Place::Name(E::INFO.name), written);
        let guard = self.guard(&about);
        self.bus.attach_typed(self.replay, in_place(about, self.chosen, function));
        guard
    }

    /// Calls `listener` in place with `target`, as long as somebody else keeps that. The subscription does not keep it
    /// alive, and ends with it.
    #[track_caller]
    pub fn on_weak<T, R>(
        self,
        target: &Arc<T>,
        listener: impl Fn(&T, &E) -> R + Send + Sync + 'static,
    ) -> Guard
    where
        T: ?Sized + Send + Sync + 'static,
        R: IntoHandled,
    {
        let written = Written::by(&listener, Location::caller());
        let target = Arc::downgrade(target);
        let about = self.about(Place::Name(E::INFO.name), written).for_target(target.clone());
        let guard = self.guard(&about);
        let function = move |event: &E| Some(listener(&*target.upgrade()?, event).into_handled());
        self.bus.attach_typed(self.replay, in_place(about, self.chosen, function));
        guard
    }

    /// Calls `listener` in a task, with a handle that shares the event. It may return nothing or a [`Handled`].
    #[track_caller]
    pub fn on_async<Fut>(self, listener: impl Fn(On<E>) -> Fut + Send + Sync + 'static) -> Guard
    where
        Fut: Future<Output: IntoHandled> + Send + 'static,
    {
        let about = self.about(Place::Name(E::INFO.name), Written::by(&listener, Location::caller()));
        let guard = self.guard(&about);
        let prepare = |emission: &Emission<'_>| emission.on::<E>().map(Some);
        self.bus.attach_typed(self.replay, deferred(about, self.chosen, prepare, listener));
        guard
    }
}

impl Listen<'_, Envelope> {
    /// Calls `listener` in place for every event whose name matches `pattern`. It may return nothing or a [`Handled`].
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    #[track_caller]
    pub fn subscribe<R: IntoHandled>(
        self,
        pattern: &str,
        listener: impl Fn(&Envelope) -> R + Send + Sync + 'static,
    ) -> Result<Guard, TopicError> {
        let written = Written::by(&listener, Location::caller());
        let pattern = self.pattern(pattern)?;
        Ok(self.attach_to_pattern(pattern, written, listener))
    }

    /// Calls `listener` in place for every event. It may return nothing or a [`Handled`].
    #[track_caller]
    pub fn any<R: IntoHandled>(self, listener: impl Fn(&Envelope) -> R + Send + Sync + 'static) -> Guard {
        let written = Written::by(&listener, Location::caller());
        let everything = self.everything();
        self.attach_to_pattern(everything, written, listener)
    }

    fn attach_to_pattern<R: IntoHandled>(
        self,
        pattern: Pattern,
        written: Written,
        listener: impl Fn(&Envelope) -> R + Send + Sync + 'static,
    ) -> Guard {
        let about = self.about(Place::Pattern(pattern.clone()), written);
        let guard = self.guard(&about);
        let function = move |event: &Envelope| Some(listener(event).into_handled());
        self.bus.attach_pattern(&pattern, self.replay, in_place(about, self.chosen, function));
        guard
    }

    /// Calls `listener` in a task for every event whose name matches `pattern`. It may return nothing or a [`Handled`].
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    #[track_caller]
    pub fn subscribe_async<Fut>(
        self,
        pattern: &str,
        listener: impl Fn(Envelope) -> Fut + Send + Sync + 'static,
    ) -> Result<Guard, TopicError>
    where
        Fut: Future<Output: IntoHandled> + Send + 'static,
    {
        let written = Written::by(&listener, Location::caller());
        let pattern = self.pattern(pattern)?;
        Ok(self.attach_to_pattern_async(pattern, written, listener))
    }

    /// Calls `listener` in a task for every event. It may return nothing or a [`Handled`].
    #[track_caller]
    pub fn any_async<Fut>(self, listener: impl Fn(Envelope) -> Fut + Send + Sync + 'static) -> Guard
    where
        Fut: Future<Output: IntoHandled> + Send + 'static,
    {
        let written = Written::by(&listener, Location::caller());
        let everything = self.everything();
        self.attach_to_pattern_async(everything, written, listener)
    }

    fn attach_to_pattern_async<Fut>(
        self,
        pattern: Pattern,
        written: Written,
        listener: impl Fn(Envelope) -> Fut + Send + Sync + 'static,
    ) -> Guard
    where
        Fut: Future<Output: IntoHandled> + Send + 'static,
    {
        let about = self.about(Place::Pattern(pattern.clone()), written);
        let guard = self.guard(&about);
        let prepare = |emission: &Emission<'_>| Ok(Some(emission.envelope().map_err(Clone::clone)?.clone()));
        self.bus.attach_pattern(&pattern, self.replay, deferred(about, self.chosen, prepare, listener));
        guard
    }
}

impl<T: ?Sized> fmt::Debug for Listen<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listen")
            .field("priority", &self.priority)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
