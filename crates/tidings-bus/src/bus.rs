//! The bus: its handle, and how listeners join and leave. How events are emitted is beside it, in `emit`.

use std::{fmt, future::Future, panic::Location, sync::Arc};

use tidings_core::{Envelope, Event, IntoHandled, On, TopicError};

use crate::{
    Builder, Guard, Listen, Listener, ListenerFailed,
    about::{About, Place},
    core::Core,
    errors::ErrorListener,
    rank::End,
};

/// An in-process bus: a cheap handle to share.
///
/// A bus lives as long as a handle to it, an [`Emitter`](crate::Emitter) of it, or a call of one of its asynchronous
/// listeners. A listener that captures a handle to the bus it listens to keeps it alive until the subscription ends.
///
/// ```
/// use tidings_bus::{Bus, example::OrderPlaced};
/// let bus = Bus::new();
/// let watch = bus.on(|placed: &OrderPlaced| assert_eq!(placed.order, "4711"));
/// let all = bus.subscribe("order.**", |any| assert_eq!(&**any.name(), "order.placed"))?;
/// let heard = bus.emit(&OrderPlaced { order: "4711".into(), total_cents: 300 });
/// assert_eq!(heard, 2);
/// # drop((watch, all));
/// # Ok::<(), tidings_core::TopicError>(())
/// ```
#[derive(Clone)]
pub struct Bus(Arc<Core>);

impl Bus {
    /// A bus with the machine's clock, which runs asynchronous listeners in the tokio runtime it finds.
    pub fn new() -> Self {
        Builder::default().build()
    }

    /// Begins a bus that is to be different.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn of(core: Core) -> Self {
        Self(Arc::new(core))
    }

    pub(crate) fn core(&self) -> &Arc<Core> {
        &self.0
    }

    /// Begins a subscription with something to say besides its listener.
    pub fn listen<T: ?Sized + 'static>(&self) -> Listen<'_, T> {
        Listen::new(self)
    }

    /// Calls `listener` for each event of its type, in place and by reference, after the listeners that are there. It
    /// may return nothing or a [`Handled`](tidings_core::Handled).
    #[track_caller]
    pub fn on<E: Event, R: IntoHandled>(&self, listener: impl Fn(&E) -> R + Send + Sync + 'static) -> Guard {
        self.listen().on(listener)
    }

    /// The same, before the listeners of the same priority that are there.
    ///
    /// ```
    /// use std::sync::{Arc, Mutex};
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// let (bus, said) = (Bus::new(), Arc::new(Mutex::new(String::new())));
    /// let (one, two) = (said.clone(), said.clone());
    /// bus.on(move |_: &OrderPlaced| one.lock().unwrap().push_str("world")).forever();
    /// bus.prepend(move |_: &OrderPlaced| two.lock().unwrap().push_str("hello ")).forever();
    /// bus.emit(&OrderPlaced { order: "4711".into(), total_cents: 300 });
    /// assert_eq!(*said.lock().unwrap(), "hello world");
    /// ```
    #[track_caller]
    pub fn prepend<E: Event, R: IntoHandled>(
        &self,
        listener: impl Fn(&E) -> R + Send + Sync + 'static,
    ) -> Guard {
        self.listen().first().on(listener)
    }

    /// Calls `listener` for the next event of its type and never again, however many threads emit at once and whatever
    /// is emitted inside the call.
    ///
    /// ```
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// let bus = Bus::new();
    /// let (told, hear) = std::sync::mpsc::channel();
    /// bus.once(move |placed: &OrderPlaced| told.send(placed.total_cents).expect("waited for")).forever();
    /// assert_eq!(bus.emit(&OrderPlaced { order: "1".into(), total_cents: 300 }), 1);
    /// assert_eq!(bus.emit(&OrderPlaced { order: "2".into(), total_cents: 500 }), 0);
    /// assert_eq!(hear.iter().collect::<Vec<_>>(), [300]);
    /// ```
    #[track_caller]
    pub fn once<E: Event, R: IntoHandled>(&self, listener: impl FnOnce(&E) -> R + Send + 'static) -> Guard {
        self.listen().on_once(listener)
    }

    /// Calls `listener` with `target` for each event of its type, as long as somebody else keeps `target`.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// let (bus, total) = (Bus::new(), Arc::new(AtomicU64::new(0)));
    /// let placed = OrderPlaced { order: "1".into(), total_cents: 300 };
    /// let add = |total: &AtomicU64, placed: &OrderPlaced| {
    ///     total.fetch_add(placed.total_cents, Ordering::Relaxed);
    /// };
    /// bus.on_weak(&total, add).forever();
    /// assert_eq!((bus.emit(&placed), total.load(Ordering::Relaxed)), (1, 300));
    /// drop(total);
    /// assert_eq!(bus.emit(&placed), 0);
    /// ```
    #[track_caller]
    pub fn on_weak<T, E, R>(
        &self,
        target: &Arc<T>,
        listener: impl Fn(&T, &E) -> R + Send + Sync + 'static,
    ) -> Guard
    where
        T: ?Sized + Send + Sync + 'static,
        E: Event,
        R: IntoHandled,
    {
        self.listen().on_weak(target, listener)
    }

    /// Calls `listener` in a task for each event of its type. Whoever [emits](Self::emit) does not wait for it, and no
    /// order between the calls for different events is promised; [`emit_async`](Self::emit_async) waits.
    ///
    /// ```
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// use tidings_core::{Handled, On};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// async fn send_receipt(placed: On<OrderPlaced>) -> Handled {
    ///     assert_eq!(placed.total_cents, 300);
    ///     Ok(())
    /// }
    /// let bus = Bus::new();
    /// bus.on_async(send_receipt).forever();
    /// let report = bus.emit_async(OrderPlaced { order: "1".into(), total_cents: 300 }).await;
    /// assert_eq!((report.heard, report.failed.len()), (1, 0));
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn on_async<E, Fut>(&self, listener: impl Fn(On<E>) -> Fut + Send + Sync + 'static) -> Guard
    where
        E: Event,
        Fut: Future<Output: IntoHandled> + Send + 'static,
    {
        self.listen().on_async(listener)
    }

    /// Calls `listener` in place for every event whose name matches `pattern`: `*` is one segment, `**` any number.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    ///
    /// ```
    /// let bus = tidings_bus::Bus::new();
    /// assert_eq!(bus.subscribe("order.**placed", |_| ()).unwrap_err().column, 7);
    /// ```
    #[track_caller]
    pub fn subscribe<R: IntoHandled>(
        &self,
        pattern: &str,
        listener: impl Fn(&Envelope) -> R + Send + Sync + 'static,
    ) -> Result<Guard, TopicError> {
        self.listen().subscribe(pattern, listener)
    }

    /// Calls `listener` in a task for every event whose name matches `pattern`.
    ///
    /// # Errors
    /// The pattern is invalid; the error tells the column.
    #[track_caller]
    pub fn subscribe_async<Fut>(
        &self,
        pattern: &str,
        listener: impl Fn(Envelope) -> Fut + Send + Sync + 'static,
    ) -> Result<Guard, TopicError>
    where
        Fut: Future<Output: IntoHandled> + Send + 'static,
    {
        self.listen().subscribe_async(pattern, listener)
    }

    /// Calls `listener` in place for every event, whatever its name: the pattern `**` in a word.
    ///
    /// ```
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// let bus = Bus::new();
    /// let watch = bus.any(|any| println!("{}", any.name()));
    /// assert_eq!(bus.emit(&OrderPlaced { order: "4711".into(), total_cents: 300 }), 1);
    /// # drop(watch);
    /// ```
    #[track_caller]
    pub fn any<R: IntoHandled>(&self, listener: impl Fn(&Envelope) -> R + Send + Sync + 'static) -> Guard {
        self.listen().any(listener)
    }

    /// Calls `listener` in a task for every event, whatever its name.
    ///
    /// ```
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = Bus::new();
    /// bus.any_async(async |any| assert_eq!(&**any.name(), "order.placed")).forever();
    /// let report = bus.emit_async(OrderPlaced { order: "4711".into(), total_cents: 300 }).await;
    /// assert_eq!((report.heard, report.failed.len()), (1, 0));
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn any_async<Fut>(&self, listener: impl Fn(Envelope) -> Fut + Send + Sync + 'static) -> Guard
    where
        Fut: Future<Output: IntoHandled> + Send + 'static,
    {
        self.listen().any_async(listener)
    }

    /// Calls `listener` when another listener has failed or panicked, or could not be called. While there is no such
    /// listener, failures are logged.
    ///
    /// What fails *because of* such a call is logged and not reported: in the call itself, in what it emits, and in
    /// asynchronous listeners that this starts. So the error channel cannot feed itself.
    ///
    /// ```
    /// use tidings_bus::{Bus, Fault, example::OrderPlaced};
    /// let bus = Bus::new();
    /// bus.errors(|failed| {
    ///     assert_eq!(&**failed.event(), "order.placed");
    ///     assert!(matches!(failed.fault(), Fault::Panicked(message) if &**message == "no more boxes"));
    /// })
    /// .forever();
    /// fn pack(_: &OrderPlaced) {
    ///     panic!("no more boxes")
    /// }
    /// bus.on(pack).forever();
    /// assert_eq!(bus.emit(&OrderPlaced { order: "4711".into(), total_cents: 300 }), 1);
    /// ```
    #[track_caller]
    pub fn errors<R: IntoHandled>(
        &self,
        listener: impl Fn(&ListenerFailed) -> R + Send + Sync + 'static,
    ) -> Guard {
        let who = Listener::new(Place::Errors, std::any::type_name_of_val(&listener), Location::caller());
        let about = About::new(self.0.ranks.next(0, End::Last), who);
        let guard = Guard::new(Arc::downgrade(&self.0), Place::Errors, about.rank());
        let function = Box::new(move |failed: &ListenerFailed| listener(failed).into_handled());
        self.0.attach_errors(Arc::new(ErrorListener::new(about, function)));
        guard
    }

    /// How many listeners an event of this name reaches, those to patterns included.
    pub fn listener_count(&self, name: &str) -> usize {
        self.0.locked(|state, _| state.count(name))
    }

    /// The names and patterns that are listened to, sorted.
    pub fn names(&self) -> Vec<String> {
        self.0.locked(|state, _| state.listened_to())
    }

    /// Ends every subscription to exactly this name or pattern; answers how many.
    pub fn remove(&self, name_or_pattern: &str) -> usize {
        self.0.locked(|state, waste| state.detach_named(name_or_pattern, waste))
    }

    /// Ends every subscription to events; answers how many. The error channel keeps its listeners.
    pub fn remove_all(&self) -> usize {
        self.0.locked(|state, waste| state.detach_all(waste))
    }
}

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("names", &self.names()).finish_non_exhaustive()
    }
}
