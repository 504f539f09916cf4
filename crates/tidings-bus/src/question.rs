//! Questions and what becomes of them: the words of request and reply.

use std::{fmt, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use tidings_core::{Event, Failure};

use crate::Fault;

/// How long an answer is waited for unless said otherwise.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// An event that wants an answer: that something was asked is a fact too.
///
/// The answer and the error belong to the question, so that who asks and who responds cannot mean different types. They
/// travel as JSON.
///
/// ```
/// use tidings_bus::Question;
/// # use serde::{Deserialize, Serialize};
/// # use tidings_core::{Event, EventInfo};
/// #[derive(Serialize, Deserialize)]
/// struct PriceAsked { item: String }
/// # impl Event for PriceAsked {
/// #     const INFO: &'static EventInfo = &EventInfo { name: "price.asked", version: 1, fields: &[] };
/// # }
/// #[derive(Serialize, Deserialize)]
/// enum NoPrice { UnknownItem, OutOfStock }
///
/// impl Question for PriceAsked {
///     type Answer = u64;
///     type Error = NoPrice;
/// }
/// ```
pub trait Question: Event {
    /// What is answered.
    type Answer: Serialize + DeserializeOwned + Send + 'static;

    /// What is answered when there is no answer. For questions that always have one, `()`.
    type Error: Serialize + DeserializeOwned + Send + 'static;
}

/// Why a request has no answer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum RequestError<E> {
    /// Nobody responds to this question here.
    Unheard,
    /// No answer came within this time. A responder may still be at work; what it answers is ignored.
    TimedOut(Duration),
    /// Nobody who took the question can answer any more: this is what happened to the last of them.
    Failed(Fault),
    /// The responder answered with its own error.
    Refused(E),
    /// The question cannot be written, or the reply not be read as the type that is expected.
    Unreadable(Failure),
    /// No answer can come any more, because all subscriptions of the bus were removed.
    Ended,
}

impl<E> fmt::Display for RequestError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unheard => f.write_str("nobody responds to this question"),
            Self::TimedOut(span) => write!(f, "no answer came within {span:?}"),
            Self::Failed(fault) => write!(f, "the responder failed: {fault}"),
            Self::Refused(_) => f.write_str("the responder answered with an error"),
            Self::Unreadable(failure) => write!(f, "the reply cannot be read: {failure}"),
            Self::Ended => f.write_str("the wait for an answer was ended"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for RequestError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(error) => Some(error),
            _ => None,
        }
    }
}
