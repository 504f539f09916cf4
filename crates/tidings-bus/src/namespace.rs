//! Namespaces: one bus, divided by a prefix.

use std::{fmt, future::Future, sync::Arc};

use tidings_core::{
    Envelope, EnvelopeBuilder, EnvelopeError, Event, Failure, Handled, IntoHandled, Kind, On, Text,
    TopicError, check_topic,
};

use crate::{
    Bus, EmitAsync, Guard, Listen, Question, Request,
    core::Core,
    emission::{Emission, Fact, Given},
};

/// A part of a bus: everything that is emitted and subscribed through it has its prefix before the name or pattern.
///
/// In the namespace `shop`, `order.placed` is `shop.order.placed`. This holds for typed events as well: a listener to
/// `OrderPlaced` in the namespace hears those that are emitted in it, and neither those of the bus nor those of another
/// namespace, also not of one inside it. Listeners see the whole name; on the bus itself, `shop.**` hears all of the
/// namespace. So the parts of a program that use the same events do not hear each other unless they mean to.
///
/// It is a cheap handle, and any number of them for the same prefix are the same namespace. Like the bus's it keeps the
/// bus alive. A typed event is written as JSON when somebody listens to its name in the namespace, because it needs an
/// envelope there: where each nanosecond counts, emit on the bus.
///
/// ```
/// use tidings_bus::{Bus, example::OrderPlaced};
/// let bus = Bus::new();
/// let (shop, depot) = (bus.namespace("shop")?, bus.namespace("depot")?);
/// shop.on(|placed: &OrderPlaced| assert_eq!(placed.order, "4711")).forever();
/// depot.on(|placed: &OrderPlaced| assert_eq!(placed.order, "nothing is placed here")).forever();
/// bus.subscribe("shop.**", |any| assert_eq!(&**any.name(), "shop.order.placed"))?.forever();
/// assert_eq!(shop.emit(&OrderPlaced { order: "4711".into(), total_cents: 300 }), 2);
/// assert_eq!(shop.remove_all(), 1);
/// # Ok::<(), tidings_core::TopicError>(())
/// ```
#[derive(Clone)]
pub struct Namespace {
    bus: Bus,
    prefix: Text,
}

impl Bus {
    /// The namespace with this prefix: a name of one segment or several. Nothing is made; it begins with the first
    /// subscription and ends with the last.
    ///
    /// # Errors
    /// The prefix is no name; the error tells the column.
    pub fn namespace(&self, prefix: &str) -> Result<Namespace, TopicError> {
        check_topic(prefix)?;
        Ok(Namespace { bus: self.clone(), prefix: prefix.into() })
    }
}

impl Namespace {
    /// The namespace `inner` inside this one: what is called `placed` there is called `{prefix}.{inner}.placed` on the
    /// bus.
    ///
    /// # Errors
    /// The two together are no name; the error tells the column.
    ///
    /// ```
    /// let bus = tidings_bus::Bus::new();
    /// let inner = bus.namespace("shop")?.namespace("eu")?;
    /// assert_eq!(inner.prefix(), "shop.eu");
    /// # Ok::<(), tidings_core::TopicError>(())
    /// ```
    pub fn namespace(&self, inner: &str) -> Result<Self, TopicError> {
        check_topic(inner)?;
        self.bus.namespace(&self.full(inner))
    }

    /// The prefix, without a dot at its end.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The bus it is a part of.
    pub fn bus(&self) -> &Bus {
        &self.bus
    }

    /// Begins a subscription in it, as [`Bus::listen`] does.
    pub fn listen<T: ?Sized + 'static>(&self) -> Listen<'_, T> {
        Listen::within(&self.bus, self.prefix.clone())
    }

    /// As [`Bus::on`].
    #[track_caller]
    pub fn on<E: Event, R: IntoHandled>(&self, listener: impl Fn(&E) -> R + Send + Sync + 'static) -> Guard {
        self.listen().on(listener)
    }

    /// As [`Bus::on_async`].
    #[track_caller]
    pub fn on_async<E, Fut>(&self, listener: impl Fn(On<E>) -> Fut + Send + Sync + 'static) -> Guard
    where
        E: Event,
        Fut: Future<Output: IntoHandled> + Send + 'static,
    {
        self.listen().on_async(listener)
    }

    /// As [`Bus::subscribe`]: `**` is everything in the namespace.
    ///
    /// # Errors
    /// The pattern is invalid, by itself or behind the prefix; the error tells the column.
    #[track_caller]
    pub fn subscribe<R: IntoHandled>(
        &self,
        pattern: &str,
        listener: impl Fn(&Envelope) -> R + Send + Sync + 'static,
    ) -> Result<Guard, TopicError> {
        self.listen().subscribe(pattern, listener)
    }

    /// As [`Bus::subscribe_async`].
    ///
    /// # Errors
    /// The pattern is invalid, by itself or behind the prefix; the error tells the column.
    #[track_caller]
    pub fn subscribe_async<Fut>(
        &self,
        pattern: &str,
        listener: impl Fn(Envelope) -> Fut + Send + Sync + 'static,
    ) -> Result<Guard, TopicError>
    where
        Fut: Future<Output: IntoHandled> + Send + 'static,
    {
        self.listen().subscribe_async(pattern, listener)
    }

    /// As [`Bus::respond`]: answers what is asked in the namespace.
    #[track_caller]
    pub fn respond<Q: Question>(
        &self,
        responder: impl Fn(&Q) -> Result<Q::Answer, Q::Error> + Send + Sync + 'static,
    ) -> Guard {
        self.listen().respond(responder)
    }

    /// As [`Bus::request`]: asks who responds in the namespace. The reply's topic is in it too.
    pub fn request<Q: Question>(&self, question: Q) -> Request<Q> {
        Request::within_namespace(self.clone(), question)
    }

    /// As [`Bus::emit`].
    pub fn emit<E: Event>(&self, event: &E) -> usize {
        let fact = InNamespace { name: self.full(E::INFO.name), event };
        let core = self.bus.core();
        core.emit_named(&fact.name, &Emission::new(core, &fact))
    }

    /// As [`Bus::emit_shared`].
    pub fn emit_shared<E: Event>(&self, event: &Arc<E>) -> usize {
        let fact = InNamespace { name: self.full(E::INFO.name), event: &**event };
        let core = self.bus.core();
        let emission = Emission::new(core, &fact);
        emission.share(event);
        core.emit_named(&fact.name, &emission)
    }

    /// As [`Bus::emit_async`].
    pub fn emit_async<E: Event>(&self, event: E) -> EmitAsync {
        EmitAsync::named(self.bus.core().clone(), self.full(E::INFO.name), Arc::new(event))
    }

    /// As [`Bus::emit_envelope`], with the prefix before the envelope's name.
    ///
    /// # Errors
    /// The name is too long behind the prefix, or the payload cannot be written.
    pub fn emit_envelope(&self, envelope: &Envelope) -> Result<usize, EnvelopeError> {
        let envelope = renamed(envelope, self.full(envelope.name()))?;
        let core = self.bus.core();
        Ok(core.emit_envelope(&envelope, &Emission::new(core, &Given::new(&envelope))))
    }

    /// How many listeners an event of this name reaches when it is emitted in the namespace, those on the bus that
    /// match its whole name included.
    pub fn listener_count(&self, name: &str) -> usize {
        self.bus.listener_count(&self.full(name))
    }

    /// Ends every subscription that was made in the namespace or in one inside it, by whatever handle; answers how many.
    /// Who subscribed to its names on the bus stays.
    pub fn remove_all(&self) -> usize {
        self.bus.core().locked(|state, waste| state.detach_namespace(&self.prefix, waste))
    }

    /// What has this name in the namespace has this one on the bus.
    pub(crate) fn full(&self, name: &str) -> Text {
        format!("{}.{name}", self.prefix).into()
    }
}

/// An envelope around an event under a name that need not be its own.
pub(crate) fn written<E: Event>(name: impl Into<Text>, event: &E) -> Handled<EnvelopeBuilder> {
    let json = serde_json::to_vec(event).map_err(|error| Failure::of(Kind::Permanent, error))?;
    let builder = Envelope::build(name).schema_version(E::INFO.version).tags(event.tags()).json(json);
    Ok(match event.key() {
        Some(key) => builder.key(key),
        None => builder,
    })
}

/// An event under the name that it has in a namespace.
pub(crate) struct InNamespace<'a, E> {
    pub(crate) name: Text,
    pub(crate) event: &'a E,
}

impl<E: Event> Fact for InNamespace<'_, E> {
    fn contract(&self) -> (&str, u32) {
        (&self.name, E::INFO.version)
    }

    fn envelope(&self, core: &Core) -> Handled<Envelope> {
        let builder = written(self.name.clone(), self.event)?;
        core.stamp(builder).finish().map_err(|error| Failure::of(Kind::Permanent, error))
    }
}

/// The same envelope under another name.
fn renamed(envelope: &Envelope, name: Text) -> Result<Envelope, EnvelopeError> {
    /// Says `value` to the builder where there is one.
    fn say<T>(
        builder: EnvelopeBuilder,
        value: Option<T>,
        to: impl FnOnce(EnvelopeBuilder, T) -> EnvelopeBuilder,
    ) -> EnvelopeBuilder {
        match value {
            Some(value) => to(builder, value),
            None => builder,
        }
    }
    let mut builder = Envelope::build(name)
        .id(envelope.id().clone())
        .source(envelope.source().clone())
        .schema_version(envelope.schema_version())
        .tags(envelope.tags().to_vec())
        .hops(envelope.hops())
        .priority(envelope.priority())
        .payload(envelope.form(), envelope.payload()?.clone());
    builder = say(builder, envelope.key().cloned(), EnvelopeBuilder::key);
    builder = say(builder, envelope.own_subject().cloned(), EnvelopeBuilder::subject);
    builder = say(builder, envelope.own_stream().cloned(), EnvelopeBuilder::stream);
    builder = say(builder, envelope.time().cloned(), EnvelopeBuilder::time);
    builder = say(builder, envelope.expiry(), EnvelopeBuilder::expiry);
    builder = say(builder, envelope.correlation().cloned(), EnvelopeBuilder::correlation);
    builder = say(builder, envelope.causation().cloned(), EnvelopeBuilder::causation);
    builder = say(builder, envelope.user().cloned(), EnvelopeBuilder::user);
    builder = say(builder, envelope.tenant().cloned(), EnvelopeBuilder::tenant);
    builder = say(builder, envelope.trace_parent().cloned(), EnvelopeBuilder::trace_parent);
    builder = say(builder, envelope.trace_state().cloned(), EnvelopeBuilder::trace_state);
    builder = say(builder, envelope.content_type().cloned(), EnvelopeBuilder::content_type);
    builder = say(builder, envelope.data_schema().cloned(), EnvelopeBuilder::data_schema);
    for (name, value) in envelope.attributes() {
        builder = builder.attribute(name.clone(), value.clone());
    }
    builder.finish()
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({})", self.prefix)
    }
}
