//! What the error channel carries.

use std::{any::Any, fmt, panic::AssertUnwindSafe, sync::Arc};

use tidings_core::{Envelope, Failure, Kind, Text, Timestamp};

use crate::{Listener, rank::Rank};

/// Why a listener failed, or could not be called.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// It returned a failure.
    #[error("{0}")]
    Failed(Failure),
    /// It panicked, with this message.
    #[error("it panicked: {0}")]
    Panicked(Text),
    /// It was not called, because the event could not be given to it: it cannot be written as JSON, or not be read as
    /// the type that the listener takes.
    #[error("it was not called: {0}")]
    Unreadable(Failure),
    /// It is asynchronous and was not called, because there is no runtime to run it.
    #[error(
        "it was not called: it is asynchronous, and there is no runtime here, at its registration or in the bus"
    )]
    NoRuntime,
    /// It is asynchronous and was not called, because this many calls that nobody awaits are running already.
    #[error("it was not called: {0} asynchronous calls are running already")]
    TooManyInFlight(usize),
    /// It was dropped before it had ended: its runtime stopped, or whoever awaited it did, or its time was up.
    #[error("it was dropped before it had ended")]
    Dropped,
}

impl Fault {
    /// Whether calling the listener again can help. After a panic it may: what led to it need not last.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Failed(failure) | Self::Unreadable(failure) => failure.kind(),
            Self::Panicked(_) | Self::TooManyInFlight(_) | Self::Dropped => Kind::Transient,
            Self::NoRuntime => Kind::Permanent,
        }
    }

    /// The fault of a listener that panicked.
    pub(crate) fn panicked(payload: Box<dyn Any + Send>) -> Self {
        let message = Self::message(&*payload);
        // What was thrown may throw again when it is dropped; then it is leaked, for the third time may be no better.
        if let Err(second) = std::panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        Self::Panicked(message)
    }

    /// What somebody said who panicked.
    pub(crate) fn message(payload: &(dyn Any + Send)) -> Text {
        match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
            (Some(text), _) => Text::from(*text),
            (_, Some(text)) => Text::from(text.as_str()),
            _ => Text::from("with a value that is no text"),
        }
    }
}

/// A listener failed: what the error channel is told.
///
/// A cheap handle. Its `Display` and `Debug` show metadata and the error, never the event's payload.
#[derive(Clone)]
pub struct ListenerFailed(Arc<Inner>);

struct Inner {
    envelope: Envelope,
    listener: Listener,
    fault: Fault,
    time: Timestamp,
    origin: Origin,
}

/// Where a listener that failed is found again.
#[derive(Clone, Copy)]
pub(crate) struct Origin {
    /// Which bus it is on.
    pub(crate) bus: u64,
    pub(crate) rank: Rank,
    /// Whether the envelope has all that the listener was given.
    pub(crate) whole: bool,
}

impl ListenerFailed {
    pub(crate) fn new(
        envelope: Envelope,
        listener: Listener,
        fault: Fault,
        time: Timestamp,
        origin: Origin,
    ) -> Self {
        Self(Arc::new(Inner { envelope, listener, fault, time, origin }))
    }

    pub(crate) fn origin(&self) -> Origin {
        self.0.origin
    }

    /// The event's name.
    pub fn event(&self) -> &Text {
        self.0.envelope.name()
    }

    /// The event's id. Failures of several listeners with one emitted event tell the same.
    pub fn id(&self) -> &Text {
        self.0.envelope.id()
    }

    /// The event with its metadata and data. If it cannot be written as JSON, the data is absent.
    pub fn envelope(&self) -> &Envelope {
        &self.0.envelope
    }

    /// What went wrong.
    pub fn fault(&self) -> &Fault {
        &self.0.fault
    }

    /// Which listener it was.
    pub fn listener(&self) -> &Listener {
        &self.0.listener
    }

    /// When it was noticed.
    pub fn time(&self) -> Timestamp {
        self.0.time
    }
}

impl fmt::Display for ListenerFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): the listener to {}: {}", self.event(), self.id(), self.listener(), self.fault())
    }
}

impl fmt::Debug for ListenerFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListenerFailed")
            .field("envelope", self.envelope())
            .field("listener", self.listener())
            .field("fault", self.fault())
            .field("time", &self.time())
            .finish()
    }
}
