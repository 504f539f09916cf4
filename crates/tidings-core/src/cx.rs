//! The context of one delivery: what a handler may read, and what it wants written.
//!
//! A context collects; it writes nothing. When the handler has returned, whoever runs it takes the [`Effects`] and
//! commits them together with the delivery's settlement, or drops them all.

mod effects;

pub use effects::{Change, Effects, Outgoing, Refused, Write};

use std::{
    cell::RefCell,
    fmt,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    BlindChange, BoxFuture, Clock, DocumentKey, DocumentValue, Envelope, EnvelopeBuilder, Event, Failure,
    HOPS_MAX, Handled, Kind, PAYLOAD_BYTES_MAX, Position, Tenant, Text, Timestamp, View, apply_blind,
};

/// Which delivery a context belongs to.
#[derive(Debug, Clone)]
pub struct DeliveryInfo {
    /// The event being handled.
    pub envelope: Envelope,
    /// Its position, when it comes from a store.
    pub position: Option<Position>,
    /// Which call of the handler this is, from 1.
    pub attempt: u32,
}

/// For whom handlers are called: what the contexts of all deliveries to one subscription have in common.
#[derive(Clone)]
pub struct Subscriber {
    /// The name of the subscription.
    pub name: Text,
    /// The source of what its handler publishes.
    pub source: Text,
    /// The tenant whose documents it sees.
    pub tenant: Tenant,
    /// The largest payload it may publish, in bytes.
    pub payload_bytes_max: usize,
    /// Where it gets the time from.
    pub clock: Arc<dyn Clock>,
    /// Where it reads documents.
    pub documents: Arc<dyn Documents>,
}

impl fmt::Debug for Subscriber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Where a context reads documents.
pub trait Documents: Send + Sync {
    /// The document as it is now, if that is known without waiting.
    fn cached(&self, tenant: &Tenant, key: &DocumentKey) -> Option<Loaded>;

    /// The document as it is now.
    fn load<'a>(&'a self, tenant: &'a Tenant, key: &'a DocumentKey) -> BoxFuture<'a, Handled<Loaded>>;

    /// A context that reads here has written this document, which is not committed yet.
    fn written(&self, _: &DocumentKey) {}
}

/// A document as it was read.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The value, or that there is none.
    pub value: Option<DocumentValue>,
    /// What identifies this state of the document to whoever loaded it.
    pub stamp: u64,
}

struct Shared {
    info: DeliveryInfo,
    subscriber: Arc<Subscriber>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    closed: bool,
    effects: Effects,
    refused: Option<Refused>,
}

/// The context of one delivery.
///
/// It is not `Clone`, and it ends with the handler: publishing on it from a task that outlives the handler is an error.
pub struct Cx(Arc<Shared>);

/// The other end of a context, for whoever runs the handler.
pub struct OpenCx(Arc<Shared>);

impl OpenCx {
    /// The effects of a handler, which may have had no context, and then wants nothing.
    ///
    /// # Errors
    /// Why they must not be committed.
    pub fn effects(open: Option<Self>) -> Result<Effects, Refused> {
        open.map_or_else(|| Ok(Effects::default()), Self::close)
    }

    /// Takes the effects and closes the context; what is asked of it afterwards is refused.
    ///
    /// # Errors
    /// Why the effects must not be committed.
    pub fn close(self) -> Result<Effects, Refused> {
        let mut state = self.0.state.lock();
        state.closed = true;
        match state.refused.take() {
            Some(refused) => Err(refused),
            None => Ok(std::mem::take(&mut state.effects)),
        }
    }

    /// The delivery.
    pub fn info(&self) -> &DeliveryInfo {
        &self.0.info
    }

    /// A look at what it writes, which does not keep it alive.
    pub(crate) fn peek(&self) -> Peek {
        Peek(Arc::downgrade(&self.0))
    }
}

/// A look at what a context writes.
pub(crate) struct Peek(Weak<Shared>);

impl Peek {
    /// What it does to a document by now.
    pub(crate) fn change(&self, key: &DocumentKey) -> Option<Change> {
        let shared = self.0.upgrade()?;
        let state = shared.state.lock();
        state.effects.writes.iter().find(|write| write.key == *key).map(|write| write.change.clone())
    }
}

impl Drop for OpenCx {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
    }
}

impl Cx {
    /// A context for one call of a handler, and the end by which its effects are taken.
    pub fn open(info: DeliveryInfo, subscriber: Arc<Subscriber>) -> (Self, OpenCx) {
        let shared = Arc::new(Shared { info, subscriber, state: Mutex::default() });
        (Self(shared.clone()), OpenCx(shared))
    }

    /// The event being handled, with its metadata.
    pub fn envelope(&self) -> &Envelope {
        &self.0.info.envelope
    }

    /// Its position in the log, when it comes from a store.
    pub fn position(&self) -> Option<Position> {
        self.0.info.position
    }

    /// Which call of the handler this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.0.info.attempt
    }

    /// The name of the subscription.
    pub fn subscription(&self) -> &str {
        &self.0.subscriber.name
    }

    /// The time now, from the application's clock.
    pub fn now(&self) -> Timestamp {
        self.0.subscriber.clock.now()
    }

    /// A key that is the same in every attempt at this delivery, for calls outside that are idempotent by key. `purpose`
    /// tells several such calls of one handler apart.
    pub fn effect_key(&self, purpose: &str) -> Text {
        let envelope = self.envelope();
        crate::id::derived(&[self.subscription(), envelope.source(), envelope.id(), purpose])
    }

    /// Publishes an event when, and only if, this delivery is committed. Correlation, causation, tenant, user and trace
    /// are those of the event being handled.
    ///
    /// What [`Publication`] adds takes effect at the end of the statement. An event that cannot be published (too
    /// large, not serialisable, an invalid key) fails the delivery permanently.
    pub fn publish<E: Event>(&self, event: E) -> Publication<'_> {
        self.publish_envelope(Envelope::of::<E>(event))
    }

    /// The same for an event that has no type here.
    pub fn publish_envelope(&self, envelope: EnvelopeBuilder) -> Publication<'_> {
        let builder = envelope.source(self.0.subscriber.source.clone()).caused_by(self.envelope());
        Publication { cx: self, builder: Some(builder), due: None }
    }

    /// Documents of a view, as this delivery sees them: with its own writes and those of deliveries before it.
    pub fn view(&self, view: View) -> ViewCx<'_> {
        if view.name().starts_with('$') || view.name().is_empty() {
            self.refuse(Failure::permanent(format!(
                "view {:?}: names must not be empty or begin with `$`",
                view.name()
            )));
        }
        ViewCx { cx: self, view, namespace: namespace(view.name()) }
    }

    fn refuse(&self, failure: Failure) {
        self.0.state.lock().refused.get_or_insert(Refused::Failure(failure));
    }

    fn push(&self, builder: EnvelopeBuilder, due: Option<Timestamp>) -> Handled<Text> {
        let most = self.0.subscriber.payload_bytes_max;
        let permanent = |error: crate::EnvelopeError| Failure::of(Kind::Permanent, error);
        let envelope = builder.time_if_absent(|| self.now()).finish().map_err(permanent)?;
        let size = envelope.payload().map_err(permanent)?.len();
        if size > most {
            let name = envelope.name();
            return Err(Failure::permanent(format!("{name} has {size} bytes, more than {most}")));
        }
        let mut state = self.0.state.lock();
        if state.closed {
            return Err(Failure::permanent("the handler has ended; its context publishes nothing any more"));
        }
        if envelope.hops() > HOPS_MAX {
            state.refused.get_or_insert(Refused::Loop);
            return Err(Failure::permanent(format!("over {HOPS_MAX} hops: the handlers publish in a loop")));
        }
        let id = envelope.id().clone();
        state.effects.events.push(Outgoing { envelope, due });
        Ok(id)
    }
}

impl fmt::Debug for Cx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let info = &self.0.info;
        write!(f, "Cx({} {} attempt {})", self.subscription(), info.envelope.id(), info.attempt)
    }
}

/// An event on its way out of a handler; it joins the commit when this is dropped, at the end of the statement.
pub struct Publication<'a> {
    cx: &'a Cx,
    builder: Option<EnvelopeBuilder>,
    due: Option<Timestamp>,
}

impl Publication<'_> {
    fn with(mut self, change: impl FnOnce(EnvelopeBuilder) -> EnvelopeBuilder) -> Self {
        self.builder = self.builder.take().map(change);
        self
    }

    /// Publishes after a delay. The delay is durable.
    pub fn after(mut self, delay: Duration) -> Self {
        self.due = Some(self.cx.now().after(delay));
        self
    }

    /// Publishes at a time.
    pub fn at(mut self, time: Timestamp) -> Self {
        self.due = Some(time);
        self
    }

    /// Another key than the event's own.
    pub fn key(self, key: impl Into<Text>) -> Self {
        self.with(|builder| builder.key(key))
    }

    /// Another stream than the default.
    pub fn stream(self, stream: impl Into<Text>) -> Self {
        self.with(|builder| builder.stream(stream))
    }

    /// Anything else about the envelope.
    pub fn envelope(self, change: impl FnOnce(EnvelopeBuilder) -> EnvelopeBuilder) -> Self {
        self.with(change)
    }

    /// Joins the commit now and tells the id.
    ///
    /// # Errors
    /// Why the event cannot be published; unlike at the end of the statement, this does not fail the delivery, except
    /// for a loop.
    pub fn id(mut self) -> Handled<Text> {
        match self.builder.take() {
            Some(builder) => self.cx.push(builder, self.due),
            None => Err(Failure::permanent("already published")),
        }
    }
}

impl Drop for Publication<'_> {
    fn drop(&mut self) {
        if let Some(builder) = self.builder.take()
            && let Err(failure) = self.cx.push(builder, self.due)
        {
            tracing::error!(subscription = %self.cx.0.subscriber.name, %failure, "an event was not published");
            self.cx.refuse(failure);
        }
    }
}

/// The longest document id, in bytes.
pub const DOCUMENT_ID_BYTES_MAX: usize = 512;

/// Documents of one view inside a handler.
pub struct ViewCx<'a> {
    cx: &'a Cx,
    view: View,
    namespace: Text,
}

thread_local! {
    /// Names of views used on this thread: there are few, and each handler asks for the same ones again and again.
    static NAMESPACES: RefCell<Vec<(&'static str, Text)>> = const { RefCell::new(Vec::new()) };
}

/// The most names kept a thread; a program that makes names up as it goes gains nothing, and loses nothing.
const NAMESPACES_MAX: usize = 64;

fn namespace(name: &'static str) -> Text {
    NAMESPACES.with_borrow_mut(|known| {
        if let Some((_, text)) = known.iter().find(|(other, _)| std::ptr::eq(*other, name)) {
            return text.clone();
        }
        let text = Text::from(name);
        if known.len() < NAMESPACES_MAX {
            known.push((name, text.clone()));
        }
        text
    })
}

impl ViewCx<'_> {
    fn key(&self, id: &str) -> DocumentKey {
        if id.is_empty() || id.len() > DOCUMENT_ID_BYTES_MAX {
            let name = self.view.name();
            let size = id.len();
            self.cx.refuse(Failure::permanent(format!(
                "view {name}: a document's id has 1 to {DOCUMENT_ID_BYTES_MAX} bytes, not {size}"
            )));
        }
        DocumentKey { namespace: self.namespace.clone(), id: Text::from(id) }
    }

    fn write(&self, key: DocumentKey, change: Change) {
        if self.change(&key, change) {
            // After it is there: whoever looks in between sees what comes without knowing yet that it is new.
            self.cx.0.subscriber.documents.written(&key);
        }
    }

    /// Notes a change; `false` when the context is closed.
    fn change(&self, key: &DocumentKey, change: Change) -> bool {
        let mut state = self.cx.0.state.lock();
        if state.closed {
            return false;
        }
        let writes = &mut state.effects.writes;
        if let Some(write) = writes.iter_mut().find(|write| write.key == *key) {
            if let Err(failure) = write.change.then(change) {
                state.refused.get_or_insert(Refused::Failure(failure));
            }
        } else {
            writes.push(Write { key: key.clone(), change, indexed: self.view.index() });
        }
        true
    }

    async fn load(&self, key: DocumentKey) -> Handled<Option<DocumentValue>> {
        let own = {
            let state = self.cx.0.state.lock();
            state.effects.writes.iter().find(|write| write.key == key).map(|write| write.change.clone())
        };
        let blind = match own {
            Some(Change::Put(value)) => return Ok(Some(value)),
            Some(Change::Delete) => return Ok(None),
            Some(Change::Blind(changes)) => Some(changes),
            None => None,
        };
        let Subscriber { documents, tenant, .. } = &*self.cx.0.subscriber;
        let loaded = match documents.cached(tenant, &key) {
            Some(loaded) => loaded,
            None => documents.load(tenant, &key).await?,
        };
        let mut state = self.cx.0.state.lock();
        if !state.effects.reads.iter().any(|(seen, _)| *seen == key) {
            state.effects.reads.push((key, loaded.stamp));
        }
        drop(state);
        match blind {
            None => Ok(loaded.value),
            Some(changes) => {
                let base = loaded.value.map(|value| value.json()).transpose()?;
                let json = apply_blind(base.as_deref(), &changes)
                    .map_err(|error| Failure::permanent(error.to_string()))?;
                Ok(Some(DocumentValue::Json(json)))
            }
        }
    }

    /// The document, if it is there. That it was read becomes a condition of the commit: if it has changed by then, the
    /// delivery runs again on what it is then.
    ///
    /// # Errors
    /// Transient when the store cannot be read, permanent when the document is no `T`.
    pub async fn get<T: DeserializeOwned + Send + Sync + 'static>(
        &self,
        id: &str,
    ) -> Handled<Option<Arc<T>>> {
        self.load(self.key(id)).await?.map(|value| value.get()).transpose()
    }

    /// Replaces the document.
    pub fn put<T: Serialize + Send + Sync + 'static>(&self, id: &str, value: T) {
        self.write(self.key(id), Change::Put(DocumentValue::typed(value)));
    }

    /// Removes the document; one that is not there stays so.
    pub fn delete(&self, id: &str) {
        self.write(self.key(id), Change::Delete);
    }

    /// Reads the document (or `T::default()`), changes it, and writes it.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    pub async fn update<T>(&self, id: &str, change: impl FnOnce(&mut T)) -> Handled
    where
        T: Serialize + DeserializeOwned + Default + Clone + Send + Sync + 'static,
    {
        let key = self.key(id);
        let found = self.load(key.clone()).await?.map(|value| value.get::<T>()).transpose()?;
        let mut value: T = found.map(|value| T::clone(&value)).unwrap_or_default();
        change(&mut value);
        self.write(key, Change::Put(DocumentValue::typed(value)));
        Ok(())
    }

    /// Adds to a whole number at the top level of the document, without reading it.
    pub fn add(&self, id: &str, field: &str, by: i64) {
        self.write(self.key(id), Change::Blind(vec![BlindChange::Add { field: field.into(), by }]));
    }

    /// Raises a whole number at the top level of the document to at least `to`, without reading it.
    pub fn max(&self, id: &str, field: &str, to: i64) {
        self.write(self.key(id), Change::Blind(vec![BlindChange::Max { field: field.into(), to }]));
    }

    /// Merges an object into the document (RFC 7396), without reading it.
    ///
    /// # Errors
    /// A permanent failure when `patch` does not serialise.
    pub fn merge<T: Serialize>(&self, id: &str, patch: &T) -> Handled {
        let patch = serde_json::to_vec(patch).map_err(|error| Failure::of(Kind::Permanent, error))?;
        self.write(self.key(id), Change::Blind(vec![BlindChange::Merge(patch.into())]));
        Ok(())
    }
}

/// No documents at all: for handlers that run where there is no store.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoDocuments;

impl Documents for NoDocuments {
    fn cached(&self, _: &Tenant, _: &DocumentKey) -> Option<Loaded> {
        None
    }

    fn load<'a>(&'a self, _: &'a Tenant, key: &'a DocumentKey) -> BoxFuture<'a, Handled<Loaded>> {
        let failure = Failure::permanent(format!("view {}: the application has no store", key.namespace));
        Box::pin(std::future::ready(Err(failure)))
    }
}

impl DeliveryInfo {
    /// A first attempt at an event that comes from no store.
    pub fn new(envelope: Envelope) -> Self {
        Self { envelope, position: None, attempt: 1 }
    }
}

impl Subscriber {
    /// A subscriber with the machine's clock, no documents and the tenant that is there without tenants.
    pub fn new(name: impl Into<Text>, source: impl Into<Text>) -> Self {
        Self {
            name: name.into(),
            source: source.into(),
            tenant: Tenant::default(),
            payload_bytes_max: PAYLOAD_BYTES_MAX,
            clock: Arc::new(crate::SystemClock),
            documents: Arc::new(NoDocuments),
        }
    }
}
