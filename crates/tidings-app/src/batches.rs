//! Handlers of batches in memory: on the bus, or behind the queue of a pool. What gathers them is in the runtime.

use std::{sync::Arc, time::Duration};

use parking_lot::RwLock;
use tidings_core::{Batches, Place, Ran, Registration, Text};
use tidings_policy::BatchGuards;
use tidings_runtime::{BatchHandler, Callee, Gatherer};

use crate::{
    BuildError, FlowLeft,
    app::Inner,
    on_bus::{self, Placed},
};

/// The handlers of batches of an application that run in memory.
#[derive(Debug, Default)]
pub(crate) struct Gatherers(RwLock<Vec<Gatherer>>);

impl Gatherers {
    pub fn all(&self) -> Vec<Gatherer> {
        self.0.read().clone()
    }

    /// The one of this name that runs there.
    pub fn find(&self, name: &str, place: Ran) -> Option<Gatherer> {
        self.0.read().iter().find(|one| **one.name() == *name && one.place() == place).cloned()
    }

    /// From now on nothing stays in an open batch.
    pub fn flush(&self) {
        self.0.read().iter().for_each(Gatherer::flush);
    }

    /// How many deliveries have ended: as long as this has not changed, none has had an effect.
    pub fn ended(&self) -> u64 {
        self.0.read().iter().map(Gatherer::ended).sum()
    }

    /// Waits until none of those that run there, or anywhere, holds anything.
    pub async fn idle(&self, place: Option<Ran>) {
        for gatherer in self.all().iter().filter(|one| place.is_none_or(|place| one.place() == place)) {
            gatherer.idle().await;
        }
    }

    /// Ends all at once; answers about those that had something left.
    pub async fn close(&self, within: Duration) -> Vec<FlowLeft> {
        let all = std::mem::take(&mut *self.0.write());
        let closing = all.into_iter().map(|gatherer| async move {
            let outputs = gatherer.close(within).await;
            FlowLeft { name: gatherer.name().to_string(), outputs, given_up: 0 }
        });
        let left = futures_util::future::join_all(closing).await;
        left.into_iter().filter(|left| left.outputs > 0).collect()
    }
}

/// Puts a handler of batches where it is to run.
pub(crate) fn place(
    app: &Arc<Inner>,
    name: Text,
    registration: &Registration,
    batches: Batches,
    guards: BatchGuards,
) -> Result<Placed, BuildError> {
    let fault = |what: String| BuildError { faults: vec![format!("handler {name}: {what}")] };
    let Registration { event, handler, fallback, .. } = registration.clone();
    let callee = Arc::new(Callee::new(name.clone(), event, handler, fallback, app.outside.clone()));
    let patterns = registration.patterns().unwrap_or_default();
    let gatherer = match &registration.place {
        Place::Buffered { pool, ordered } => {
            let handler = BatchHandler { callee, batches, ordered: *ordered, guards };
            let added = app.buffered.add_batches(patterns, pool, handler);
            let (_, gatherer) = added.map_err(|error| fault(error.to_string()))?;
            on_bus::bridge(app, registration)?;
            gatherer
        }
        _ => {
            let handler = BatchHandler { callee, batches, ordered: true, guards };
            let gatherer = Gatherer::on_bus(handler, app.buffered.ground());
            let gatherer = gatherer.map_err(|error| fault(error.to_string()))?;
            for pattern in patterns {
                let guard = app.bus.subscribe(pattern.as_str(), gatherer.listener());
                guard.map_err(|error| fault(error.to_string()))?.forever();
            }
            gatherer
        }
    };
    app.gatherers.0.write().push(gatherer);
    Ok(Placed::Batches)
}
