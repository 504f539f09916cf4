//! Documents as handlers see them: typed, decoded once, serialised when they are written.

use std::{any::Any, fmt, sync::Arc};

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use crate::{Failure, Handled, OrFail};

/// A view: documents of one kind, kept by the platform and written by handlers through their commit.
///
/// ```
/// use tidings_core::View;
/// const CUSTOMERS: View = View::new("customers").indexed(&["city"]);
/// assert_eq!(CUSTOMERS.name(), "customers");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct View {
    name: &'static str,
    indexed: &'static [&'static str],
}

impl View {
    /// A view of this name. Names beginning with `$` are the platform's own and are refused when used.
    pub const fn new(name: &'static str) -> Self {
        Self { name, indexed: &[] }
    }

    /// Keeps an index on these top-level fields, so that documents can be listed by them.
    #[must_use]
    pub const fn indexed(self, fields: &'static [&'static str]) -> Self {
        Self { indexed: fields, ..self }
    }

    /// The name, which is the namespace of its documents.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The top-level fields an index is kept on.
    pub const fn index(&self) -> &'static [&'static str] {
        self.indexed
    }
}

/// A document's value: JSON bytes, or a typed value that becomes JSON when it is written.
#[derive(Clone)]
pub enum DocumentValue {
    /// JSON.
    Json(Bytes),
    /// A typed value.
    Typed(Arc<dyn TypedDocument>),
}

/// A typed value that can be written as JSON; implemented for everything that serialises.
pub trait TypedDocument: Send + Sync {
    /// The value, to be downcast.
    fn shared(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
    /// The value as JSON.
    ///
    /// # Errors
    /// When its `Serialize` fails.
    fn to_json(&self) -> Result<Bytes, serde_json::Error>;
}

impl<T: Serialize + Send + Sync + 'static> TypedDocument for T {
    fn shared(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }

    fn to_json(&self) -> Result<Bytes, serde_json::Error> {
        serde_json::to_vec(self).map(Bytes::from)
    }
}

impl DocumentValue {
    /// A typed value.
    pub fn typed<T: Serialize + Send + Sync + 'static>(value: T) -> Self {
        Self::Typed(Arc::new(value))
    }

    /// The value as `T`: shared when it already is one, else decoded.
    ///
    /// # Errors
    /// A permanent failure when the JSON is no `T`.
    pub fn get<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Handled<Arc<T>> {
        match self {
            Self::Json(bytes) => serde_json::from_slice(bytes).map(Arc::new).permanent(),
            Self::Typed(value) => match value.clone().shared().downcast::<T>() {
                Ok(value) => Ok(value),
                Err(_) => serde_json::from_slice(&self.json()?).map(Arc::new).permanent(),
            },
        }
    }

    /// The value as JSON.
    ///
    /// # Errors
    /// A permanent failure when a typed value's `Serialize` fails.
    pub fn json(&self) -> Handled<Bytes> {
        match self {
            Self::Json(bytes) => Ok(bytes.clone()),
            Self::Typed(value) => value.to_json().map_err(|error| {
                Failure::permanent(format!("a document cannot be written as JSON: {error}"))
            }),
        }
    }
}

impl fmt::Debug for DocumentValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(bytes) => write!(f, "{} bytes of JSON", bytes.len()),
            Self::Typed(_) => f.write_str("a typed value"),
        }
    }
}
