//! Listeners that are pointless without a target and do not keep it alive: to patterns, and asynchronous ones.

use std::{future::Future, panic::Location, sync::Arc};

use tidings_core::{Envelope, Event, IntoHandled, On, TopicError};

use crate::{
    Bus, Guard, Listen,
    about::Place,
    emission::Emission,
    listen::{Written, deferred, in_place},
};

impl Bus {
    /// Calls `listener` with `target` in a task for each event of its type, as long as somebody else keeps `target`; a
    /// call that has begun keeps it until it ends.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// use tidings_core::On;
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let (bus, total) = (Bus::new(), Arc::new(AtomicU64::new(0)));
    /// let placed = Arc::new(OrderPlaced { order: "1".into(), total_cents: 300 });
    /// async fn add(total: Arc<AtomicU64>, placed: On<OrderPlaced>) {
    ///     total.fetch_add(placed.total_cents, Ordering::Relaxed);
    /// }
    /// bus.on_weak_async(&total, add).forever();
    /// assert_eq!(bus.emit_shared_async(placed.clone()).await.heard, 1);
    /// assert_eq!(total.load(Ordering::Relaxed), 300);
    /// drop(total);
    /// assert_eq!(bus.emit_shared_async(placed).await.heard, 0);
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn on_weak_async<T, E, Fut>(
        &self,
        target: &Arc<T>,
        listener: impl Fn(Arc<T>, On<E>) -> Fut + Send + Sync + 'static,
    ) -> Guard
    where
        T: ?Sized + Send + Sync + 'static,
        E: Event,
        Fut: Future<Output: IntoHandled> + Send + 'static,
    {
        self.listen().on_weak_async(target, listener)
    }

    /// Calls `listener` with `target` for every event whose name matches `pattern`, as long as somebody else keeps
    /// `target`.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// use tidings_core::Envelope;
    /// let (bus, names) = (Bus::new(), Arc::new(Mutex::new(Vec::new())));
    /// let note = |names: &Mutex<Vec<String>>, any: &Envelope| names.lock().unwrap().push(any.name().to_string());
    /// bus.subscribe_weak(&names, "order.**", note)?.forever();
    /// let placed = OrderPlaced { order: "1".into(), total_cents: 300 };
    /// assert_eq!((bus.emit(&placed), names.lock().unwrap().len()), (1, 1));
    /// drop(names);
    /// assert_eq!(bus.emit(&placed), 0);
    /// # Ok::<(), tidings_core::TopicError>(())
    /// ```
    #[track_caller]
    pub fn subscribe_weak<T, R>(
        &self,
        target: &Arc<T>,
        pattern: &str,
        listener: impl Fn(&T, &Envelope) -> R + Send + Sync + 'static,
    ) -> Result<Guard, TopicError>
    where
        T: ?Sized + Send + Sync + 'static,
        R: IntoHandled,
    {
        self.listen().subscribe_weak(target, pattern, listener)
    }
}

impl<E: Event> Listen<'_, E> {
    /// Calls `listener` with `target` in a task, as long as somebody else keeps that. The subscription does not keep it
    /// alive, and ends with it; a call that has begun keeps it until it ends.
    #[track_caller]
    pub fn on_weak_async<T, Fut>(
        self,
        target: &Arc<T>,
        listener: impl Fn(Arc<T>, On<E>) -> Fut + Send + Sync + 'static,
    ) -> Guard
    where
        T: ?Sized + Send + Sync + 'static,
        Fut: Future<Output: IntoHandled> + Send + 'static,
    {
        let written = Written::by(&listener, Location::caller());
        let target = Arc::downgrade(target);
        let about = self.about(Place::Name(E::INFO.name), written).for_target(target.clone());
        let guard = self.guard(&about);
        let prepare = move |emission: &Emission<'_>| {
            let Some(target) = target.upgrade() else { return Ok(None) };
            Ok(Some((target, emission.on::<E>()?)))
        };
        let call = move |(target, on): (Arc<T>, On<E>)| listener(target, on);
        self.bus.attach_typed(self.replay, deferred(about, self.chosen, prepare, call));
        guard
    }
}

impl Listen<'_, Envelope> {
    /// Calls `listener` in place with `target` for every event whose name matches `pattern`, as long as somebody else
    /// keeps `target`. The subscription does not keep it alive, and ends with it.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    #[track_caller]
    pub fn subscribe_weak<T, R>(
        self,
        target: &Arc<T>,
        pattern: &str,
        listener: impl Fn(&T, &Envelope) -> R + Send + Sync + 'static,
    ) -> Result<Guard, TopicError>
    where
        T: ?Sized + Send + Sync + 'static,
        R: IntoHandled,
    {
        let pattern = self.pattern(pattern)?;
        let written = Written::by(&listener, Location::caller());
        let target = Arc::downgrade(target);
        let about = self.about(Place::Pattern(pattern.clone()), written).for_target(target.clone());
        let guard = self.guard(&about);
        let function = move |any: &Envelope| Some(listener(&*target.upgrade()?, any).into_handled());
        self.bus.core().attach_pattern(&pattern, in_place(about, self.chosen, function));
        Ok(guard)
    }
}
