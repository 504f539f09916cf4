//! Bulkheads: pools of permits that guards share by name.

use std::{
    fmt,
    ops::Deref,
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

    /// A seat at the pool that a bulkhead names, or at a new one of its own.
    pub(crate) fn get(&self, bulkhead: &Bulkhead) -> Result<Arc<Seat>, String> {
        let Some(name) = &bulkhead.pool else { return Ok(Seat::at(Pool::new(bulkhead.permits))) };
        let mut pools = self.0.lock();
        pools.retain(|_, pool| pool.strong_count() > 0);
        if let Some(pool) = pools.get(name).and_then(Weak::upgrade) {
            let permits = pool.permits.load(Ordering::SeqCst);
            return match permits == bulkhead.permits as usize {
                true => Ok(Arc::new(Seat(pool))),
                false => Err(format!(
                    "bulkhead.permits: pool {name} has {permits} permits, not {}",
                    bulkhead.permits
                )),
            };
        }
        let pool = Arc::new(Pool::new(bulkhead.permits));
        pools.insert(name.clone(), Arc::downgrade(&pool));
        Ok(Arc::new(Seat(pool)))
    }

    /// Gives the pool other permits, unless others have a seat there, who were promised those it has.
    pub(crate) fn resize(&self, seat: &Seat, permits: u32) -> Result<(), String> {
        // Nobody takes a seat meanwhile.
        let _pools = self.0.lock();
        let others = Arc::strong_count(&seat.0) - 1;
        if others > 0 && seat.permits() != permits as usize {
            let has = seat.permits();
            return Err(format!(
                "bulkhead.permits: the pool has {has} permits, and {others} other handlers use it"
            ));
        }
        seat.0.resize(permits);
        Ok(())
    }
}

/// A guard's place at a pool. All plans of a guard share it, also those that calls in flight still hold, so that a pool
/// has as many seats as guards use it.
pub(crate) struct Seat(Arc<Pool>);

impl Seat {
    fn at(pool: Pool) -> Arc<Self> {
        Arc::new(Self(Arc::new(pool)))
    }
}

impl Deref for Seat {
    type Target = Pool;

    fn deref(&self) -> &Pool {
        &self.0
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
