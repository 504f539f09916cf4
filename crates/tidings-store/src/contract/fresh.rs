//! What a factory hands to the suite.

use std::{fmt, time::Duration};

use tidings_core::{BoxFuture, ManualClock};

use crate::AnyStore;

/// Closes a store and opens it again, as a restart of the process would.
pub type Reopen = Box<dyn Fn(AnyStore) -> BoxFuture<'static, AnyStore> + Send + Sync>;

/// A new, empty store, with the clock it was opened on.
///
/// What the store lives in (a directory, a database) is kept alive by the `reopen` closure or by the store itself.
#[non_exhaustive]
pub struct Fresh {
    /// The store; it has the default [`Limits`](crate::Limits).
    pub store: AnyStore,
    /// The clock the store reads.
    pub clock: ManualClock,
    /// How to close the store and open it again; none for a store that does not outlive its process.
    pub reopen: Option<Reopen>,
    /// How long to wait for what a store does by itself, such as a beat, before it counts as missing.
    pub patience: Duration,
}

impl Fresh {
    /// A store that cannot be reopened.
    pub fn new(store: AnyStore, clock: ManualClock) -> Self {
        Self { store, clock, reopen: None, patience: Duration::from_secs(10) }
    }

    /// The same with a way to close and reopen it.
    #[must_use]
    pub fn reopening(
        self,
        reopen: impl Fn(AnyStore) -> BoxFuture<'static, AnyStore> + Send + Sync + 'static,
    ) -> Self {
        Self { reopen: Some(Box::new(reopen)), ..self }
    }

    /// The same with another patience.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Closes and reopens the store if it can be; tells whether it was.
    pub(super) async fn restart(&mut self) -> bool {
        let Some(reopen) = &self.reopen else { return false };
        self.store = reopen(self.store.clone()).await;
        true
    }
}

impl fmt::Debug for Fresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fresh")
            .field("store", &self.store)
            .field("clock", &self.clock)
            .field("reopens", &self.reopen.is_some())
            .finish_non_exhaustive()
    }
}
