//! Bulkheads: pools of permits that guards share by name.

use std::{
    fmt,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use ahash::AHashMap;
use parking_lot::Mutex;
use tidings_core::{Bulkhead, Text};
use tokio::sync::Semaphore;

/// The pools of a process, by name. A pool ends with the last guard that uses it.
#[derive(Debug, Clone, Default)]
pub struct Pools(Arc<Mutex<AHashMap<Text, Weak<Pool>>>>);

impl Pools {
    /// No pools yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The pool that a bulkhead names, or a new one of its own.
    pub(crate) fn get(&self, bulkhead: &Bulkhead) -> Result<Arc<Pool>, String> {
        let Some(name) = &bulkhead.pool else { return Ok(Arc::new(Pool::new(bulkhead.permits))) };
        let mut pools = self.0.lock();
        pools.retain(|_, pool| pool.strong_count() > 0);
        if let Some(pool) = pools.get(name).and_then(Weak::upgrade) {
            let permits = pool.permits.load(Ordering::SeqCst);
            return match permits == bulkhead.permits as usize {
                true => Ok(pool),
                false => Err(format!(
                    "bulkhead.permits: pool {name} has {permits} permits, not {}",
                    bulkhead.permits
                )),
            };
        }
        let pool = Arc::new(Pool::new(bulkhead.permits));
        pools.insert(name.clone(), Arc::downgrade(&pool));
        Ok(pool)
    }
}

/// Permits for calls; whoever waits for one gets it in order.
pub(crate) struct Pool {
    /// Fair: who waits comes before who asks later.
    semaphore: Semaphore,
    permits: AtomicUsize,
    /// How many permits are out that no longer exist.
    owed: AtomicUsize,
}

impl Pool {
    fn new(permits: u32) -> Self {
        let permits = permits as usize;
        Self { semaphore: Semaphore::new(permits), permits: permits.into(), owed: AtomicUsize::new(0) }
    }

    /// Takes a permit if one is free; it has to be given back.
    pub(crate) fn take(&self) -> bool {
        self.semaphore.try_acquire().map(tokio::sync::SemaphorePermit::forget).is_ok()
    }

    /// Waits for a permit. Who stops waiting gives up its place, and a permit that had just come goes to the next.
    pub(crate) async fn wait(&self) {
        if let Ok(permit) = self.semaphore.acquire().await {
            permit.forget();
        }
    }

    pub(crate) fn give_back(&self) {
        let paid = self.owed.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |owed| owed.checked_sub(1));
        if paid.is_err() {
            self.semaphore.add_permits(1);
        }
    }

    /// More permits at once; fewer as they come back.
    pub(crate) fn resize(&self, permits: u32) {
        let (new, old) = (permits as usize, self.permits.swap(permits as usize, Ordering::SeqCst));
        if new < old {
            let free = self.semaphore.forget_permits(old - new);
            self.owed.fetch_add(old - new - free, Ordering::SeqCst);
        }
        for _ in old..new {
            self.give_back();
        }
    }

    pub(crate) fn free(&self) -> usize {
        self.semaphore.available_permits()
    }

    pub(crate) fn permits(&self) -> usize {
        self.permits.load(Ordering::SeqCst)
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} free", self.free(), self.permits())
    }
}
