//! Counts that all processes on one store share.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use tidings_core::{Clock, Commit, Counters, DocumentKey, Failure, Handled, Reply, Take, Tenant, Timestamp};
use tidings_store::{AnyStore, Error};

use crate::stored::{document_id, put_until, unavailable};

/// Where counts are kept.
pub const COUNTERS: &str = "$counters";

/// How often a count is tried against others that count at the same time.
const TRIES: usize = 16;

/// Counts in documents: of concurrent commits on one of them one wins, and the others look again. Guards fetch a
/// hundredth of a limit at once, so that few starts ask.
#[derive(Clone)]
pub struct StoreCounters {
    store: AnyStore,
    tenant: Tenant,
    clock: Arc<dyn Clock>,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Count {
    window: Timestamp,
    count: u32,
    until: Timestamp,
}

impl StoreCounters {
    /// Counts in this store, for this tenant.
    pub fn new(store: AnyStore, tenant: Tenant, clock: Arc<dyn Clock>) -> Self {
        Self { store, tenant, clock }
    }

    async fn grant(self, take: Take) -> Handled<u32> {
        let key = DocumentKey { namespace: COUNTERS.into(), id: document_id(&take.counter) };
        for nth in 0..TRIES {
            let found = self.store.document(&self.tenant, &key).await.map_err(|error| unavailable(&error))?;
            let version = found.as_ref().map_or(0, |document| document.version);
            let before: Option<Count> =
                found.and_then(|document| serde_json::from_slice(&document.value).ok());
            let count = match before {
                // A window that is over for somebody whose clock is ahead gives nothing more.
                Some(count) if count.window > take.window => return Ok(0),
                Some(count) if count.window == take.window => count.count,
                _ => 0,
            };
            let granted = take.wanted.min(take.limit.saturating_sub(count));
            if granted == 0 {
                return Ok(0);
            }
            let until = take.window.after(take.span);
            let now = Count { window: take.window, count: count + granted, until };
            let mut commit = Commit { tenant: self.tenant.clone(), ..Commit::default() };
            put_until(&mut commit, key.clone(), &now, version, until);
            match self.store.apply(commit).await {
                Ok(_) => return Ok(granted),
                Err(Error::DocumentChanged { .. }) => {}
                // If it was written after all, it is lost to this window: too few, never too many.
                Err(error) => return Err(unavailable(&error)),
            }
            if nth > 0 {
                self.clock.sleep(std::time::Duration::from_millis(nth as u64)).await;
            }
        }
        Err(Failure::transient("too many count at the same time"))
    }
}

impl Counters for StoreCounters {
    fn take(&self, take: &Take) -> Reply<'static, Handled<u32>> {
        Reply::Later(Box::pin(self.clone().grant(take.clone())))
    }
}

impl fmt::Debug for StoreCounters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreCounters").field("store", &self.store).finish_non_exhaustive()
    }
}
