//! Making an envelope, and checking it.

use std::{cell::RefCell, fmt};

use bytes::Bytes;
use triomphe::UniqueArc;

use super::{
    Attribute, Data, Envelope, EnvelopeError, Inner, NEVER_EMPTY, PayloadForm, Priority, Rare, TAGS_MAX,
    TEXT_BYTES_MAX,
};
use crate::{EventTime, Text, Timestamp, check_topic, id::Id};

/// Makes an [`Envelope`]; every setter replaces what was there.
#[must_use = "an envelope is made by `finish`"]
pub struct EnvelopeBuilder(pub(super) UniqueArc<Inner>);

impl Clone for EnvelopeBuilder {
    fn clone(&self) -> Self {
        Self(UniqueArc::new((*self.0).clone()))
    }
}

thread_local! {
    /// The last name that was found valid: who publishes an event publishes more of its kind.
    static VALID: RefCell<Text> = RefCell::default();
}

fn check_name(name: &Text) -> Result<(), EnvelopeError> {
    VALID.with_borrow_mut(|valid| {
        if name.is_empty() || valid != name {
            check_topic(name)?;
            valid.clone_from(name);
        }
        Ok(())
    })
}

impl Inner {
    /// Whether there is nothing rare about it, and all of its texts are as long as most: then nothing is wrong with it.
    fn is_plain(&self) -> bool {
        let fits = |text: &Text| !text.is_empty() && text.len() <= TEXT_BYTES_MAX;
        let may = |text: &Option<Text>| text.as_ref().is_none_or(fits);
        self.rare.is_none()
            && self.tags.len() <= TAGS_MAX
            && fits(&self.source)
            && self.id.given().is_none_or(fits)
            && may(&self.key)
            && may(&self.subject)
            && may(&self.stream)
            && may(&self.correlation)
            && may(&self.causation)
            && may(&self.content_type)
            && self.tags.iter().all(|tag| tag.len() <= TEXT_BYTES_MAX)
    }
}

impl EnvelopeBuilder {
    /// The content, which is this builder's alone until it is finished: it is made where it stays, and never moved.
    pub(super) fn inner(&mut self) -> &mut Inner {
        &mut self.0
    }

    fn rare(&mut self) -> &mut Rare {
        self.inner().rare.get_or_insert_default()
    }

    /// The id; without one, `finish` gives it a new UUIDv7.
    pub fn id(mut self, id: impl Into<Text>) -> Self {
        self.inner().id = Id::from(id.into());
        self
    }
    /// The id that is written as this UUID, in lower case with hyphens; until it is asked for, it needs no memory.
    pub fn uuid(mut self, id: [u8; 16]) -> Self {
        self.inner().id = Id::from_bytes(id);
        self
    }
    /// Who produced it, as a URI reference; `/tidings` by default.
    pub fn source(mut self, source: impl Into<Text>) -> Self {
        self.inner().source = source.into();
        self
    }
    /// The version of the event's schema, from 1.
    pub fn schema_version(mut self, version: u32) -> Self {
        self.inner().schema_version = version;
        self
    }
    /// The key that orders deliveries.
    pub fn key(mut self, key: impl Into<Text>) -> Self {
        self.inner().key = Some(key.into());
        self
    }
    /// What the event is about.
    pub fn subject(mut self, subject: impl Into<Text>) -> Self {
        self.inner().subject = Some(subject.into());
        self
    }
    /// The stream, instead of the default one.
    pub fn stream(mut self, stream: impl Into<Text>) -> Self {
        self.inner().stream = Some(stream.into());
        self
    }
    /// All tags, as `field:value`.
    pub fn tags(mut self, tags: impl IntoIterator<Item = Text>) -> Self {
        self.inner().tags = tags.into_iter().collect();
        self
    }
    /// One more tag.
    pub fn tag(mut self, field: &str, value: impl fmt::Display) -> Self {
        self.inner().tags.push(format!("{field}:{value}").into());
        self
    }
    /// When the event happened.
    pub fn time(mut self, time: impl Into<EventTime>) -> Self {
        self.inner().time = Some(time.into());
        self
    }
    /// When the event happened, if that is known.
    pub fn time_if_absent(mut self, now: impl FnOnce() -> Timestamp) -> Self {
        if self.0.time.is_none() {
            self.inner().time = Some(now().into());
        }
        self
    }
    /// After this time it is not delivered any more.
    pub fn expiry(mut self, at: Timestamp) -> Self {
        self.rare().expiry = Some(at);
        self
    }
    /// The first event of the chain.
    pub fn correlation(mut self, id: impl Into<Text>) -> Self {
        self.inner().correlation = Some(id.into());
        self
    }
    /// The event whose handling published this one.
    pub fn causation(mut self, id: impl Into<Text>) -> Self {
        self.inner().causation = Some(id.into());
        self
    }
    /// How many handlers lie between the first event of the chain and this one.
    pub fn hops(mut self, hops: u16) -> Self {
        self.inner().hops = hops;
        self
    }
    /// On whose behalf.
    pub fn user(mut self, user: impl Into<Text>) -> Self {
        self.rare().user = Some(user.into());
        self
    }
    /// The tenant it belongs to.
    pub fn tenant(mut self, tenant: impl Into<Text>) -> Self {
        self.rare().tenant = Some(tenant.into());
        self
    }
    /// How urgent it is.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.inner().priority = priority;
        self
    }
    /// The W3C `traceparent`.
    pub fn trace_parent(mut self, parent: impl Into<Text>) -> Self {
        self.rare().trace_parent = Some(parent.into());
        self
    }
    /// The W3C `tracestate`.
    pub fn trace_state(mut self, state: impl Into<Text>) -> Self {
        self.rare().trace_state = Some(state.into());
        self
    }
    /// The URI of the payload's schema.
    pub fn data_schema(mut self, schema: impl Into<Text>) -> Self {
        self.rare().data_schema = Some(schema.into());
        self
    }
    /// A free attribute.
    pub fn attribute(mut self, name: impl Into<Text>, value: Attribute) -> Self {
        self.rare().attributes.insert(name.into(), value);
        self
    }
    /// The content type.
    pub fn content_type(mut self, content_type: impl Into<Text>) -> Self {
        self.inner().content_type = Some(content_type.into());
        self
    }
    /// The payload as JSON text. It is not parsed here.
    pub fn json(self, json: impl Into<Bytes>) -> Self {
        self.payload(PayloadForm::Json, json)
    }
    /// The payload, and how it is to be read.
    pub fn payload(mut self, form: PayloadForm, bytes: impl Into<Bytes>) -> Self {
        self.inner().form = form;
        self.inner().data = Data::Bytes(bytes.into());
        self
    }

    /// Continues the chain of `cause`: its correlation (or itself, when it began the chain), causation, one hop more,
    /// and its user, tenant and trace.
    pub fn caused_by(mut self, cause: &Envelope) -> Self {
        self.inner().correlation = Some(cause.correlation().unwrap_or(cause.id()).clone());
        self.inner().causation = Some(cause.id().clone());
        self.inner().hops = cause.hops().saturating_add(1);
        if let Some(from) = cause.0.rare.as_deref()
            && (from.user.is_some() || from.tenant.is_some() || from.trace_parent.is_some())
        {
            let rare = self.rare();
            rare.user = rare.user.take().or_else(|| from.user.clone());
            rare.tenant = rare.tenant.take().or_else(|| from.tenant.clone());
            rare.trace_parent = rare.trace_parent.take().or_else(|| from.trace_parent.clone());
            rare.trace_state = rare.trace_state.take().or_else(|| from.trace_state.clone());
        }
        self
    }

    /// The envelope, checked; where nothing else was said, it happened `now`, and its new id is of that time.
    ///
    /// # Errors
    /// An invalid name, an empty or overlong text.
    pub fn finish_at(mut self, now: Timestamp) -> Result<Envelope, EnvelopeError> {
        let inner = self.inner();
        inner.time.get_or_insert_with(|| now.into());
        if inner.id.is_none() {
            inner.id = Id::new(now);
        }
        self.finish()
    }

    /// The envelope, checked.
    ///
    /// # Errors
    /// An invalid name, an empty or overlong text.
    pub fn finish(mut self) -> Result<Envelope, EnvelopeError> {
        let inner = self.inner();
        check_name(&inner.name)?;
        if inner.id.is_none() {
            inner.id = Id::now();
        }
        if inner.is_plain() {
            return Ok(Envelope(self.0.shareable()));
        }
        let texts = [
            ("id", inner.id.given()),
            ("source", Some(&inner.source)),
            ("key", inner.key.as_ref()),
            ("subject", inner.subject.as_ref()),
            ("stream", inner.stream.as_ref()),
            ("correlation", inner.correlation.as_ref()),
            ("causation", inner.causation.as_ref()),
            ("content_type", inner.content_type.as_ref()),
        ];
        let rare = inner.rare.as_deref();
        let rare = [
            ("user", rare.and_then(|rare| rare.user.as_ref())),
            ("tenant", rare.and_then(|rare| rare.tenant.as_ref())),
            ("trace_parent", rare.and_then(|rare| rare.trace_parent.as_ref())),
            ("trace_state", rare.and_then(|rare| rare.trace_state.as_ref())),
            ("data_schema", rare.and_then(|rare| rare.data_schema.as_ref())),
        ];
        for (field, text) in texts.into_iter().chain(rare) {
            let Some(text) = text else { continue };
            // Elsewhere an empty text says nothing, and does no harm.
            if text.is_empty() && NEVER_EMPTY.contains(&field) {
                return Err(EnvelopeError::Empty(field));
            }
            if text.len() > TEXT_BYTES_MAX {
                return Err(EnvelopeError::TooLong { field, size: text.len(), limit: TEXT_BYTES_MAX });
            }
        }
        if inner.tags.len() > TAGS_MAX {
            return Err(EnvelopeError::TooLong { field: "tags", size: inner.tags.len(), limit: TAGS_MAX });
        }
        if let Some(tag) = inner.tags.iter().find(|tag| tag.len() > TEXT_BYTES_MAX) {
            return Err(EnvelopeError::TooLong { field: "tags", size: tag.len(), limit: TEXT_BYTES_MAX });
        }
        if inner.rare.as_deref() == Some(&Rare::default()) {
            inner.rare = None;
        }
        Ok(Envelope(self.0.shareable()))
    }

    /// The envelope without the checks of [`finish`](Self::finish), for an engine that reads back what it had checked.
    pub fn trusted(self) -> Envelope {
        Envelope(self.0.shareable())
    }
}
