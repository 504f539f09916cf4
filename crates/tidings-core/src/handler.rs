//! Handlers: plain functions of an event, and how they are registered.

use std::{future::Future, marker::PhantomData, ops::Deref, sync::Arc};

use tracing::{Instrument as _, Span};

use crate::{
    Batches, BoxFuture, Cx, Envelope, Event, EventInfo, Handled, IntoHandled, OpenCx, Pattern, Policy,
    Position, Text, TopicError,
};

/// A typed event and its envelope, by a cheap shared handle.
pub struct On<E> {
    event: Arc<E>,
    envelope: Envelope,
}

impl<E> On<E> {
    /// From its parts.
    pub fn new(event: Arc<E>, envelope: Envelope) -> Self {
        Self { event, envelope }
    }

    /// The envelope around the event.
    pub fn envelope(&self) -> &Envelope {
        &self.envelope
    }

    /// The event as a shared value.
    pub fn shared(&self) -> Arc<E> {
        self.event.clone()
    }
}

impl<E> Deref for On<E> {
    type Target = E;

    fn deref(&self) -> &E {
        &self.event
    }
}

impl<E> Clone for On<E> {
    fn clone(&self) -> Self {
        Self { event: self.event.clone(), envelope: self.envelope.clone() }
    }
}

/// What a handler can take as its event: [`On<E>`] of an event type, or any [`Envelope`].
#[diagnostic::on_unimplemented(
    message = "a handler cannot take `{Self}`",
    label = "this is neither `On<E>` nor `Envelope`",
    note = "write `On<YourEvent>` where `YourEvent` is `#[tidings::event(name = \"…\")]`, or take `Envelope` and say `.topic(\"…\")`"
)]
pub trait Argument: Send + Sized + 'static {
    /// The event type it selects, or `None` for any.
    const SELECTS: Option<&'static EventInfo>;

    /// Takes it out of an envelope.
    ///
    /// # Errors
    /// A permanent failure when the payload is not what the type wants.
    fn take(envelope: &Envelope) -> Handled<Self>;
}

impl<E: Event> Argument for On<E> {
    const SELECTS: Option<&'static EventInfo> = Some(E::INFO);

    fn take(envelope: &Envelope) -> Handled<Self> {
        Ok(Self { event: envelope.decode()?, envelope: envelope.clone() })
    }
}

impl Argument for Envelope {
    const SELECTS: Option<&'static EventInfo> = None;

    fn take(envelope: &Envelope) -> Handled<Self> {
        Ok(envelope.clone())
    }
}

/// A call of a handler: done, or to be awaited.
pub enum Call {
    /// The handler was synchronous.
    Done(Handled),
    /// The handler is asynchronous.
    Waiting(BoxFuture<'static, Handled>),
}

/// A function that handles events: `fn(&E)`, `fn(&Envelope)`, `async fn(On<E>, Cx)`, `async fn(Envelope, Cx)`, or one
/// of the latter with a dependency in front, given by `.with(…)`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no event handler",
    label = "this function does not have the shape of a handler",
    note = "a handler is `fn(&E)`, `async fn(On<E>, Cx) -> Handled` or `async fn(Envelope, Cx) -> Handled`; with a dependency, `async fn(D, On<E>, Cx) -> Handled` and `.with(dependency)`"
)]
pub trait Handler<Shape>: Send + Sync + 'static {
    /// The event type it selects, or `None` for any.
    const SELECTS: Option<&'static EventInfo>;

    /// It, with nothing generic left.
    fn boxed(self) -> Boxed;
}

/// Marks `fn(A, Cx) -> Future`.
pub struct Asynchronous<A>(PhantomData<fn(A)>);
/// Marks `fn(&E) -> R`.
pub struct ByReference<E>(PhantomData<fn(E)>);
/// Marks `fn(&Envelope) -> R`.
pub struct ByEnvelope(());
/// Marks `fn(D, A, Cx) -> Future` with its dependency.
pub struct Dependent<A>(PhantomData<fn(A)>);

impl<F, A, Fut> Handler<Asynchronous<A>> for F
where
    F: Fn(A, Cx) -> Fut + Send + Sync + 'static,
    A: Argument,
    Fut: Future<Output = Handled> + Send + 'static,
{
    const SELECTS: Option<&'static EventInfo> = A::SELECTS;

    fn boxed(self) -> Boxed {
        Boxed::with_cx(move |envelope, cx| match A::take(envelope) {
            Ok(argument) => Call::Waiting(Box::pin(self(argument, cx))),
            Err(failure) => Call::Done(Err(failure)),
        })
    }
}

impl<F, E, R> Handler<ByReference<E>> for F
where
    F: Fn(&E) -> R + Send + Sync + 'static,
    E: Event,
    R: IntoHandled,
{
    const SELECTS: Option<&'static EventInfo> = Some(E::INFO);

    fn boxed(self) -> Boxed {
        Boxed::plain(move |envelope| envelope.decode::<E>().and_then(|event| self(&event).into_handled()))
    }
}

impl<F, R> Handler<ByEnvelope> for F
where
    F: Fn(&Envelope) -> R + Send + Sync + 'static,
    R: IntoHandled,
{
    const SELECTS: Option<&'static EventInfo> = None;

    fn boxed(self) -> Boxed {
        Boxed::plain(move |envelope| self(envelope).into_handled())
    }
}

/// A handler with its dependency; made by [`WithDependency::with`].
pub struct With<F, D> {
    function: F,
    dependency: D,
}

/// Gives a handler its dependency.
pub trait WithDependency<D, A, Fut>: Fn(D, A, Cx) -> Fut + Sized {
    /// The handler, called each time with a clone of `dependency`.
    fn with(self, dependency: D) -> With<Self, D> {
        With { function: self, dependency }
    }
}

impl<F, D, A, Fut> WithDependency<D, A, Fut> for F
where
    F: Fn(D, A, Cx) -> Fut,
    A: Argument,
    Fut: Future<Output = Handled>,
{
}

impl<F, D, A, Fut> Handler<Dependent<A>> for With<F, D>
where
    F: Fn(D, A, Cx) -> Fut + Send + Sync + 'static,
    D: Clone + Send + Sync + 'static,
    A: Argument,
    Fut: Future<Output = Handled> + Send + 'static,
{
    const SELECTS: Option<&'static EventInfo> = A::SELECTS;

    fn boxed(self) -> Boxed {
        Boxed::with_cx(move |envelope, cx| match A::take(envelope) {
            Ok(argument) => Call::Waiting(Box::pin((self.function)(self.dependency.clone(), argument, cx))),
            Err(failure) => Call::Done(Err(failure)),
        })
    }
}

/// A handler behind which no generic parameter is left.
#[derive(Clone)]
pub enum Boxed {
    /// It has no use for a context, so that none is made for it.
    Plain(Arc<PlainFn>),
    /// It wants a context.
    WithCx(Arc<WithCxFn>),
}

type PlainFn = dyn Fn(&Envelope) -> Handled + Send + Sync;
type WithCxFn = dyn Fn(&Envelope, Cx) -> Call + Send + Sync;

impl Boxed {
    /// One that has no use for a context.
    pub fn plain(handler: impl Fn(&Envelope) -> Handled + Send + Sync + 'static) -> Self {
        Self::Plain(Arc::new(handler))
    }

    /// One that wants a context.
    pub fn with_cx(handler: impl Fn(&Envelope, Cx) -> Call + Send + Sync + 'static) -> Self {
        Self::WithCx(Arc::new(handler))
    }

    /// Calls it, in a span; `open` makes its context, if it wants one, whose other end is answered.
    pub fn call(
        &self,
        span: Span,
        envelope: &Envelope,
        open: impl FnOnce() -> (Cx, OpenCx),
    ) -> (Call, Option<OpenCx>) {
        let entered = span.enter();
        match self {
            Self::Plain(handler) => (Call::Done(handler(envelope)), None),
            Self::WithCx(handler) => {
                let (cx, open) = open();
                let call = handler(envelope, cx);
                drop(entered);
                let call = match call {
                    Call::Waiting(future) if !span.is_disabled() => {
                        Call::Waiting(Box::pin(future.instrument(span)))
                    }
                    call => call,
                };
                (call, Some(open))
            }
        }
    }
}

/// The span of one call of a handler, at the level of debugging: what it logs meanwhile says for which event. Who looks for
/// it finds it under the target `tidings::handle`. Where nobody wants it, it costs next to nothing.
pub fn handling(handler: &str, envelope: &Envelope, attempt: u32) -> Span {
    tracing::debug_span!(
        target: "tidings::handle",
        "handle",
        %handler,
        event = %envelope.name(),
        id = %envelope.shown_id(),
        attempt
    )
}

/// Where a subscription that is new begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// At the first event of the log.
    #[default]
    Beginning,
    /// After what is there when it first runs.
    Now,
    /// After this position.
    After(Position),
}

/// Where a handler runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// On the in-process bus.
    Bus,
    /// In memory, on worker threads, through a bounded queue.
    Buffered {
        /// The name of the workers and their queue; empty are those everybody shares.
        pool: Text,
        /// Whether events with the same key are handled in order, one at a time.
        ordered: bool,
    },
    /// Behind a durable subscription of this name.
    Durable {
        /// The name: an identity that owns the checkpoint, written by its author.
        name: Text,
        /// Where it begins when it is new.
        start: Start,
        /// Whether events with the same key are handled in order, one at a time.
        ordered: bool,
        /// How many deliveries, or batches of them, may be in the hands of the handler at once.
        concurrency: usize,
    },
}

/// How many deliveries of one durable subscription may be in the hands of its handler at once, unless it says so.
pub const CONCURRENCY: usize = 64;

/// One handler's named interest in a pattern, and where and under which policy it runs. Nothing generic is left.
#[derive(Clone)]
pub struct Registration {
    /// The event type it was written for, if any.
    pub event: Option<&'static EventInfo>,
    /// The patterns it selects; when it has none but an event type, the type's name.
    pub topics: Vec<Result<Pattern, TopicError>>,
    /// Where it runs.
    pub place: Place,
    /// Its policy.
    pub policy: Policy,
    /// What it is called in its module, where its author has said so: in settings, figures and dead letters it is known
    /// by module and name. One behind a durable subscription has the name of that.
    pub name: Option<Text>,
    /// The Rust path of the function: shown to people, and the name of what has no other.
    pub function: &'static str,
    /// The function. Of one that takes batches: called with a batch of one.
    pub handler: Boxed,
    /// Called instead of giving a delivery up; if it fails too, the delivery is dead-lettered as it would have been.
    pub fallback: Option<Boxed>,
    /// What there is to know about one that takes batches.
    pub batches: Option<Batches>,
}

impl Registration {
    /// A handler on the bus, with the default policy.
    pub fn new<Shape, H: Handler<Shape>>(handler: H) -> Self {
        Self {
            event: H::SELECTS,
            topics: Vec::new(),
            place: Place::Bus,
            policy: Policy::default(),
            name: None,
            function: std::any::type_name::<H>(),
            handler: handler.boxed(),
            fallback: None,
            batches: None,
        }
    }

    /// The patterns it selects.
    ///
    /// # Errors
    /// Every invalid pattern; or none when it names neither a type nor a topic.
    pub fn patterns(&self) -> Result<Vec<Pattern>, Vec<TopicError>> {
        let given = if self.topics.is_empty() {
            self.event.map(|event| Pattern::parse(event.name)).into_iter().collect()
        } else {
            self.topics.clone()
        };
        let (good, bad): (Vec<_>, Vec<_>) = given.into_iter().partition(Result::is_ok);
        if bad.is_empty() {
            Ok(good.into_iter().flatten().collect())
        } else {
            Err(bad.into_iter().filter_map(Result::err).collect())
        }
    }
}

/// Says where and how a handler runs. Implemented for every handler and for a [`Registration`] already begun.
///
/// ```
/// use tidings_core::{Cx, Envelope, Handled, Place, Subscribe};
/// async fn audit(any: Envelope, cx: Cx) -> Handled { Ok(()) }
/// let registration = audit.topic("order.**").durable("audit");
/// assert!(matches!(registration.place, Place::Durable { .. }));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no event handler",
    label = "this cannot be registered",
    note = "a handler is `fn(&E)`, `async fn(On<E>, Cx) -> Handled` or `async fn(Envelope, Cx) -> Handled`; with a dependency, `async fn(D, On<E>, Cx) -> Handled` and `.with(dependency)`"
)]
pub trait Subscribe<Shape>: Sized {
    /// The registration, on the bus unless said otherwise.
    fn registration(self) -> Registration;

    /// Selects events whose name matches `pattern`; said twice, either. An invalid pattern is a fault when the
    /// application is built.
    fn topic(self, pattern: &str) -> Registration {
        let mut registration = self.registration();
        registration.topics.push(Pattern::parse(pattern));
        registration
    }

    /// Runs behind a durable subscription called `name`: at least once, its effects in the store exactly once, in
    /// order for events with the same key. The name is an identity that owns the checkpoint.
    fn durable(self, name: impl Into<Text>) -> Registration {
        let mut registration = self.registration();
        registration.place = Place::Durable {
            name: name.into(),
            start: Start::Beginning,
            ordered: true,
            concurrency: CONCURRENCY,
        };
        registration
    }

    /// Runs in memory, on worker threads, through a bounded queue with priorities: publishing does not wait for the
    /// handler, and events with the same key are handled in order. A crash loses what is queued.
    ///
    /// ```
    /// use tidings_core::{Cx, Envelope, Handled, Place, Subscribe};
    /// async fn audit(any: Envelope, cx: Cx) -> Handled { Ok(()) }
    /// let registration = audit.topic("order.**").buffered();
    /// assert!(matches!(registration.place, Place::Buffered { ordered: true, .. }));
    /// ```
    fn buffered(self) -> Registration {
        let mut registration = self.registration();
        registration.place = Place::Buffered { pool: Text::default(), ordered: true };
        registration
    }

    /// The same on workers and a queue of their own, called `name`: a handler that keeps its threads busy holds up
    /// nobody outside its pool. Handlers may share one.
    fn pool(self, name: impl Into<Text>) -> Registration {
        let mut registration = self.registration();
        let ordered = !matches!(registration.place, Place::Buffered { ordered: false, .. });
        registration.place = Place::Buffered { pool: name.into(), ordered };
        registration
    }

    /// Calls `handler` when a delivery would be given up: after the last attempt, after a permanent failure, and when a
    /// direct call is refused by its policy. If it succeeds, the delivery is handled.
    fn fallback<Other, H: Handler<Other>>(self, handler: H) -> Registration {
        let mut registration = self.registration();
        registration.fallback = Some(handler.boxed());
        registration
    }

    /// Is called `name` in its module, and not by the path of its function: `mail/receipt` is what settings, figures and
    /// dead letters know it by, whatever becomes of the function. What has to be told apart needs one, as two closures
    /// of one function do. A durable handler has a name already.
    ///
    /// ```
    /// use tidings_core::{Cx, Envelope, Handled, Subscribe};
    /// let audit = |any: Envelope, cx: Cx| async { Handled::Ok(()) };
    /// let registration = audit.topic("order.**").named("audit");
    /// assert_eq!(registration.name.as_deref(), Some("audit"));
    /// ```
    fn named(self, name: impl Into<Text>) -> Registration {
        Registration { name: Some(name.into()), ..self.registration() }
    }

    /// Runs under `policy`.
    fn policy(self, policy: Policy) -> Registration {
        Registration { policy, ..self.registration() }
    }

    /// Where a durable subscription begins when it is new.
    fn starting(self, from: Start) -> Registration {
        let mut registration = self.registration();
        if let Place::Durable { start, .. } = &mut registration.place {
            *start = from;
        }
        registration
    }

    /// Gives up the order of events with the same key.
    fn unordered(self) -> Registration {
        let mut registration = self.registration();
        if let Place::Durable { ordered, .. } | Place::Buffered { ordered, .. } = &mut registration.place {
            *ordered = false;
        }
        registration
    }

    /// How many deliveries, or batches of them, may be in the hands of the handler at once; at least 1.
    fn concurrency(self, most: usize) -> Registration {
        let mut registration = self.registration();
        if let Place::Durable { concurrency, .. } = &mut registration.place {
            *concurrency = most;
        }
        registration
    }
}

/// Marks what is a registration already.
pub struct Begun(());

impl Subscribe<Begun> for Registration {
    fn registration(self) -> Registration {
        self
    }
}

/// Marks what is still a plain handler.
pub struct Plain<Shape>(PhantomData<fn(Shape)>);

impl<Shape, H: Handler<Shape>> Subscribe<Plain<Shape>> for H {
    fn registration(self) -> Registration {
        Registration::new(self)
    }
}
