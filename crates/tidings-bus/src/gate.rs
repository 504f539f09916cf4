//! What an event must be like for a listener to be given it at all.

use tidings_core::Failure;

use crate::{Fault, Filter, about::About, emission::Emission};

/// Decides whether a listener is called. Asked first whether the event [passes](Gate::passes), then, when nothing else is
/// in the way, whether this call [is its](Gate::claim).
pub(crate) trait Gate<T: ?Sized>: Send + Sync {
    /// Whether the event is one for the listener.
    fn passes(&self, event: &T, emission: &Emission<'_>, about: &About) -> bool;

    /// Whether the listener may be called. A yes is used up by the call.
    fn claim(&self, emission: &Emission<'_>, about: &About) -> bool;
}

/// Every event, every time. Apart from [`Chosen`], so that a listener without conditions does not pay for asking.
pub(crate) struct Always;

impl<T: ?Sized> Gate<T> for Always {
    #[inline]
    fn passes(&self, _: &T, _: &Emission<'_>, _: &About) -> bool {
        true
    }

    #[inline]
    fn claim(&self, _: &Emission<'_>, _: &About) -> bool {
        true
    }
}

/// A condition on the event, in Rust.
pub(crate) type Predicate<T> = Box<dyn Fn(&T) -> bool + Send + Sync>;

/// Events that meet every condition, every time or once.
pub(crate) struct Chosen<T: ?Sized> {
    calls: Calls,
    predicates: Vec<Predicate<T>>,
    filters: Vec<Filter>,
    /// Not those that went to another place already.
    relay: bool,
}

/// How often a listener is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Calls {
    Every,
    Once,
}

impl<T: ?Sized> Chosen<T> {
    /// No condition yet.
    pub(crate) fn new() -> Self {
        Self { calls: Calls::Every, predicates: Vec::new(), filters: Vec::new(), relay: false }
    }

    /// Whether this is [`Always`].
    pub(crate) fn is_always(&self) -> bool {
        self.calls == Calls::Every && self.predicates.is_empty() && self.filters.is_empty() && !self.relay
    }

    pub(crate) fn once(&mut self) {
        self.calls = Calls::Once;
    }

    pub(crate) fn relay(&mut self) {
        self.relay = true;
    }

    pub(crate) fn is_relay(&self) -> bool {
        self.relay
    }

    pub(crate) fn predicate(&mut self, predicate: Predicate<T>) {
        self.predicates.push(predicate);
    }

    pub(crate) fn filter(&mut self, filter: Filter) {
        self.filters.push(filter);
    }
}

impl<T: ?Sized> Gate<T> for Chosen<T> {
    fn passes(&self, event: &T, emission: &Emission<'_>, about: &About) -> bool {
        let asked = |filter: &Filter| {
            let envelope = emission.envelope().map_err(Failure::clone)?;
            filter.passes(envelope, &|| emission.json())
        };
        let unreadable = |failure| {
            emission.failed(about, Fault::Unreadable(failure));
            false
        };
        let been_there = self.relay && emission.is_relayed();
        // One that was to be called once, and was, must not even be asked.
        !been_there
            && !about.is_ended()
            && self.predicates.iter().all(|holds| holds(event))
            && self.filters.iter().all(|filter| asked(filter).unwrap_or_else(unreadable))
    }

    /// A `once` listener is gone before its call: of all that have found it live, whoever ends it may call it.
    fn claim(&self, emission: &Emission<'_>, about: &About) -> bool {
        if self.calls == Calls::Every {
            return true;
        }
        let mine = about.end();
        if mine {
            emission.core().detach(about.listener().place(), about.rank());
        }
        mine
    }
}
