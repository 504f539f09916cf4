//! What is lost of an envelope.

use tidings_core::{Attribute, EnvelopeBuilder, JSON, PayloadForm, Text};

use super::{Bug, bug};
use crate::hooks::Hook;

pub const BUGS: &[Bug] = &[
    bug(
        "every event gets a content type",
        &[Hook::Event(|_, event| {
            if event.envelope.content_type().is_none() {
                edit(event, |edit| edit.content_type(JSON));
            }
        })],
    ),
    bug(
        "the schema version is not kept",
        &[Hook::Event(|_, event| edit(event, |edit| edit.schema_version(1)))],
    ),
    bug(
        "the priority is not kept",
        &[Hook::Event(|_, event| {
            edit(event, |edit| edit.priority(tidings_core::Priority::Normal));
        })],
    ),
    bug(
        "an event's time is kept as a point in time only",
        &[Hook::Event(|_, event| {
            if let Some(time) = event.envelope.time() {
                let at = time.at();
                edit(event, |edit| edit.time(at));
            }
        })],
    ),
    bug(
        "an empty payload is no payload",
        &[Hook::Event(|_, event| {
            if event.envelope.payload().is_ok_and(|payload| payload.is_empty()) {
                edit(event, |edit| edit.payload(PayloadForm::Absent, ""));
            }
        })],
    ),
    bug(
        "a JSON payload is written anew",
        &[Hook::Event(|_, event| {
            let payload = event.envelope.payload().cloned().unwrap_or_default();
            if let (PayloadForm::Json, Ok(value)) =
                (event.envelope.form(), serde_json::from_slice::<serde_json::Value>(&payload))
            {
                let text = value.to_string();
                edit(event, |edit| edit.json(text));
            }
        })],
    ),
    bug(
        "attributes of other JSON come back as text",
        &[Hook::Event(|_, event| {
            let others: Vec<_> = event
                .envelope
                .attributes()
                .filter_map(|(name, value)| match value {
                    Attribute::Json(json) => Some((name.clone(), json.clone())),
                    _ => None,
                })
                .collect();
            for (name, json) in others {
                edit(event, |edit| edit.attribute(name, Attribute::Text(json)));
            }
        })],
    ),
    bug(
        "an empty attribute is left out",
        &[Hook::Event(|_, event| {
            let empty =
                event.envelope.attributes().find(|(_, value)| **value == Attribute::Text(Text::from("")));
            if let Some(name) = empty.map(|(name, _)| name.clone()) {
                edit(event, |edit| edit.attribute(name, Attribute::Bool(false)));
            }
        })],
    ),
    bug(
        "a stream is told as the event's own",
        &[Hook::Event(|_, event| {
            let stream = event.stream.clone();
            edit(event, |edit| edit.stream(stream));
        })],
    ),
    bug(
        "a subject is made from the key",
        &[Hook::Event(|_, event| {
            if let Some(subject) = event.envelope.subject().map(Text::from) {
                edit(event, |edit| edit.subject(subject));
            }
        })],
    ),
    bug(
        "tags are put in order",
        &[Hook::Event(|_, event| {
            let mut tags = event.envelope.tags().to_vec();
            tags.sort();
            edit(event, |edit| edit.tags(tags));
        })],
    ),
    bug(
        "long payloads are cut",
        &[Hook::Commit(|commit| {
            for event in commit.appends.iter_mut().flat_map(|append| &mut append.events) {
                let payload = event.payload().cloned().unwrap_or_default();
                if payload.len() == tidings_core::PAYLOAD_BYTES_MAX {
                    *event = event.edit().payload(event.form(), payload.slice(1..)).trusted();
                }
            }
        })],
    ),
];

fn edit(event: &mut tidings_store::Recorded, change: impl FnOnce(EnvelopeBuilder) -> EnvelopeBuilder) {
    event.envelope = change(event.envelope.edit()).trusted();
}
