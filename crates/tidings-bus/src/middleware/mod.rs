//! Middleware: functions that see an event before its listeners, and may change or cancel it.
//!
//! What it is: how middleware is said and registered. How it is filed is in [`filed`], how it
//! is put into [plans](crate::plan) in [`layer`]; that it is called is the work of [`Around`](crate::around). A plan whose event
//! no middleware concerns is what it would be if there were no middleware at all.

mod filed;
mod layer;
mod replacement;

use std::{panic::Location, sync::Arc};

use serde::{Deserialize, Serialize};
use tidings_core::{Envelope, Event, Pattern, TopicError};

pub(crate) use self::{
    filed::Filed,
    layer::{Layer, Passed},
    replacement::Replacement,
};
use self::{
    filed::{OfPattern, OfType},
    layer::Middleware,
};
use crate::{Bus, Guard, Listen, listen::Written};

/// What a middleware has decided about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a decision that is not returned decides nothing"]
pub enum Verdict<T> {
    /// It goes on as it is.
    Pass,
    /// This goes on in its place.
    Change(T),
    /// It ends here: no listener is called, and whoever emitted is told that nobody was.
    Cancel,
}

/// One middleware, as [`Bus::middlewares`] lists it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MiddlewareInfo {
    /// The name or pattern it is for.
    pub topic: String,
    /// The Rust path of its function.
    pub function: String,
    /// The source file in which it was registered.
    pub file: String,
    /// The line in it.
    pub line: u32,
    /// How many events it has changed.
    pub changed: u64,
    /// How many events were cancelled by it, or because it failed.
    pub cancelled: u64,
}

impl Bus {
    /// Lets `function` see each event of its type before the listeners do, to let it pass, change it or cancel it, until
    /// the guard is dropped.
    ///
    /// Middleware stands in one order, like listeners: by [priority](Listen::priority), then by registration. The first
    /// is outermost: it sees an event as it was emitted, the next what that one has made of it, and listeners what the
    /// last one has. It works for every way of emitting, and without a copy where events are emitted by reference and
    /// pass. What is emitted in an envelope is decoded for it, if it has the type's schema version; what it makes of
    /// that keeps the envelope's id and other metadata.
    ///
    /// A middleware that panics, or for which the event cannot be decoded, cancels it, since what it was to keep away
    /// must not come through because it is broken; the error channel is told.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use tidings_bus::{Bus, Verdict, example::OrderPlaced};
    /// let (bus, seen) = (Bus::new(), Arc::new(Mutex::new(Vec::new())));
    /// let all = seen.clone();
    /// bus.on(move |placed: &OrderPlaced| all.lock().unwrap().push(placed.total_cents)).forever();
    /// let rules = bus.middleware(|placed: &OrderPlaced| match placed.total_cents {
    ///     0 => Verdict::Cancel,
    ///     1..1_000 => Verdict::Change(OrderPlaced { total_cents: 1_000, ..placed.clone() }),
    ///     _ => Verdict::Pass,
    /// });
    /// let order = |total_cents| OrderPlaced { order: "4711".into(), total_cents };
    /// assert_eq!([0, 300, 5_000].map(|cents| bus.emit(&order(cents))), [0, 1, 1]);
    /// drop(rules);
    /// bus.emit(&order(0));
    /// assert_eq!(*seen.lock().unwrap(), [1_000, 5_000, 0]);
    /// ```
    #[track_caller]
    pub fn middleware<E: Event>(&self, function: impl Fn(&E) -> Verdict<E> + Send + Sync + 'static) -> Guard {
        self.listen().middleware(function)
    }

    /// The same for every event whose name matches `pattern`. Where events are emitted by reference, an envelope is
    /// made of each. The name of an event cannot be changed: who tries has failed, and the event is cancelled.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    ///
    /// ```
    /// use tidings_bus::{Bus, Verdict, example::OrderPlaced};
    /// let bus = Bus::new();
    /// bus.middleware_on("order.**", |any| Verdict::Change(any.edit().user("mia").trusted()))?.forever();
    /// bus.any(|any| assert_eq!(any.user().map(|user| &**user), Some("mia"))).forever();
    /// assert_eq!(bus.emit(&OrderPlaced { order: "4711".into(), total_cents: 300 }), 1);
    /// # Ok::<(), tidings_core::TopicError>(())
    /// ```
    #[track_caller]
    pub fn middleware_on(
        &self,
        pattern: &str,
        function: impl Fn(&Envelope) -> Verdict<Envelope> + Send + Sync + 'static,
    ) -> Result<Guard, TopicError> {
        self.listen().middleware_on(pattern, function)
    }

    /// The middleware there is, the outermost first.
    pub fn middlewares(&self) -> Vec<MiddlewareInfo> {
        self.core().locked(|state, _| state.middleware().map(|filed| filed.info()).collect())
    }
}

impl<E: Event> Listen<'_, E> {
    /// As [`Bus::middleware`]. Events that do not meet the conditions pass; [`once`](Self::once) means one event.
    #[track_caller]
    pub fn middleware(self, function: impl Fn(&E) -> Verdict<E> + Send + Sync + 'static) -> Guard {
        let (written, core) = (Written::by(&function, Location::caller()), self.bus().core());
        let (about, chosen, guard) = self.for_middleware(E::INFO.name, written);
        let middleware = Middleware::new(about, chosen, Box::new(function));
        core.attach_middleware(Arc::new(OfType(Arc::new(middleware))));
        guard
    }
}

impl Listen<'_, Envelope> {
    /// As [`Bus::middleware_on`]. Events that do not meet the conditions pass; [`once`](Self::once) means one event.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    #[track_caller]
    pub fn middleware_on(
        self,
        pattern: &str,
        function: impl Fn(&Envelope) -> Verdict<Envelope> + Send + Sync + 'static,
    ) -> Result<Guard, TopicError> {
        let pattern = Pattern::parse(pattern)?;
        let (written, core) = (Written::by(&function, Location::caller()), self.bus().core());
        let (about, chosen, guard) = self.for_middleware(pattern.as_str(), written);
        let middleware = Middleware::new(about, chosen, Box::new(function));
        core.attach_middleware(Arc::new(OfPattern(pattern, Arc::new(middleware))));
        Ok(guard)
    }
}
