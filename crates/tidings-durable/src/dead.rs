//! Dead letters, as they are kept in the store.

use serde::{Deserialize, Serialize};
use tidings_core::{Position, Text, Timestamp, position_text};

use crate::Reason;

/// A delivery that was given up, kept until a person decides: replay or discard.
///
/// The event itself stays in the log at [`position`](Self::position).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// The subscription whose handler failed: where a replay goes, and nowhere else.
    pub subscription: String,
    /// Where the event is in the log.
    pub position: Position,
    /// The event's id.
    pub id: Text,
    /// The event's source.
    pub source: Text,
    /// The event's name.
    pub name: Text,
    /// The event's key, which is parked while this is here.
    pub key: Option<Text>,
    /// The event's stream.
    pub stream: Text,
    /// Why it was given up.
    pub reason: Reason,
    /// What went wrong last.
    pub error: String,
    /// How often the handler was called, over all replays.
    pub attempts: u32,
    /// When it was first tried.
    pub first_at: Timestamp,
    /// When it was given up.
    pub last_at: Timestamp,
    /// The chain of events it belongs to.
    pub correlation: Option<Text>,
    /// For a loop: the names of the events that led to it, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
}

impl DeadLetter {
    /// The id of the document it is kept as.
    pub fn document_id(position: Position) -> Text {
        Text::from(position_text(position))
    }
}

/// Where the dead letters of a subscription are kept.
pub fn dead_namespace(subscription: &str) -> Text {
    Text::from(format!("{DEAD_PREFIX}{subscription}"))
}

/// Namespaces of dead letters begin with this.
pub const DEAD_PREFIX: &str = "$dead/";

/// The top-level fields of a dead letter it can be listed by.
pub const DEAD_FIELDS: [&str; 3] = ["key", "name", "reason"];
