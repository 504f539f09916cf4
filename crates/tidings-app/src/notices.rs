//! What the platform does, told as events under `tidings.**`: on the bus only, never in the log.

use std::sync::{Arc, OnceLock, Weak};

use tidings_core::Envelope;
use tidings_durable::Published;
use tidings_runtime::{From, Notice};

use crate::app::Inner;

/// Who tells; it has nobody to tell until the application is there.
#[derive(Clone, Default)]
pub(crate) struct Notices(Arc<OnceLock<Weak<Inner>>>);

impl Notices {
    pub fn begin(&self, app: Weak<Inner>) {
        // It is told once, by the builder.
        let _ = self.0.set(app);
    }

    pub fn of_runtime(&self) -> Arc<dyn Fn(Notice) + Send + Sync> {
        let me = self.clone();
        Arc::new(move |notice| me.emit(&notice))
    }

    pub fn of_policies(&self) -> Arc<dyn Fn(tidings_policy::Notice) + Send + Sync> {
        let me = self.clone();
        Arc::new(move |notice| me.emit(&Notice::Policy(notice)))
    }

    /// Tells what durable handlers have published, once it is durable.
    pub fn of_published(&self) -> Published {
        let me = self.clone();
        Arc::new(move |events| {
            let Some(app) = me.0.get().and_then(Weak::upgrade) else { return };
            for event in events {
                if let Err(full) = app.tell(event, From::Handler) {
                    tracing::warn!(id = %event.id(), %full, "an event that a handler published does not reach buffered handlers");
                }
            }
        })
    }

    fn emit(&self, notice: &Notice) {
        let Some(app) = self.0.get().and_then(Weak::upgrade) else { return };
        let body = notice.body().to_string().into_bytes();
        let envelope = Envelope::build(notice.name()).source(app.source.clone()).json(body).finish();
        if let Ok(envelope) = envelope {
            app.bus.emit_envelope(&envelope);
        }
    }
}
