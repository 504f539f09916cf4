//! The model of a running application: what it is made of now, and the copy of it in the store.
//!
//! Whatever changes it does so here at once; a task of its own writes it down, and tries again when the store does not
//! answer, so that nobody who takes a handler away or changes a policy waits for a disk.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use bytes::Bytes;
use parking_lot::RwLock;
use tidings_core::{Commit, DocumentChange, DocumentKey, DocumentWrite};
use tidings_store::{AnyStore, Error};
use tokio::sync::watch;

use crate::{MODELS, Model, app::Inner};

/// When a model is written again that could not be.
const AGAIN: Duration = Duration::from_secs(1);

/// The model, and whether the store has it.
pub(crate) struct Models {
    now: RwLock<Arc<Model>>,
    /// Counts changes.
    changed: watch::Sender<u64>,
    /// The number of the change that is in the store.
    written: watch::Sender<u64>,
    /// One writes at a time, so that an older model never comes after a newer one.
    writing: tokio::sync::Mutex<()>,
}

impl Models {
    pub fn new(model: Model) -> Self {
        Self {
            now: RwLock::new(Arc::new(model)),
            changed: watch::channel(1).0,
            written: watch::channel(0).0,
            writing: tokio::sync::Mutex::default(),
        }
    }

    pub fn now(&self) -> Arc<Model> {
        self.now.read().clone()
    }

    /// Changes it, unless `change` says no.
    pub fn change<T, E>(&self, change: impl FnOnce(&mut Model) -> Result<T, E>) -> Result<T, E> {
        let mut now = self.now.write();
        let mut model = Model::clone(&now);
        let answer = change(&mut model)?;
        if model != **now {
            *now = Arc::new(model);
            self.changed.send_modify(|count| *count += 1);
        }
        Ok(answer)
    }

    /// Writes it down, if the store does not have it yet.
    pub async fn write(&self, store: &AnyStore) -> Result<(), Error> {
        let _writing = self.writing.lock().await;
        let number = *self.changed.borrow();
        if *self.written.borrow() >= number {
            return Ok(());
        }
        let model = self.now();
        let value = serde_json::to_vec(&*model).map_err(|error| Error::Refused(error.to_string()))?;
        let write = DocumentWrite {
            key: DocumentKey::new(MODELS, model.name.as_str()),
            change: DocumentChange::Put(Bytes::from(value)),
            indexed: Arc::from([]),
            expected: None,
        };
        store.apply(Commit { documents: vec![write], ..Commit::default() }).await?;
        self.written.send_replace(number);
        Ok(())
    }

    /// Waits until the store has everything that has changed so far.
    pub async fn is_written(&self) {
        let number = *self.changed.borrow();
        let mut written = self.written.subscribe();
        // Its sender lives as long as this.
        let _ = written.wait_for(|written| *written >= number).await;
    }
}

/// Writes down what changes, until the application ends.
pub(crate) async fn run(app: Weak<Inner>) {
    let Some((mut changed, closing)) =
        app.upgrade().map(|app| (app.models.changed.subscribe(), app.closing.clone()))
    else {
        return;
    };
    loop {
        changed.borrow_and_update();
        let wrote = match app.upgrade() {
            None => return,
            Some(app) => match &app.store {
                Some(store) => app.models.write(store).await,
                None => return,
            },
        };
        let again = match &wrote {
            Ok(()) => None,
            Err(error) => {
                tracing::warn!(%error, "the model in the store is not what the application is made of now");
                Some(tokio::time::sleep(AGAIN))
            }
        };
        tokio::select! {
            () = closing.cancelled() => return,
            () = async { match again { Some(again) => again.await, None => std::future::pending().await } } => {}
            next = changed.changed() => if next.is_err() { return },
        }
    }
}
