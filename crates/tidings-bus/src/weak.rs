//! Listeners that are pointless without a target and do not keep it alive, to patterns.

use std::{panic::Location, sync::Arc};

use tidings_core::{Envelope, IntoHandled, TopicError};

use crate::{
    Bus, Guard, Listen,
    about::Place,
    listen::{Written, in_place},
};

impl Bus {
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
