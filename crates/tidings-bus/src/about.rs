//! What is known of a listener besides its function: who it is, where it stands, and whether it may still be called.

use std::{
    fmt,
    panic::Location,
    sync::{Arc, Weak},
};

use tidings_core::{Pattern, Text};

use crate::{
    rank::Rank,
    stats::{Calls, Meter},
    sync::{AtomicBool, Ordering},
};

/// Under what a listener is registered.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The name of an event type.
    Name(&'static str),
    /// The name that an event type has in a namespace.
    FullName(Text),
    /// A pattern over names.
    Pattern(Pattern),
    /// The middleware, for this name or pattern.
    Middleware(Text),
    /// The error channel.
    Errors,
}

impl Place {
    /// The name or pattern.
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::FullName(name) | Self::Middleware(name) => name,
            Self::Pattern(pattern) => pattern.as_str(),
            Self::Errors => "the error channel",
        }
    }
}

/// Who a listener is: what it listens to and where it was registered. For people and reports, never an identity.
#[derive(Clone, PartialEq, Eq)]
pub struct Listener {
    place: Place,
    function: &'static str,
    location: &'static Location<'static>,
}

impl Listener {
    pub(crate) fn new(place: Place, function: &'static str, location: &'static Location<'static>) -> Self {
        Self { place, function, location }
    }

    /// The name or pattern it listens to.
    pub fn topic(&self) -> &str {
        self.place.name()
    }

    /// The Rust path of its function.
    pub fn function(&self) -> &'static str {
        self.function
    }

    /// The source file and line in which it was registered.
    pub fn location(&self) -> &'static Location<'static> {
        self.location
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}:{}", self.topic(), self.location.file(), self.location.line())
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Listener({self})")
    }
}

/// A listener without its function. It is small, so that listeners lie close together: for emitting, what it says is out
/// of the way.
pub(crate) struct About {
    ended: AtomicBool,
    rest: Box<Rest>,
}

struct Rest {
    rank: Rank,
    listener: Listener,
    target: Option<Box<dyn Target>>,
    calls: Option<Calls>,
    on_end: Option<Arc<dyn Fn() + Send + Sync>>,
    namespace: Option<Text>,
    relay: bool,
}

impl About {
    pub(crate) fn new(rank: Rank, listener: Listener) -> Self {
        let rest =
            Rest { rank, listener, target: None, calls: None, on_end: None, namespace: None, relay: false };
        Self { ended: AtomicBool::new(false), rest: Box::new(rest) }
    }

    /// The same, of a listener whose calls are counted, if there is something to count them.
    pub(crate) fn counted(mut self, meter: Option<&Arc<Meter>>) -> Self {
        self.rest.calls = meter.map(|meter| meter.calls(self.rest.rank, &self.rest.listener));
        self
    }

    /// The same, of a listener that is pointless without `target`.
    pub(crate) fn for_target<T: ?Sized + Send + Sync + 'static>(mut self, target: Weak<T>) -> Self {
        self.rest.target = Some(Box::new(target));
        self
    }

    /// The same, of a listener for which something is to be done when it is taken out.
    pub(crate) fn on_end(mut self, on_end: impl Fn() + Send + Sync + 'static) -> Self {
        self.rest.on_end = Some(Arc::new(on_end));
        self
    }

    /// The same, of a listener that was registered in a namespace.
    pub(crate) fn in_namespace(mut self, prefix: Option<Text>) -> Self {
        self.rest.namespace = prefix;
        self
    }

    /// The same, of a listener that only hands events on to another place.
    pub(crate) fn relaying(mut self, relay: bool) -> Self {
        self.rest.relay = relay;
        self
    }

    /// Whether it only hands events on to another place.
    pub(crate) fn is_relay(&self) -> bool {
        self.rest.relay
    }

    /// Whether it was registered in this namespace, or in one inside it.
    pub(crate) fn is_in(&self, prefix: &str) -> bool {
        let behind = self.rest.namespace.as_deref().and_then(|own| own.strip_prefix(prefix));
        behind.is_some_and(|behind| behind.is_empty() || behind.starts_with('.'))
    }

    /// What is to be done now that it has been taken out.
    pub(crate) fn farewell(&self) -> Option<Farewell> {
        self.rest.on_end.clone().map(Farewell)
    }

    /// Whether it is not to be called any more.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether it would be called if an event came now.
    pub(crate) fn is_live(&self) -> bool {
        !self.is_ended() && !self.is_orphaned()
    }

    /// Whether it is for a target that may go.
    pub(crate) fn has_target(&self) -> bool {
        self.rest.target.is_some()
    }

    /// Whether the target it is for is gone.
    pub(crate) fn is_orphaned(&self) -> bool {
        self.rest.target.as_ref().is_some_and(|target| target.is_gone())
    }

    /// Ends it: from now on no call begins. Answers whether this call was the one that ended it; of any number of
    /// threads that ask at once exactly one is told so.
    pub(crate) fn end(&self) -> bool {
        !self.ended.swap(true, Ordering::AcqRel)
    }

    pub(crate) fn rank(&self) -> Rank {
        self.rest.rank
    }

    pub(crate) fn listener(&self) -> &Listener {
        &self.rest.listener
    }

    /// What counts its calls, where there are statistics.
    pub(crate) fn calls(&self) -> Option<&Calls> {
        self.rest.calls.as_ref()
    }
}

/// What is to be done when a listener has been taken out; done by dropping it, which happens outside the bus's lock.
/// That the listener itself is dropped may be later: an [`Emitter`](crate::Emitter) keeps it until its next use.
pub(crate) struct Farewell(Arc<dyn Fn() + Send + Sync>);

impl Drop for Farewell {
    fn drop(&mut self) {
        (self.0)();
    }
}

/// What a weak listener is for.
trait Target: Send + Sync {
    fn is_gone(&self) -> bool;
}

impl<T: ?Sized + Send + Sync> Target for Weak<T> {
    fn is_gone(&self) -> bool {
        self.strong_count() == 0
    }
}
