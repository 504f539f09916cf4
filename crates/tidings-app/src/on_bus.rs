//! Handlers of an application that run on its bus, and the way from its bus to those that are buffered.

use std::{cell::Cell, sync::Arc};

use tidings_core::{Envelope, Failure, Pattern, Place, Registration, Text};
use tidings_policy::Guard;
use tidings_runtime::{BufferedHandler, Callee, From};

use crate::{BuildError, app::Inner};

thread_local! {
    /// Set while the application itself emits: it has handed the event to the buffered handlers already.
    static TOLD: Cell<bool> = const { Cell::new(false) };
}

/// Emits an event that buffered handlers have got, or get, another way.
pub(crate) fn emit(app: &Inner, event: &Envelope) {
    let before = TOLD.replace(true);
    app.bus.emit_envelope(event);
    TOLD.set(before);
}

/// The name of a handler that is no durable subscription: of its module and its function.
pub(crate) fn name(module: &str, registration: &Registration) -> Text {
    Text::from(format!("{module}/{}", registration.function))
}

/// Puts a handler where it is to run.
pub(crate) fn place(
    app: &Arc<Inner>,
    name: Text,
    registration: Registration,
    guard: Guard,
) -> Result<(), BuildError> {
    if let Some(batches) = &registration.batches {
        // They are gathered in memory wherever they are not durable.
        return crate::batches::attach(app, &name, &registration, batches);
    }
    let Registration { event, handler, fallback, .. } = registration.clone();
    let callee = Callee::new(name.clone(), event, handler, fallback, app.outside.clone());
    match registration.place.clone() {
        Place::Buffered { pool, ordered } => {
            let patterns = registration.patterns().unwrap_or_default();
            let handler = BufferedHandler { patterns, pool, ordered, callee, guard };
            let added = app.buffered.add(handler);
            added.map_err(|error| BuildError { faults: vec![format!("handler {name}: {error}")] })?;
            bridge(app, &registration)
        }
        _ => attach(app, &registration, app.direct.add(callee, guard)),
    }
}

/// Has a handler called for every event of the bus that it selects.
fn attach(
    app: &Arc<Inner>,
    registration: &Registration,
    handler: tidings_runtime::DirectId,
) -> Result<(), BuildError> {
    for pattern in registration.patterns().unwrap_or_default() {
        let weak = Arc::downgrade(app);
        let listener = move |envelope: Envelope| {
            let app = weak.upgrade();
            async move {
                match app {
                    Some(app) => {
                        let call = app.direct.call(handler, &envelope, &app.closing);
                        app.calls.track_future(call).await
                    }
                    None => Ok(()),
                }
            }
        };
        let guard = app.bus.subscribe_async(pattern.as_str(), listener);
        guard.map_err(|error| BuildError { faults: vec![error.to_string()] })?.forever();
    }
    Ok(())
}

/// Has events that somebody emits on the bus go to the buffered handlers that select them. An emission does not wait: where
/// there is no room, that is an error of a listener.
fn bridge(app: &Arc<Inner>, registration: &Registration) -> Result<(), BuildError> {
    for pattern in registration.patterns().unwrap_or_default() {
        {
            let mut bridged = app.bridged.write();
            if bridged.iter().any(|other| other.as_str() == pattern.as_str()) {
                continue;
            }
            bridged.push(pattern.clone());
        }
        let (weak, pattern_text) = (Arc::downgrade(app), pattern.as_str().to_owned());
        let listener = move |envelope: &Envelope| {
            if TOLD.get() {
                return Ok(());
            }
            let Some(app) = weak.upgrade() else { return Ok(()) };
            // Several patterns may select one event; it goes to its handlers once.
            let mine = |first: &Pattern| first.as_str() == pattern.as_str();
            if !app.bridged.read().iter().find(|one| one.matches(envelope.name())).is_some_and(mine) {
                return Ok(());
            }
            let taken = app.buffered.publish_now(envelope, From::Outside);
            taken.map(drop).map_err(|full| Failure::transient(full.to_string()))
        };
        let selected = pattern_text.clone();
        let guard = app.bus.subscribe(&selected, listener);
        guard.map_err(|error| BuildError { faults: vec![error.to_string()] })?.forever();
    }
    Ok(())
}
