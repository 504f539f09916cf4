//! Why an event could not be read or written.

use std::fmt;

use super::{ATTRIBUTES_BYTES_MAX, DEPTH_MAX};
use crate::{EnvelopeError, TimeError, TopicError};

/// A stranger chooses the names of attributes; an error quotes this much of one, in characters.
const FIELD_CHARS_MAX: usize = 64;

/// Why an event could not be read: what is wrong, and with which attribute.
///
/// The text never quotes a payload or a free attribute: they may hold what must not be logged.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReadError {
    /// Which event of a batch, from 1.
    pub event: Option<usize>,
    /// The attribute, by its name in CloudEvents; `data` for the payload. `None` where it is about the whole text.
    pub field: Option<String>,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with an attribute or an event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// A required attribute is not there.
    #[error("is missing")]
    Missing,
    /// An attribute is there and empty.
    #[error("must not be empty")]
    Empty,
    /// There is an attribute with an empty name.
    #[error("has an attribute without a name")]
    Nameless,
    /// An attribute is there twice.
    #[error("is there twice")]
    Twice,
    /// An attribute that is a string has another type.
    #[error("must be a string")]
    NotText,
    /// It is another version of CloudEvents; the version, cut to 16 characters.
    #[error("must be \"1.0\", not {0:?}")]
    SpecVersion(String),
    /// The type is no name of an event.
    #[error("is no valid name: {0}")]
    Name(TopicError),
    /// A time is none.
    #[error("is no time: {0}")]
    Time(TimeError),
    /// It is over a limit.
    #[error("has {size} bytes, more than {limit}")]
    TooLong {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Attributes are over their limit together.
    #[error("has more than {ATTRIBUTES_BYTES_MAX} bytes of attributes")]
    TooMuch,
    /// Arrays and objects nest too deep.
    #[error("nests deeper than {DEPTH_MAX} levels")]
    TooDeep,
    /// It is not base64 as RFC 4648 writes it, with padding.
    #[error("is not valid base64")]
    Base64,
    /// There is both `data` and `data_base64`.
    #[error("must not be there together with `data`")]
    TwoPayloads,
    /// The text is not UTF-8.
    #[error("is not valid UTF-8, after {valid} bytes")]
    NotUtf8 {
        /// How many bytes before the fault are valid.
        valid: usize,
    },
    /// The text is not JSON.
    #[error("is not valid JSON: {0}")]
    NotJson(String),
    /// The event is not a JSON object.
    #[error("must be a JSON object")]
    NotAnObject,
    /// The batch is not a JSON array.
    #[error("must be a JSON array of events")]
    NotAnArray,
    /// A header's value has a quote or a percent sign that does not belong there.
    #[error("is not encoded as a header of CloudEvents")]
    Encoding,
    /// There is a header for an attribute that travels elsewhere in the message.
    #[error("must not be a header of its own, but the content type and body of the message")]
    Misplaced,
}

impl ReadError {
    pub(super) fn at(field: &str, problem: Problem) -> Self {
        let field = field.chars().take(FIELD_CHARS_MAX).collect();
        Self { event: None, field: Some(field), problem }
    }

    pub(super) fn whole(problem: Problem) -> Self {
        Self { event: None, field: None, problem }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names come from strangers, and an error is one line.
        match (self.event, self.field.as_ref().map(|field| field.escape_debug())) {
            (Some(event), Some(field)) => write!(f, "`{field}` of event {event} {}", self.problem),
            (Some(event), None) => write!(f, "event {event} {}", self.problem),
            (None, Some(field)) => write!(f, "`{field}` {}", self.problem),
            (None, None) if self.problem == Problem::NotAnArray => write!(f, "a batch {}", self.problem),
            (None, None) => write!(f, "the event {}", self.problem),
        }
    }
}

impl std::error::Error for ReadError {}

/// Why an event could not be written. Nothing is written that could not be read back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// A free attribute is called as a standard one.
    #[error("a free attribute must not be called `{0}`, which is an attribute of every event")]
    Reserved(String),
    /// A free attribute has no name.
    #[error("a free attribute must have a name")]
    Nameless,
    /// A free attribute's name cannot be part of the name of a header.
    #[error("the free attribute `{0}` cannot be a header: use lower-case letters and digits in its name")]
    HeaderName(String),
    /// The content type cannot be the value of a header.
    #[error("the content type cannot be a header: it must be visible ASCII")]
    HeaderValue,
    /// What should be JSON is not; `data` is the payload.
    #[error("`{field}` is not valid JSON: {reason}")]
    NotJson {
        /// The attribute.
        field: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// Arrays and objects nest too deep; `data` is the payload.
    #[error("`{0}` nests deeper than {DEPTH_MAX} levels")]
    TooDeep(String),
    /// The payload should be text and is not UTF-8.
    #[error("the payload is marked as text, but is not valid UTF-8")]
    NotUtf8,
    /// Attributes are over their limit together.
    #[error("the event has more than {ATTRIBUTES_BYTES_MAX} bytes of attributes")]
    TooMuch,
    /// A typed event could not be serialised.
    #[error(transparent)]
    Payload(#[from] EnvelopeError),
    /// An event of a batch cannot be written.
    #[error("event {event} of the batch cannot be written")]
    InBatch {
        /// Which event, from 1.
        event: usize,
        /// Why.
        #[source]
        error: Box<Self>,
    },
}
