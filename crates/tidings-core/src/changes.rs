//! What changed between two values, for events that say so.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The fields that differ between two values, with what they were before.
///
/// ```
/// use serde_json::json;
/// use tidings_core::Changes;
/// let changes = Changes::between(&json!({"city": "Delft", "zip": {"code": 1}}), &json!({"city": "Gouda", "zip": {"code": 1}}))?;
/// assert_eq!(changes.changed, ["city"]);
/// assert_eq!(changes.previous["city"], json!("Delft"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Changes {
    /// Paths of the fields that differ, dotted, sorted.
    pub changed: Vec<String>,
    /// What those fields were before; a field that was not there has no entry.
    pub previous: BTreeMap<String, Value>,
}

impl Changes {
    /// Compares two values as they serialise. Objects are compared field by field, anything else as a whole.
    ///
    /// # Errors
    /// A value whose `Serialize` fails.
    pub fn between<A: Serialize, B: Serialize>(before: &A, after: &B) -> Result<Self, serde_json::Error> {
        let mut changes = Self::default();
        changes.walk(
            String::new(),
            Some(&serde_json::to_value(before)?),
            Some(&serde_json::to_value(after)?),
        );
        changes.changed.sort();
        Ok(changes)
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    fn walk(&mut self, path: String, before: Option<&Value>, after: Option<&Value>) {
        if let (Some(Value::Object(a)), Some(Value::Object(b))) = (before, after) {
            let names = a.keys().chain(b.keys().filter(|name| !a.contains_key(*name)));
            for name in names {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                self.walk(below, a.get(name), b.get(name));
            }
        } else if before != after {
            if let Some(before) = before {
                self.previous.insert(path.clone(), before.clone());
            }
            self.changed.push(path);
        }
    }
}
