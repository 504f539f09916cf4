//! What handlers on the bus and in pools reach: documents of the store, what they publish, the dead letters.
//!
//! They see an event after it is durable. What they publish and write through their context is committed when they
//! return `Ok`; a crash between the event and the handler loses the call. Whoever needs more says `.durable("…")`.

use std::sync::{Arc, Weak};

use tidings_core::{
    BoxFuture, Change, Commit, DocumentChange, DocumentKey, DocumentRead, DocumentWrite, Documents, Effects,
    Envelope, Failure, GivenUp, Handled, Loaded, NoDocuments, OrFail, Subscriber, Tenant, Text,
};
use tidings_runtime::{Carried, From, Outside};
use tidings_store::{AnyStore, Error, ErrorKind};

use crate::app::Inner;

pub(crate) struct AppOutside {
    pub app: Weak<Inner>,
    pub source: Text,
    pub payload_bytes_max: usize,
    pub clock: Arc<dyn tidings_core::Clock>,
    pub documents: Arc<dyn Documents>,
}

impl AppOutside {
    pub fn documents(store: Option<&AnyStore>) -> Arc<dyn Documents> {
        match store {
            Some(store) => Arc::new(Direct(store.clone())),
            None => Arc::new(NoDocuments),
        }
    }
}

impl Outside for AppOutside {
    fn subscriber(&self, name: &Text, tenant: Option<&Text>) -> Arc<Subscriber> {
        Arc::new(Subscriber {
            tenant: tenant.map_or_else(Tenant::default, |tenant| Tenant(tenant.clone())),
            payload_bytes_max: self.payload_bytes_max,
            clock: self.clock.clone(),
            documents: self.documents.clone(),
            ..Subscriber::new(name.clone(), self.source.clone())
        })
    }

    fn carry_out(&self, cause: &Envelope, effects: Effects) -> BoxFuture<'static, Carried> {
        let tenant = cause.tenant().map_or_else(Tenant::default, |tenant| Tenant(tenant.clone()));
        let app = self.app.upgrade();
        Box::pin(async move {
            let Some(app) = app else {
                return Carried::Failed(Failure::transient("the application has ended"));
            };
            carry_out(&app, tenant, effects).await
        })
    }

    fn keep(&self, given_up: GivenUp) -> BoxFuture<'static, Handled> {
        let app = self.app.upgrade();
        Box::pin(async move {
            let Some(app) = app else { return Err(crate::letters::ended()) };
            let model = app.models.now();
            let hidden = crate::letters::hidden(&model, &given_up.envelope);
            app.desk.keep(given_up, &hidden).await
        })
    }
}

/// Does what handlers asked for, all or nothing.
pub(crate) async fn carry_out(app: &Inner, tenant: Tenant, effects: Effects) -> Carried {
    let Some(store) = &app.store else {
        // No store, no delay: an application without one has nowhere to keep it.
        if effects.events.iter().any(|event| event.due.is_some()) {
            return Carried::Refused(Failure::permanent("an event for later needs a store"));
        }
        for event in &effects.events {
            if let Err(full) = app.tell(&event.envelope, From::Handler) {
                return Carried::Failed(Failure::transient(full.to_string()));
            }
        }
        return Carried::Done;
    };
    let (commit, published) = match commit(tenant, effects) {
        Ok(parts) => parts,
        Err(error) => return Carried::Refused(error.into()),
    };
    match store.apply(commit).await {
        Ok(_) => {}
        Err(Error::DocumentChanged { .. }) => return Carried::Conflict,
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Refused) => {
            return Carried::Refused(error.into());
        }
        Err(error) => return Carried::Failed(error.into()),
    }
    for event in published {
        if let Err(full) = app.tell(&event, From::Handler) {
            // It is durable; only the buffered handlers do not get it, and that is counted.
            tracing::warn!(id = %event.id(), %full, "an event that a handler published does not reach buffered handlers");
        }
    }
    Carried::Done
}

fn commit(tenant: Tenant, effects: Effects) -> Result<(Commit, Vec<Envelope>), Error> {
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
    Ok((commit, published))
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
