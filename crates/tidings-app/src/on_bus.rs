//! Handlers of an application that run on its bus, and the way from its bus to those that are buffered.

use std::sync::Arc;

use tidings_bus::Guard as Guarded;
use tidings_core::{Envelope, Failure, Pattern, Place, Registration, Text};
use tidings_policy::{BatchGuards, Guard};
use tidings_runtime::{BufferedHandler, Callee, DirectId, From, HandlerId};

use crate::{BuildError, app::Inner};

/// The name of a handler that is no durable subscription: of its module and what it is called there, or its function.
pub(crate) fn name(module: &str, registration: &Registration) -> Text {
    Text::from(format!("{module}/{}", registration.name.as_deref().unwrap_or(registration.function)))
}

/// What surrounds the calls of a handler.
#[derive(Debug)]
pub(crate) enum Guards {
    One(Guard),
    OfBatches(BatchGuards),
}

/// A handler in its place.
#[derive(Debug)]
pub(crate) enum Placed {
    Bus(DirectId, Vec<Guarded>),
    Buffered(HandlerId),
    /// It ends with the application.
    Batches,
}

impl Placed {
    /// It stays as long as the application.
    pub fn forever(self) {
        if let Self::Bus(_, listeners) = self {
            listeners.into_iter().for_each(Guarded::forever);
        }
    }
}

/// Puts a handler where it is to run.
pub(crate) fn place(
    app: &Arc<Inner>,
    name: Text,
    registration: Registration,
    guards: Guards,
) -> Result<Placed, BuildError> {
    let guard = match (guards, registration.batches.clone()) {
        (Guards::OfBatches(guards), Some(batches)) => {
            return crate::batches::place(app, name, &registration, batches, guards);
        }
        (Guards::OfBatches(guards), None) => guards.each,
        (Guards::One(guard), _) => guard,
    };
    let Registration { event, handler, fallback, .. } = registration.clone();
    let callee = Callee::new(name.clone(), event, handler, fallback, app.outside.clone());
    match registration.place.clone() {
        Place::Buffered { pool, ordered } => {
            let patterns = registration.patterns().unwrap_or_default();
            let handler = BufferedHandler { patterns, pool, ordered, callee, guard };
            let added = app.buffered.add(handler);
            let added =
                added.map_err(|error| BuildError { faults: vec![format!("handler {name}: {error}")] })?;
            bridge(app, &registration)?;
            Ok(Placed::Buffered(added))
        }
        _ => {
            let handler = app.direct.add(callee, guard);
            Ok(Placed::Bus(handler, attach(app, &registration, handler)?))
        }
    }
}

/// Has a handler called for every event of the bus that it selects.
fn attach(
    app: &Arc<Inner>,
    registration: &Registration,
    handler: DirectId,
) -> Result<Vec<Guarded>, BuildError> {
    let mut listeners = Vec::new();
    for pattern in registration.patterns().unwrap_or_default() {
        let weak = Arc::downgrade(app);
        let listener = move |envelope: Envelope| {
            // Counted from now on: a shutdown waits for a call that has not begun, too.
            let app = weak.upgrade().map(|app| (app.calls.token(), app));
            async move {
                match &app {
                    Some((_, app)) => app.direct.call(handler, &envelope, &app.closing).await,
                    None => Ok(()),
                }
            }
        };
        let guard = app.bus.subscribe_async(pattern.as_str(), listener);
        listeners.push(guard.map_err(|error| BuildError { faults: vec![error.to_string()] })?);
    }
    Ok(listeners)
}

/// Has events that somebody emits on the bus go to the buffered handlers that select them, as a relay: what the application
/// has published there already it emits as relayed. An emission does not wait: where there is no room, that is an error of
/// a listener.
pub(crate) fn bridge(app: &Arc<Inner>, registration: &Registration) -> Result<(), BuildError> {
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
            let Some(app) = weak.upgrade() else { return Ok(()) };
            // Several patterns may select one event; it goes to its handlers once.
            let mine = |first: &Pattern| first.as_str() == pattern.as_str();
            if !app.bridged.read().iter().find(|one| one.matches(envelope.name())).is_some_and(mine) {
                return Ok(());
            }
            // While the application ends, only handlers and flows that finish emit anything: publishing is refused.
            let from = if app.closing.is_cancelled() { From::Handler } else { From::Outside };
            let taken = app.buffered.publish_now(envelope, from);
            taken.map(drop).map_err(|full| Failure::transient(full.to_string()))
        };
        let selected = pattern_text.clone();
        let guard = app.bus.listen().relay().subscribe(&selected, listener);
        guard.map_err(|error| BuildError { faults: vec![error.to_string()] })?.forever();
    }
    Ok(())
}
