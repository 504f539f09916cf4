//! The envelope: an event with its metadata.

mod builder;

use std::{
    any::Any,
    borrow::Cow,
    collections::BTreeMap,
    fmt,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use smallvec::SmallVec;
use triomphe::UniqueArc;

use crate::{Event, EventTime, Failure, Handled, Kind, Text, Timestamp, category, id::Id};

pub use builder::EnvelopeBuilder;

/// The content type of JSON payloads, and the default.
pub const JSON: &str = "application/json";

/// The largest payload, in bytes, unless a place sets another limit: 1 MiB. A larger one is refused, never cut.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// Over this many hops from the first event of a correlation, a chain of handlers counts as a loop.
pub const HOPS_MAX: u16 = 64;

/// How urgent a delivery is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Can wait.
    Low,
    /// The default.
    #[default]
    Normal,
    /// First.
    Critical,
}

/// How the payload is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum PayloadForm {
    /// JSON text.
    #[default]
    Json,
    /// Text of the content type, which CloudEvents JSON carries as a string.
    Text,
    /// Bytes, which CloudEvents JSON carries as `data_base64`.
    Binary,
    /// There is no payload.
    Absent,
}

/// The value of a free attribute (a CloudEvents extension).
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Attribute {
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(Text),
    /// Any other JSON value, kept as it was written, so that nothing unknown is lost.
    Json(Text),
}

/// An event with its metadata; a cheap handle to shared, immutable content.
///
/// ```
/// use tidings_core::Envelope;
/// let envelope = Envelope::build("order.placed").source("/shop").key("4711").json(br#"{"total":3}"#.as_slice()).finish()?;
/// assert_eq!(envelope.stream(), "order-4711");
/// assert_eq!(envelope.subject(), Some("4711"));
/// # Ok::<(), tidings_core::EnvelopeError>(())
/// ```
#[derive(Clone)]
pub struct Envelope(triomphe::Arc<Inner>);

#[derive(Clone)]
struct Inner {
    id: Id,
    name: Text,
    source: Text,
    schema_version: u32,
    hops: u16,
    priority: Priority,
    key: Option<Text>,
    subject: Option<Text>,
    stream: Option<Text>,
    time: Option<EventTime>,
    /// Mostly one or two, which then need no memory of their own.
    tags: SmallVec<[Text; 2]>,
    correlation: Option<Text>,
    causation: Option<Text>,
    form: PayloadForm,
    content_type: Option<Text>,
    data: Data,
    rare: Option<Box<Rare>>,
}

/// What few envelopes carry, out of the way of those that do not.
#[derive(Clone, Default, PartialEq)]
struct Rare {
    expiry: Option<Timestamp>,
    user: Option<Text>,
    tenant: Option<Text>,
    trace_parent: Option<Text>,
    trace_state: Option<Text>,
    data_schema: Option<Text>,
    attributes: BTreeMap<Text, Attribute>,
}

#[derive(Clone)]
enum Data {
    Bytes(Bytes),
    /// A typed event that has not been serialised, because perhaps nobody asks.
    Typed(Arc<dyn Typed>, OnceLock<Bytes>),
}

trait Typed: Send + Sync {
    fn shared(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    fn to_json(&self) -> Result<Bytes, serde_json::Error>;
}

impl<E: Event> Typed for E {
    fn shared(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn to_json(&self) -> Result<Bytes, serde_json::Error> {
        serde_json::to_vec(self).map(Bytes::from)
    }
}

/// Why an envelope could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// The name is no valid topic.
    #[error("the event's name is invalid: {0}")]
    Name(#[from] crate::TopicError),
    /// A required text is empty.
    #[error("`{0}` must not be empty")]
    Empty(&'static str),
    /// A text is over its limit.
    #[error("`{field}` has {size} bytes, more than {limit}")]
    TooLong {
        /// The field.
        field: &'static str,
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The event could not be serialised.
    #[error("the event cannot be written as JSON: {0}")]
    Payload(String),
}

/// What an envelope begins with.
const SOURCE: Text = Text::known("/tidings");

/// The longest id, source, key, subject, stream or tag, in bytes.
pub const TEXT_BYTES_MAX: usize = 1024;

/// Texts that name something, so that an empty one is a mistake.
const NEVER_EMPTY: [&str; 7] = ["id", "source", "key", "subject", "stream", "correlation", "causation"];

/// The most tags an event may have.
pub const TAGS_MAX: usize = 64;

impl Envelope {
    /// Begins an envelope for an event called `name`.
    pub fn build(name: impl Into<Text>) -> EnvelopeBuilder {
        EnvelopeBuilder(UniqueArc::new(Inner {
            id: Id::default(),
            name: name.into(),
            source: SOURCE,
            schema_version: 1,
            hops: 0,
            priority: Priority::Normal,
            key: None,
            subject: None,
            stream: None,
            time: None,
            tags: SmallVec::new(),
            correlation: None,
            causation: None,
            form: PayloadForm::Absent,
            content_type: None,
            data: Data::Bytes(Bytes::new()),
            rare: None,
        }))
    }

    /// Begins an envelope for a typed event: its name, version, key and tags; the payload is serialised when somebody
    /// first asks for it.
    pub fn of<E: Event>(event: impl Into<Arc<E>>) -> EnvelopeBuilder {
        let event: Arc<E> = event.into();
        let mut builder = Self::build(Text::known(E::INFO.name));
        let inner = builder.inner();
        inner.schema_version = E::INFO.version;
        inner.key = event.key();
        inner.tags = event.tags().into();
        inner.form = PayloadForm::Json;
        inner.data = Data::Typed(event, OnceLock::new());
        builder
    }

    /// The id: unique together with the source.
    pub fn id(&self) -> &Text {
        self.0.id.text()
    }
    /// The id for whoever writes it down and forgets it.
    pub(crate) fn shown_id(&self) -> impl fmt::Display {
        &self.0.id
    }
    /// The event's name, and by default the topic it is routed under.
    pub fn name(&self) -> &Text {
        &self.0.name
    }
    /// Who produced it, as a URI reference.
    pub fn source(&self) -> &Text {
        &self.0.source
    }
    /// The version of the event's schema, from 1.
    pub fn schema_version(&self) -> u32 {
        self.0.schema_version
    }
    /// The key that orders deliveries.
    pub fn key(&self) -> Option<&Text> {
        self.0.key.as_ref()
    }
    /// What the event is about; by default its key.
    pub fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref().or(self.0.key.as_deref())
    }
    /// The subject where one was written, without the default.
    pub fn own_subject(&self) -> Option<&Text> {
        self.0.subject.as_ref()
    }
    /// The stream it belongs to: as written, or `{category}-{key}`, or `{category}` without a key.
    pub fn stream(&self) -> Cow<'_, str> {
        match (&self.0.stream, &self.0.key) {
            (Some(stream), _) => Cow::Borrowed(stream),
            (None, Some(key)) => Cow::Owned(format!("{}-{key}", category(&self.0.name))),
            (None, None) => Cow::Borrowed(category(&self.0.name)),
        }
    }
    /// The stream where one was written, without the default.
    pub fn own_stream(&self) -> Option<&Text> {
        self.0.stream.as_ref()
    }
    /// Tags, as `field:value`.
    pub fn tags(&self) -> &[Text] {
        &self.0.tags
    }
    /// When the event happened, by its producer.
    pub fn time(&self) -> Option<&EventTime> {
        self.0.time.as_ref()
    }
    /// After this time it is not delivered any more.
    pub fn expiry(&self) -> Option<Timestamp> {
        self.0.rare.as_ref().and_then(|rare| rare.expiry)
    }
    /// The first event of the chain this one belongs to.
    pub fn correlation(&self) -> Option<&Text> {
        self.0.correlation.as_ref()
    }
    /// The event whose handling published this one.
    pub fn causation(&self) -> Option<&Text> {
        self.0.causation.as_ref()
    }
    /// How many handlers lie between the first event of the chain and this one.
    pub fn hops(&self) -> u16 {
        self.0.hops
    }
    /// On whose behalf.
    pub fn user(&self) -> Option<&Text> {
        self.0.rare.as_ref().and_then(|rare| rare.user.as_ref())
    }
    /// The tenant it belongs to.
    pub fn tenant(&self) -> Option<&Text> {
        self.0.rare.as_ref().and_then(|rare| rare.tenant.as_ref())
    }
    /// How urgent it is.
    pub fn priority(&self) -> Priority {
        self.0.priority
    }
    /// The W3C `traceparent`.
    pub fn trace_parent(&self) -> Option<&Text> {
        self.0.rare.as_ref().and_then(|rare| rare.trace_parent.as_ref())
    }
    /// The W3C `tracestate`.
    pub fn trace_state(&self) -> Option<&Text> {
        self.0.rare.as_ref().and_then(|rare| rare.trace_state.as_ref())
    }
    /// The content type where one was written.
    pub fn content_type(&self) -> Option<&Text> {
        self.0.content_type.as_ref()
    }
    /// The URI of the payload's schema.
    pub fn data_schema(&self) -> Option<&Text> {
        self.0.rare.as_ref().and_then(|rare| rare.data_schema.as_ref())
    }
    /// A free attribute.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.0.rare.as_ref().and_then(|rare| rare.attributes.get(name))
    }
    /// All free attributes, by name.
    pub fn attributes(&self) -> impl Iterator<Item = (&Text, &Attribute)> {
        self.0.rare.iter().flat_map(|rare| rare.attributes.iter())
    }
    /// How the payload is to be read.
    pub fn form(&self) -> PayloadForm {
        self.0.form
    }

    /// The payload's bytes.
    ///
    /// # Errors
    /// A typed event whose `Serialize` fails.
    pub fn payload(&self) -> Result<&Bytes, EnvelopeError> {
        match &self.0.data {
            Data::Bytes(bytes) => Ok(bytes),
            Data::Typed(event, written) => {
                if let Some(bytes) = written.get() {
                    return Ok(bytes);
                }
                let bytes = event.to_json().map_err(|error| EnvelopeError::Payload(error.to_string()))?;
                Ok(written.get_or_init(|| bytes))
            }
        }
    }

    /// The typed event: the one it was made from, or decoded from the payload.
    ///
    /// # Errors
    /// A permanent failure that names the place in the payload which is not as the type wants it.
    pub fn decode<E: Event>(&self) -> Handled<Arc<E>> {
        if let Data::Typed(event, _) = &self.0.data
            && let Ok(event) = event.clone().shared().downcast::<E>()
        {
            return Ok(event);
        }
        let bytes = self.payload().map_err(|error| Failure::of(Kind::Permanent, error))?;
        let json: &[u8] = if self.0.form == PayloadForm::Absent { b"null" } else { bytes };
        serde_json::from_slice(json).map(Arc::new).map_err(|error| {
            let info = E::INFO;
            // The library's message may quote the value; where a value is secret, only its place is told.
            let fault = if info.fields.iter().any(|field| field.redact) {
                format!("it does not fit at line {} column {}", error.line(), error.column())
            } else {
                error.to_string()
            };
            Failure::permanent(format!("the payload is no {} (version {}): {fault}", info.name, info.version))
        })
    }

    /// A builder with everything of this envelope, to make a changed one.
    pub fn edit(&self) -> EnvelopeBuilder {
        EnvelopeBuilder(UniqueArc::new((*self.0).clone()))
    }

    /// Whether both carry the same content: everything but the id's owner, which is what "same id" compares.
    ///
    /// Times of recording and positions are no part of an envelope, so they are not compared.
    pub fn same_content(&self, other: &Self) -> bool {
        let (a, b) = (&*self.0, &*other.0);
        triomphe::Arc::ptr_eq(&self.0, &other.0)
            || (a.name == b.name
                && a.schema_version == b.schema_version
                && a.key == b.key
                && self.subject() == other.subject()
                && self.stream() == other.stream()
                && a.time == b.time
                && a.tags == b.tags
                && a.form == b.form
                && a.content_type == b.content_type
                && a.priority == b.priority
                && a.hops == b.hops
                && a.correlation == b.correlation
                && a.causation == b.causation
                && a.rare.as_deref().unwrap_or(&Rare::default())
                    == b.rare.as_deref().unwrap_or(&Rare::default())
                && self.payload().ok() == other.payload().ok())
    }
}

impl fmt::Debug for Envelope {
    /// Metadata only: a payload may hold what must not be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Envelope")
            .field("id", &self.0.id)
            .field("name", &self.0.name)
            .field("version", &self.0.schema_version)
            .field("source", &self.0.source)
            .field("stream", &self.stream())
            .field("key", &self.0.key)
            .finish_non_exhaustive()
    }
}
