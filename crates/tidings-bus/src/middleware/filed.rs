//! Middleware as it is registered: by type or by pattern, until a plan asks for it.

use std::{any::Any, sync::Arc};

use tidings_core::{Envelope, Event, Pattern};

use super::{
    MiddlewareInfo,
    layer::{ByEnvelope, Decoding, ForEnvelopes, Layer, Middleware},
};
use crate::about::About;

/// A middleware of which it has been forgotten whom it is for.
pub(crate) trait Filed: Send + Sync {
    fn about(&self) -> &About;

    fn info(&self) -> MiddlewareInfo;

    /// Whether it is for events of this name.
    fn concerns(&self, name: &str) -> bool;

    /// The schema version it is for, if it is for one.
    fn version(&self) -> Option<u32>;

    /// The `Arc<Middleware<E>>` it is.
    fn typed(&self) -> &dyn Any;

    /// As one for envelopes.
    fn enveloped(&self) -> Arc<dyn Layer<Envelope>>;
}

impl dyn Filed {
    /// As one for events of type `E`, if it is for events of that name and version.
    pub(crate) fn layer<E: Event>(&self) -> Option<Arc<dyn Layer<E>>> {
        if !self.concerns(E::INFO.name) {
            return None;
        }
        match self.typed().downcast_ref::<Arc<Middleware<E>>>() {
            Some(own) => Some(own.clone()),
            None if self.version().is_some_and(|version| version != E::INFO.version) => None,
            None => Some(Arc::new(ByEnvelope(self.enveloped()))),
        }
    }
}

/// For one type.
pub(crate) struct OfType<E>(pub(crate) Arc<Middleware<E>>);

impl<E: Event> Filed for OfType<E> {
    fn about(&self) -> &About {
        &self.0.about
    }

    fn info(&self) -> MiddlewareInfo {
        self.0.info()
    }

    fn concerns(&self, name: &str) -> bool {
        name == E::INFO.name
    }

    fn version(&self) -> Option<u32> {
        Some(E::INFO.version)
    }

    fn typed(&self) -> &dyn Any {
        &self.0
    }

    fn enveloped(&self) -> Arc<dyn Layer<Envelope>> {
        Arc::new(Decoding(self.0.clone()))
    }
}

/// For all names that match a pattern.
pub(crate) struct OfPattern(pub(crate) Pattern, pub(crate) Arc<Middleware<Envelope>>);

impl Filed for OfPattern {
    fn about(&self) -> &About {
        &self.1.about
    }

    fn info(&self) -> MiddlewareInfo {
        self.1.info()
    }

    fn concerns(&self, name: &str) -> bool {
        self.0.matches(name)
    }

    fn version(&self) -> Option<u32> {
        None
    }

    fn typed(&self) -> &dyn Any {
        &self.1
    }

    fn enveloped(&self) -> Arc<dyn Layer<Envelope>> {
        Arc::new(ForEnvelopes(self.1.clone()))
    }
}
