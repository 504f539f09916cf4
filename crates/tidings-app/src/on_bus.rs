//! Handlers of an application that run on its bus.
//!
//! They see an event after it is durable. What they publish and write through their context is committed when they
//! return `Ok`; a crash between the event and the handler loses the call. Whoever needs more says `.durable("…")`.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    BoxFuture, Call, Change, Commit, Cx, DeliveryInfo, DocumentChange, DocumentKey, DocumentRead,
    DocumentWrite, Documents, Effects, Envelope, Failure, Handled, Loaded, NoDocuments, OrFail, Refused,
    Registration, Subscriber, Tenant, Text, Wish,
};
use tidings_store::{AnyStore, Error};

use crate::{BuildError, app::Inner};

/// How often a handler runs again because a document it had read was changed by somebody.
pub(crate) const CONFLICTS_MAX: u32 = 5;

pub(crate) fn attach(app: &Arc<Inner>, module: &str, registration: Registration) -> Result<(), BuildError> {
    if let Some(batches) = &registration.batches {
        return crate::batches::attach(app, module, &registration, batches);
    }
    let patterns = registration.patterns().unwrap_or_default();
    let name = Text::from(format!("{module}/{}", registration.function));
    for pattern in patterns {
        let (weak, registration, name) = (Arc::downgrade(app), registration.clone(), name.clone());
        let listener = move |envelope: Envelope| {
            let (app, registration, name) = (weak.upgrade(), registration.clone(), name.clone());
            async move {
                match app {
                    Some(app) => app.calls.track_future(deliver(&app, &registration, &name, envelope)).await,
                    None => Ok(()),
                }
            }
        };
        let guard = app.bus.subscribe_async(pattern.as_str(), listener);
        guard.map_err(|error| BuildError { faults: vec![error.to_string()] })?.forever();
    }
    Ok(())
}

async fn deliver(app: &Inner, registration: &Registration, name: &Text, envelope: Envelope) -> Handled {
    let mut attempt = 1;
    loop {
        let failure = match once(app, registration, name, &envelope, attempt).await {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        // Half of the jitter's range: a bus has no seed, and nothing that has to be spread over nodes.
        let wait = if failure.is_permanent() { None } else { registration.policy.wait_after(attempt, 0.5) };
        let wait = match failure.wish() {
            Some(Wish::Later(wait)) => {
                attempt -= 1;
                Some(wait)
            }
            Some(Wish::Again(wished)) => wait.map(|_| wished),
            None => wait,
        };
        let Some(wait) = wait else { return Err(failure) };
        attempt += 1;
        tokio::select! {
            () = app.clock.sleep(wait) => {}
            () = app.closing.cancelled() => return Err(failure),
        }
    }
}

async fn once(
    app: &Inner,
    registration: &Registration,
    name: &Text,
    envelope: &Envelope,
    attempt: u32,
) -> Handled {
    let mut conflicts = 0;
    loop {
        let info = DeliveryInfo { attempt, ..DeliveryInfo::new(envelope.clone()) };
        let tenant = envelope.tenant().map_or_else(Tenant::default, |tenant| Tenant(tenant.clone()));
        let subscriber = subscriber(app, name, tenant.clone());
        let (cx, open) = Cx::open(info, Arc::new(subscriber));
        let timeout: Duration = registration.policy.call_timeout();
        match (registration.handler)(envelope, cx) {
            Call::Done(result) => result?,
            Call::Waiting(future) => tokio::select! {
                result = future => result?,
                () = app.clock.sleep(timeout) => {
                    return Err(Failure::transient(format!("no answer within {timeout:?}")));
                }
            },
        }
        let effects = open.close().map_err(|refused| match refused {
            Refused::Failure(failure) => failure,
            Refused::Loop => Failure::permanent("it publishes in a loop"),
        })?;
        match carry_out(app, tenant, effects).await {
            Err(Error::DocumentChanged { .. }) if conflicts < CONFLICTS_MAX => conflicts += 1,
            other => return Ok(other?),
        }
    }
}

/// For whom handlers on the bus are called.
pub(crate) fn subscriber(app: &Inner, name: &Text, tenant: Tenant) -> Subscriber {
    let documents: Arc<dyn Documents> = match &app.store {
        Some(store) => Arc::new(Direct(store.clone())),
        None => Arc::new(NoDocuments),
    };
    Subscriber {
        tenant,
        payload_bytes_max: app.payload_bytes_max,
        clock: app.clock.clone(),
        documents,
        ..Subscriber::new(name.clone(), app.source.clone())
    }
}

pub(crate) async fn carry_out(app: &Inner, tenant: Tenant, effects: Effects) -> Result<(), Error> {
    if effects.events.is_empty() && effects.writes.is_empty() {
        return Ok(());
    }
    let Some(store) = &app.store else {
        // No store, no delay: an application without one has nowhere to keep it.
        if effects.events.iter().any(|event| event.due.is_some()) {
            return Err(Error::Refused("an event for later needs a store".into()));
        }
        for event in &effects.events {
            app.bus.emit_envelope(&event.envelope);
        }
        return Ok(());
    };
    let mut commit = Commit { tenant, ..Commit::default() };
    let mut published = Vec::new();
    for event in effects.events {
        match event.due {
            None => {
                commit.push_event(event.envelope.clone());
                published.push(event.envelope);
            }
            Some(due) => commit.due.push(crate::publish::scheduled(&event.envelope, due)?),
        }
    }
    commit.reads = effects
        .reads
        .iter()
        .map(|(key, version)| DocumentRead { key: key.clone(), version: *version })
        .collect();
    for write in effects.writes {
        let change = match write.change {
            Change::Delete => DocumentChange::Delete,
            Change::Blind(changes) => DocumentChange::Blind(changes),
            Change::Put(value) => {
                DocumentChange::Put(value.json().map_err(|failure| Error::Refused(failure.describe()))?)
            }
        };
        let indexed = write.indexed.iter().map(|field| Text::from(*field)).collect();
        commit.documents.push(DocumentWrite { key: write.key, change, indexed, expected: None });
    }
    store.apply(commit).await?;
    for event in published {
        app.bus.emit_envelope(&event);
    }
    Ok(())
}

/// Documents straight from the store; the version is the stamp.
struct Direct(AnyStore);

impl Documents for Direct {
    fn cached(&self, _: &Tenant, _: &DocumentKey) -> Option<Loaded> {
        None
    }

    fn load<'a>(&'a self, tenant: &'a Tenant, key: &'a DocumentKey) -> BoxFuture<'a, Handled<Loaded>> {
        Box::pin(async move {
            let found = self.0.document(tenant, key).await.transient()?;
            let stamp = found.as_ref().map_or(0, |document| document.version);
            let value = found.map(|document| tidings_core::DocumentValue::Json(document.value));
            Ok(Loaded { value, stamp })
        })
    }
}
