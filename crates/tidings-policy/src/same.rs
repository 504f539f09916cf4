//! What makes two deliveries the same.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use tidings_core::{By, Envelope, Text};

/// The thing to claim, and its number where only a higher one is new.
pub(crate) fn thing(by: &By, envelope: &Envelope) -> (Text, Option<u64>) {
    let known = match by {
        By::Id => None,
        By::Key => envelope.key().map(|key| (format!("key {key}"), None)),
        By::Field(field) => self::field(envelope, field).map(|value| (format!("field {value}"), None)),
        By::Version(field) => {
            let number = self::field(envelope, field).and_then(|value| value.parse().ok());
            envelope.key().zip(number).map(|(key, number)| (format!("version {key}"), Some(number)))
        }
    };
    match known {
        Some((thing, number)) => (thing.into(), number),
        // Source and id, the length between them, so that no two pairs read the same.
        None => {
            let (source, id) = (envelope.source(), envelope.id());
            (format!("id {} {source} {id}", source.len()).into(), None)
        }
    }
}

/// A field of the payload, as it is written there.
fn field(envelope: &Envelope, field: &str) -> Option<String> {
    let payload = envelope.payload().ok()?;
    let fields: BTreeMap<String, &RawValue> = serde_json::from_slice(payload).ok()?;
    fields.get(field).map(|value| value.get()).filter(|value| *value != "null").map(str::to_owned)
}
