//! What an event must be like for a listener to be given it at all.

use tidings_core::Failure;

use crate::{Fault, Filter, about::About, emission::Emission};

/// Decides whether a listener is given an event of type `T`.
pub(crate) trait Gate<T: ?Sized>: Send + Sync {
    /// Whether it is.
    fn passes(&self, event: &T, emission: &Emission<'_>, about: &About) -> bool;
}

/// Every event passes. Apart from [`Chosen`], so that a listener without conditions does not pay for asking.
pub(crate) struct Always;

impl<T: ?Sized> Gate<T> for Always {
    #[inline]
    fn passes(&self, _: &T, _: &Emission<'_>, _: &About) -> bool {
        true
    }
}

/// A condition on the event, in Rust.
pub(crate) type Predicate<T> = Box<dyn Fn(&T) -> bool + Send + Sync>;

/// Events pass that meet every condition.
pub(crate) struct Chosen<T: ?Sized> {
    predicates: Vec<Predicate<T>>,
    filters: Vec<Filter>,
}

impl<T: ?Sized> Chosen<T> {
    /// No condition yet.
    pub(crate) fn new() -> Self {
        Self { predicates: Vec::new(), filters: Vec::new() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.predicates.is_empty() && self.filters.is_empty()
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
        self.predicates.iter().all(|holds| holds(event))
            && self.filters.iter().all(|filter| asked(filter).unwrap_or_else(unreadable))
    }
}
