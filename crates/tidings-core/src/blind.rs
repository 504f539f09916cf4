//! What a blind change does to a document: one definition for every engine.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::{BlindChange, commit::Position};

/// Why a blind change could not be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BlindError(pub String);

/// Applies `changes` in order to the document `value`; one that is not there counts as `{}`.
///
/// # Errors
/// A value that is no JSON object, a field that is no whole number, an overflow, or a merge that is no object.
pub fn apply_blind(value: Option<&[u8]>, changes: &[BlindChange]) -> Result<Bytes, BlindError> {
    let mut document: Map<String, Value> = match value {
        None => Map::new(),
        Some(bytes) => serde_json::from_slice(bytes)
            .map_err(|error| BlindError(format!("the document is no JSON object: {error}")))?,
    };
    for change in changes {
        match change {
            BlindChange::Add { field, by } => {
                let sum = number(&document, field)?
                    .unwrap_or(0)
                    .checked_add(*by)
                    .ok_or_else(|| BlindError(format!("adding to `{field}` overflows")))?;
                document.insert(field.to_string(), sum.into());
            }
            BlindChange::Max { field, to } => {
                let most = number(&document, field)?.map_or(*to, |have| have.max(*to));
                document.insert(field.to_string(), most.into());
            }
            BlindChange::Merge(bytes) => {
                let patch: Map<String, Value> = serde_json::from_slice(bytes)
                    .map_err(|error| BlindError(format!("the merge is no JSON object: {error}")))?;
                merge(&mut document, patch);
            }
        }
    }
    serde_json::to_vec(&document).map(Bytes::from).map_err(|error| BlindError(error.to_string()))
}

fn number(document: &Map<String, Value>, field: &str) -> Result<Option<i64>, BlindError> {
    match document.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            value.as_i64().map(Some).ok_or_else(|| BlindError(format!("field `{field}` is no whole number")))
        }
    }
}

/// RFC 7396.
fn merge(document: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                document.remove(&name);
            }
            Value::Object(inner) => {
                let below = document.entry(name).or_insert_with(|| Value::Object(Map::new()));
                if !below.is_object() {
                    *below = Value::Object(Map::new());
                }
                if let Value::Object(below) = below {
                    merge(below, inner);
                }
            }
            other => {
                document.insert(name, other);
            }
        }
    }
}

/// The text by which an index on a top-level field finds a document: strings as they are, numbers and booleans as JSON
/// writes them; anything else is not indexed.
pub fn index_text(document: &[u8], fields: &[crate::Text]) -> Vec<(crate::Text, String)> {
    if fields.is_empty() {
        return Vec::new();
    }
    let Ok(Value::Object(map)) = serde_json::from_slice(document) else { return Vec::new() };
    fields
        .iter()
        .filter_map(|field| {
            let text = match map.get(&**field)? {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                Value::Bool(value) => value.to_string(),
                _ => return None,
            };
            Some((field.clone(), text))
        })
        .collect()
}

/// A position as text that sorts like the number, for ids of documents.
pub fn position_text(position: Position) -> String {
    format!("{position:020}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_apply_in_order() {
        let changes = [
            BlindChange::Add { field: "n".into(), by: 3 },
            BlindChange::Max { field: "m".into(), to: 7 },
            BlindChange::Add { field: "n".into(), by: -1 },
            BlindChange::Merge(Bytes::from_static(br#"{"a":{"b":1,"c":null},"m":null}"#)),
        ];
        let value = apply_blind(Some(br#"{"n":1,"a":{"c":2}}"#), &changes).expect("applies");
        let value: Value = serde_json::from_slice(&value).expect("JSON");
        assert_eq!(value, serde_json::json!({"n": 3, "a": {"b": 1}}));
    }

    #[test]
    fn what_cannot_be_applied_is_refused() {
        let add = [BlindChange::Add { field: "n".into(), by: 1 }];
        assert!(apply_blind(Some(b"[]"), &add).is_err());
        assert!(apply_blind(Some(br#"{"n":"one"}"#), &add).is_err());
        assert!(apply_blind(Some(format!(r#"{{"n":{}}}"#, i64::MAX).as_bytes()), &add).is_err());
    }
}
