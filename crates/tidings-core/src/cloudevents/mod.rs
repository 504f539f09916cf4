//! CloudEvents 1.0, both ways and without loss: structured JSON, batches of it, and the binary mode of HTTP.
//!
//! This is pure translation between bytes and [`Envelope`]: no I/O, no HTTP types, no limit on the size of a payload
//! (the place an event is put has that). Whoever takes events in from strangers calls [`read`], [`read_batch`] or
//! [`read_binary`]; whoever hands them out calls [`write`](fn@write), [`write_batch`] or [`write_binary`].
//!
//! ```
//! use tidings_core::cloudevents;
//! let json = r#"{"specversion":"1.0","id":"1","source":"/shop","type":"order.placed","shelf":"B4","data":{"total":3}}"#;
//! let incoming = cloudevents::read(json.as_bytes())?;
//! assert_eq!(&**incoming.envelope.name(), "order.placed");
//! assert_eq!(cloudevents::write(&incoming.envelope, None)?, json.as_bytes());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How our metadata is carried
//!
//! The standard attributes are `id`, `source`, `type` (the name), `subject`, `time`, `datacontenttype`, `dataschema`.
//! The rest are extensions, written only where they differ from their default:
//!
//! | extension | what | type |
//! |---|---|---|
//! | `partitionkey` | the key | string |
//! | `streamname` | the stream, where it is not the default one, or the event is recorded | string |
//! | `schemaversion` | the schema version, where it is not 1 | integer |
//! | `tags` | the tags | a JSON array of strings, as a string, so that any text survives |
//! | `correlationid`, `causationid`, `hops` | the chain it belongs to | string, string, integer |
//! | `userid`, `tenantid` | on whose behalf | string |
//! | `priority` | `low` or `critical` | string |
//! | `expirytime` | the expiry | timestamp |
//! | `traceparent`, `tracestate` | the trace, as W3C writes it | string |
//! | `payloadform` | `json`, `text` or `binary`, where the content type does not already say it | string |
//! | `position`, `streamversion`, `recordedtime` | the [`Place`] of a recorded event | decimal strings, timestamp |
//!
//! Positions are strings, because an Integer of CloudEvents has 32 bits.
//!
//! # What is kept
//!
//! Everything. An extension nobody knows is a free attribute, whatever its JSON type, and also if its name is not made
//! of lower-case letters and digits as the specification wants. An extension with one of the names above whose value
//! is not what we would write there (`"hops": "many"`, `"priority": "normal"`) is a free attribute too, and one that
//! says what ours would in other words (`"hops": "3"`, an `expirytime` with an offset) counts *and* is written back in
//! those words. The envelope's own field always wins over a free attribute of its name. What is not kept: attributes
//! that are `null`, because the specification makes that the same as absent; white space around values and, where a
//! payload has line breaks between its parts, inside it, because an event is written as one line.
//!
//! In binary mode all attributes are strings, so a free attribute that was a number comes back as text; and JSON
//! without a content type gets `application/json`, as the specification wants.

mod assemble;
mod binary;
mod content;
mod draft;
mod error;
mod extension;
mod json;
mod parse;
mod write;

pub use binary::{read_binary, write_binary};
pub use error::{Problem, ReadError, WriteError};
pub use write::{write, write_batch, write_into};

use crate::{Envelope, Position, Text, Timestamp};

/// The media type of one event in JSON.
pub const STRUCTURED: &str = "application/cloudevents+json";

/// The media type of a batch of events in JSON.
pub const BATCHED: &str = "application/cloudevents-batch+json";

/// How deep arrays and objects may nest in an event, its own object counted. A payload within it can be decoded by
/// serde_json, which stops at the same depth.
pub const DEPTH_MAX: usize = 128;

/// The most bytes of content type, data schema and extensions together, names and values: 64 KiB. It bounds what one
/// event can make everybody carry who only routes it.
pub const ATTRIBUTES_BYTES_MAX: usize = 64 << 10;

/// An event that was read.
#[derive(Debug, Clone)]
pub struct Incoming {
    /// The event.
    pub envelope: Envelope,
    /// Where it was recorded, if it comes out of a store. It is no attribute of the event, so that an import of an
    /// export does not carry old positions along.
    pub place: Option<Place>,
}

/// Where an event is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The stream it is in. An event that is read back has this as its own stream where it is not the default one.
    pub stream: Text,
    /// Its place in the whole log, from 1.
    pub position: Position,
    /// Its place in its stream, from 1.
    pub version: u64,
    /// When the store recorded it.
    pub recorded: Timestamp,
}

/// Reads one event in structured JSON.
///
/// # Errors
/// The first thing that is wrong, with the attribute it is about.
pub fn read(json: &[u8]) -> Result<Incoming, ReadError> {
    parse::event(json::utf8(json)?)
}

/// Reads a batch of events, which may be empty. One that is wrong refuses the batch.
///
/// # Errors
/// The first thing that is wrong, with the number of the event and the attribute it is about.
pub fn read_batch(json: &[u8]) -> Result<Vec<Incoming>, ReadError> {
    parse::batch(json::utf8(json)?)
}
