//! New ids: UUIDv7, so that they sort by time and sit beside each other in an index.

use std::{sync::Mutex, time::SystemTime};

use uuid::{ContextV7, Timestamp, Uuid};

use crate::Text;

static CONTEXT: Mutex<Option<ContextV7>> = Mutex::new(None);

/// A new id, larger than every one before it in this process.
pub fn next() -> Text {
    let mut context = CONTEXT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let context = context.get_or_insert_with(ContextV7::new);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let id = Uuid::new_v7(Timestamp::from_unix(&*context, now.as_secs(), now.subsec_nanos()));
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    Text::from(&*id.hyphenated().encode_lower(&mut text))
}

/// An id that is always the same for the same `parts`: for what must not happen twice.
pub fn derived(parts: &[&str]) -> Text {
    let mut name = Vec::new();
    for part in parts {
        name.extend_from_slice(&(part.len() as u64).to_be_bytes());
        name.extend_from_slice(part.as_bytes());
    }
    Text::from(Uuid::new_v5(&Uuid::NAMESPACE_OID, &name).hyphenated().to_string())
}
