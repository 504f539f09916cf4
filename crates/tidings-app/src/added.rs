//! Handlers that come and go while the application runs.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use tidings_core::{Place, Ran, Subscribe, Text};

use crate::{
    App, BuildError,
    app::Inner,
    build,
    on_bus::{self, Placed},
};

/// A handler that was added while the application ran.
#[must_use = "the handler goes when this is dropped: keep it, or say `.forever()`"]
pub struct Added {
    app: Weak<Inner>,
    name: Text,
    placed: Option<Placed>,
}

impl fmt::Debug for Added {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Added").field("name", &self.name).finish_non_exhaustive()
    }
}

impl App {
    /// Adds a handler on the bus, or a buffered one, while the application runs: it gets the events that are published
    /// afterwards. It is in the [model](Self::model) as long as it is there, under `module`, which is the first part of its
    /// name, whether or not the application was built with one that is called so.
    ///
    /// # Errors
    /// Everything that is wrong with it; that another handler has its name; and that it is durable or takes batches, which
    /// is said before the application is built.
    pub fn add<Shape>(&self, module: &str, handler: impl Subscribe<Shape>) -> Result<Added, BuildError> {
        let registration = handler.registration();
        let name = on_bus::name(module, &registration);
        if registration.batches.is_some() || matches!(registration.place, Place::Durable { .. }) {
            let fault =
                format!("handler {name}: one that is durable or takes batches is there from the start");
            return Err(BuildError { faults: vec![fault] });
        }
        let (mut faults, handlers) = (Vec::new(), [(name, registration)]);
        build::checked(&handlers, &mut faults);
        let guard = build::guards(&handlers, &self.0.around, &mut faults).pop();
        let [(name, registration)] = handlers;
        match guard {
            Some(guard) if faults.is_empty() => {
                let config = self.0.buffered.config();
                let joined = self.0.models.change(|model| model.join(module, &registration, &config));
                joined.map_err(|fault| BuildError { faults: vec![fault] })?;
                let placed = on_bus::place(&self.0, name.clone(), registration, guard)
                    .inspect_err(|_| self.0.left(&name))?;
                let ran = if matches!(placed, Placed::Buffered(_)) { Ran::Buffered } else { Ran::Bus };
                self.0.desk.join(name.clone(), ran);
                Ok(Added { app: Arc::downgrade(&self.0), name, placed: Some(placed) })
            }
            _ => Err(BuildError { faults }),
        }
    }
}

impl Added {
    /// The handler's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The handler stays as long as the application.
    pub fn forever(mut self) {
        if let Some(placed) = self.placed.take() {
            placed.forever();
        }
    }

    /// Takes the handler away, as dropping this does. Calls that run end; what waits for it in a pool is dropped,
    /// counted, and its publishers are told.
    pub fn remove(self) {
        drop(self);
    }
}

impl Drop for Added {
    fn drop(&mut self) {
        let (Some(app), Some(placed)) = (self.app.upgrade(), self.placed.take()) else { return };
        app.desk.leave(&self.name);
        match placed {
            Placed::Bus(handler, listeners) => {
                drop(listeners);
                app.direct.remove(handler);
            }
            Placed::Buffered(handler) => {
                app.buffered.remove(handler);
            }
            Placed::Batches => {}
        }
        // Last: from now on another may have its name.
        app.left(&self.name);
    }
}

impl Inner {
    /// A handler that came while the application ran is not in the model any more.
    fn left(&self, name: &str) {
        let Ok(()) = self.models.change(|model| {
            model.leave(name);
            Ok::<(), std::convert::Infallible>(())
        });
    }
}
