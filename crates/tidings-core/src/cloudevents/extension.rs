//! Our metadata as extensions: which there are, what their values mean, and when a stranger's value is taken as ours.

use std::borrow::Cow;

use super::{Place, json};
use crate::{Attribute, Envelope, EnvelopeBuilder, Priority, TAGS_MAX, TEXT_BYTES_MAX, Text, Timestamp};

/// The extension that names the stream.
pub(super) const STREAM: &str = "streamname";

/// The extension that says the form of the payload.
pub(super) const FORM: &str = "payloadform";

const POSITION: &str = "position";
const VERSION: &str = "streamversion";
const RECORDED: &str = "recordedtime";

/// One of our extensions with a value other than its default.
#[derive(Debug, PartialEq)]
pub(super) enum Own {
    Key(Text),
    Stream(Text),
    SchemaVersion(u32),
    Tags(Vec<Text>),
    Correlation(Text),
    Causation(Text),
    Hops(u16),
    User(Text),
    Tenant(Text),
    Priority(Priority),
    Expiry(Timestamp),
    TraceParent(Text),
    TraceState(Text),
}

impl Own {
    /// What an extension called `name` means to us; `None` when it is not ours, its value is not one of ours, or it is
    /// the default, which we would not write.
    pub(super) fn read(name: &str, value: &Attribute) -> Option<Self> {
        let text = || match value {
            Attribute::Text(text) => Some(text),
            _ => None,
        };
        let filled = || text().filter(|text| !text.is_empty()).cloned();
        Some(match name {
            "partitionkey" => Self::Key(filled()?),
            STREAM => Self::Stream(filled()?),
            "schemaversion" => Self::SchemaVersion(whole(value).filter(|version| *version > 1)?),
            "tags" => Self::Tags(tags(text()?)?),
            "correlationid" => Self::Correlation(filled()?),
            "causationid" => Self::Causation(filled()?),
            "hops" => Self::Hops(whole(value).filter(|hops| *hops > 0)?),
            "userid" => Self::User(text()?.clone()),
            "tenantid" => Self::Tenant(text()?.clone()),
            "priority" => match &**text()? {
                "low" => Self::Priority(Priority::Low),
                "critical" => Self::Priority(Priority::Critical),
                _ => return None,
            },
            "expirytime" => Self::Expiry(text()?.parse().ok()?),
            "traceparent" => Self::TraceParent(text()?.clone()),
            "tracestate" => Self::TraceState(text()?.clone()),
            _ => return None,
        })
    }

    /// What of `envelope` is written as extensions.
    pub(super) fn all_of(envelope: &Envelope) -> Vec<Self> {
        let mut all = Vec::new();
        all.extend(envelope.key().cloned().map(Self::Key));
        all.extend(envelope.own_stream().cloned().map(Self::Stream));
        all.extend((envelope.schema_version() != 1).then(|| Self::SchemaVersion(envelope.schema_version())));
        all.extend((!envelope.tags().is_empty()).then(|| Self::Tags(envelope.tags().to_vec())));
        all.extend(envelope.correlation().cloned().map(Self::Correlation));
        all.extend(envelope.causation().cloned().map(Self::Causation));
        all.extend((envelope.hops() != 0).then(|| Self::Hops(envelope.hops())));
        all.extend(envelope.user().cloned().map(Self::User));
        all.extend(envelope.tenant().cloned().map(Self::Tenant));
        all.extend((envelope.priority() != Priority::Normal).then(|| Self::Priority(envelope.priority())));
        all.extend(envelope.expiry().map(Self::Expiry));
        all.extend(envelope.trace_parent().cloned().map(Self::TraceParent));
        all.extend(envelope.trace_state().cloned().map(Self::TraceState));
        all
    }

    /// The extension's name.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Key(_) => "partitionkey",
            Self::Stream(_) => STREAM,
            Self::SchemaVersion(_) => "schemaversion",
            Self::Tags(_) => "tags",
            Self::Correlation(_) => "correlationid",
            Self::Causation(_) => "causationid",
            Self::Hops(_) => "hops",
            Self::User(_) => "userid",
            Self::Tenant(_) => "tenantid",
            Self::Priority(_) => "priority",
            Self::Expiry(_) => "expirytime",
            Self::TraceParent(_) => "traceparent",
            Self::TraceState(_) => "tracestate",
        }
    }

    /// The value as we write it.
    pub(super) fn value(&self) -> Attribute {
        match self {
            Self::Key(text)
            | Self::Stream(text)
            | Self::Correlation(text)
            | Self::Causation(text)
            | Self::User(text)
            | Self::Tenant(text)
            | Self::TraceParent(text)
            | Self::TraceState(text) => Attribute::Text(text.clone()),
            Self::SchemaVersion(version) => Attribute::Integer(i64::from(*version)),
            Self::Hops(hops) => Attribute::Integer(i64::from(*hops)),
            Self::Tags(tags) => Attribute::Text(tags_text(tags).into()),
            Self::Priority(Priority::Low) => Attribute::Text("low".into()),
            Self::Priority(Priority::Normal) => Attribute::Text("normal".into()),
            Self::Priority(Priority::Critical) => Attribute::Text("critical".into()),
            Self::Expiry(at) => Attribute::Text(at.to_string().into()),
        }
    }

    /// Sets it.
    pub(super) fn put(self, envelope: EnvelopeBuilder) -> EnvelopeBuilder {
        match self {
            Self::Key(key) => envelope.key(key),
            Self::Stream(stream) => envelope.stream(stream),
            Self::SchemaVersion(version) => envelope.schema_version(version),
            Self::Tags(tags) => envelope.tags(tags),
            Self::Correlation(id) => envelope.correlation(id),
            Self::Causation(id) => envelope.causation(id),
            Self::Hops(hops) => envelope.hops(hops),
            Self::User(user) => envelope.user(user),
            Self::Tenant(tenant) => envelope.tenant(tenant),
            Self::Priority(priority) => envelope.priority(priority),
            Self::Expiry(at) => envelope.expiry(at),
            Self::TraceParent(parent) => envelope.trace_parent(parent),
            Self::TraceState(state) => envelope.trace_state(state),
        }
    }
}

impl Place {
    /// Takes the place of an event in `stream` out of its extensions, if all of it is there as we write it.
    pub(super) fn take(stream: Option<&Text>, free: &mut Vec<(Cow<'_, str>, Attribute)>) -> Option<Self> {
        let find = |wanted: &str| {
            free.iter().find_map(|(name, value)| match value {
                Attribute::Text(text) if name == wanted => Some(text),
                _ => None,
            })
        };
        let number = |text: &Text| text.parse::<u64>().ok().filter(|n| *n > 0 && n.to_string() == **text);
        let recorded = find(RECORDED)?;
        let place = Self {
            stream: stream?.clone(),
            position: number(find(POSITION)?)?,
            version: number(find(VERSION)?)?,
            recorded: recorded.parse().ok().filter(|at: &Timestamp| at.to_string() == **recorded)?,
        };
        free.retain(|(name, _)| ![POSITION, VERSION, RECORDED].contains(&&**name));
        Some(place)
    }

    /// The extensions it is written as.
    pub(super) fn extensions(&self) -> [(&'static str, Attribute); 4] {
        let text = |text: String| Attribute::Text(text.into());
        [
            (STREAM, Attribute::Text(self.stream.clone())),
            (POSITION, text(self.position.to_string())),
            (VERSION, text(self.version.to_string())),
            (RECORDED, text(self.recorded.to_string())),
        ]
    }
}

/// The text an attribute has where everything is text.
pub(super) fn text_of(value: &Attribute) -> Cow<'_, str> {
    match value {
        Attribute::Bool(true) => Cow::Borrowed("true"),
        Attribute::Bool(false) => Cow::Borrowed("false"),
        Attribute::Integer(number) => Cow::Owned(number.to_string()),
        Attribute::Text(text) | Attribute::Json(text) => Cow::Borrowed(text),
    }
}

/// A whole number, also from text: what passes through a binary mode on its way arrives as that.
fn whole<N: TryFrom<i64>>(value: &Attribute) -> Option<N> {
    let number = match value {
        Attribute::Integer(number) => *number,
        Attribute::Text(text) => text.parse().ok()?,
        _ => return None,
    };
    N::try_from(number).ok()
}

fn tags(text: &str) -> Option<Vec<Text>> {
    let tags: Vec<Text> = serde_json::from_str(text).ok()?;
    let within_limits = tags.len() <= TAGS_MAX && tags.iter().all(|tag| tag.len() <= TEXT_BYTES_MAX);
    (!tags.is_empty() && within_limits).then_some(tags)
}

fn tags_text(tags: &[Text]) -> String {
    let mut text = Vec::new();
    for (at, tag) in tags.iter().enumerate() {
        text.push(if at == 0 { b'[' } else { b',' });
        json::put_string(&mut text, tag);
    }
    text.push(b']');
    String::from_utf8(text).expect("JSON of texts is UTF-8")
}
