//! A policy made ready to run.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tidings_core::{Claims, Flags, Idempotency, Keeper, Policy, QUARANTINE_AFTER, Retry, Text, Timestamp};

use crate::{
    Breaker, BreakerState, Notice, Surroundings, budget::Budget, dice::Dice, pool::Seat, rate::Limiter,
    shedder::Shedder,
};

/// What stays when a policy changes.
pub(crate) struct Common {
    pub(crate) name: Text,
    pub(crate) around: Surroundings,
    pub(crate) dice: Dice,
    /// How many wait for a permit of the bulkhead.
    pub(crate) waiting: Arc<AtomicUsize>,
    /// When it was last told that the retry budget is spent.
    told: AtomicI64,
}

impl Common {
    pub(crate) fn new(name: Text, around: Surroundings) -> Self {
        let dice = Dice::new(around.seed, &name);
        Self { name, around, dice, waiting: Arc::default(), told: AtomicI64::new(i64::MIN) }
    }

    pub(crate) fn tell(&self, notice: Notice) {
        (self.around.notices)(notice);
    }

    /// Tells what became of the circuit breaker, if something did.
    pub(crate) fn tell_circuit(&self, changed: Option<BreakerState>) {
        let handler = || self.name.clone();
        match changed {
            Some(BreakerState::Open | BreakerState::ForcedOpen) => {
                self.tell(Notice::CircuitOpened { handler: handler() });
            }
            Some(BreakerState::HalfOpen) => self.tell(Notice::CircuitHalfOpen { handler: handler() }),
            Some(BreakerState::Closed | BreakerState::Disabled) => {
                self.tell(Notice::CircuitClosed { handler: handler() });
            }
            None => {}
        }
    }

    /// Tells that the budget of retries is spent, at most once a second.
    pub(crate) fn tell_budget(&self, now: Timestamp) {
        let (told, now) = (self.told.load(Ordering::Relaxed), now.as_micros());
        let due = now < told || now.saturating_sub(told) >= 1_000_000;
        if due && self.told.compare_exchange(told, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.tell(Notice::RetryBudgetSpent { handler: self.name.clone() });
        }
    }
}

/// Claims, and what for.
#[derive(Debug)]
pub(crate) struct Once {
    pub(crate) claims: Arc<dyn Claims>,
    pub(crate) idempotency: Idempotency,
    pub(crate) lease: Duration,
}

/// How much longer than a call a claim holds.
pub(crate) const LEASE_MORE: Duration = Duration::from_secs(5);

/// One policy, with what it needs to run; what did not change is taken over from the one before.
pub(crate) struct Plan {
    pub(crate) common: Arc<Common>,
    /// As it was said.
    pub(crate) said: Policy,
    pub(crate) flags: Arc<dyn Flags>,
    pub(crate) flag: Option<Text>,
    pub(crate) quarantine_after: u32,
    pub(crate) deadline: Option<Duration>,
    pub(crate) breaker: Option<Arc<Breaker>>,
    pub(crate) shedder: Option<Arc<Shedder>>,
    pub(crate) limiter: Option<Arc<Limiter>>,
    pub(crate) pool: Option<Arc<Seat>>,
    pub(crate) queue: usize,
    pub(crate) queue_wait: Duration,
    pub(crate) once: Option<Once>,
    pub(crate) timeout: Duration,
    pub(crate) retry: Retry,
    pub(crate) budget: Option<Arc<Budget>>,
}

impl Plan {
    /// What is wrong with a policy here, but for what only its pool knows; nothing is touched.
    pub(crate) fn faults(common: &Common, said: &Policy, before: Option<&Self>) -> Vec<String> {
        let (mut faults, around) = (said.faults(), &common.around);
        if said.rate.as_ref().is_some_and(|rate| rate.shared) && around.counters.is_none() {
            faults.push("rate.shared: there is no store to count in".into());
        }
        match (&said.idempotency, before.map(|before| &before.said.idempotency)) {
            (now, Some(earlier)) if unlike(now.as_ref(), earlier.as_ref()) => faults
                .push("idempotency: what is the same, and who remembers, cannot change while it runs".into()),
            (Some(once), _) if once.keep == Keeper::Store && around.stored_claims.is_none() => {
                faults.push("idempotency.keep: there is no store to remember in".into());
            }
            _ => {}
        }
        faults
    }

    /// Everything that is wrong, at once.
    pub(crate) fn new(common: Arc<Common>, said: Policy, before: Option<&Self>) -> Result<Self, Vec<String>> {
        // A pool is entered in the register, or changed: only for a policy that is good.
        let faults = Self::faults(&common, &said, before);
        if !faults.is_empty() {
            return Err(faults);
        }
        let around = &common.around;
        let resolved = said.clone().resolve(&around.defaults);
        let timeout = resolved.call_timeout();
        let once = said.idempotency.as_ref().map(|once| Once {
            claims: match (once.keep, &around.stored_claims) {
                (Keeper::Store, Some(claims)) => claims.clone(),
                _ => around.claims.clone(),
            },
            idempotency: once.clone(),
            lease: once.lease.unwrap_or(timeout.saturating_add(LEASE_MORE)),
        });
        let pool = said.bulkhead.as_ref().map(|bulkhead| {
            let earlier = before.and_then(|before| before.pool.as_ref().zip(before.said.bulkhead.as_ref()));
            match earlier {
                Some((seat, earlier)) if earlier.pool == bulkhead.pool => {
                    around.pools.resize(seat, bulkhead.permits).map(|()| seat.clone())
                }
                _ => around.pools.get(bulkhead),
            }
        });
        let pool = pool.transpose().map_err(|fault| vec![fault])?;
        let breaker = said.circuit.as_ref().map(|circuit| {
            let earlier = before.and_then(|before| before.breaker.as_ref());
            let same = earlier.filter(|earlier| earlier.circuit().clone().mode(circuit.mode) == *circuit);
            same.cloned().unwrap_or_else(|| Arc::new(Breaker::new(circuit.clone())))
        });
        let shedder = said.shed.as_ref().map(|shed| {
            let same =
                before.and_then(|before| before.shedder.as_ref()).filter(|earlier| earlier.is_of(shed));
            same.cloned().unwrap_or_else(|| Arc::new(Shedder::new(shed.clone())))
        });
        let limiter = said.rate.as_ref().map(|rate| {
            let same =
                before.and_then(|before| before.limiter.as_ref()).filter(|earlier| earlier.is_of(rate));
            same.cloned()
                .unwrap_or_else(|| Arc::new(Limiter::new(&common.name, rate, around.counters.clone())))
        });
        let retry = resolved.retry.clone().unwrap_or_default();
        let budget = retry.budget_per_minute.map(|budget| {
            let same = before
                .filter(|before| before.retry.budget_per_minute == Some(budget))
                .and_then(|before| before.budget.clone());
            same.unwrap_or_else(|| Arc::new(Budget::new(budget)))
        });
        Ok(Self {
            flags: around.flags.clone(),
            flag: said.flag.clone(),
            quarantine_after: said.quarantine_after.unwrap_or(QUARANTINE_AFTER),
            deadline: said.deadline,
            queue: said.bulkhead.as_ref().map_or(0, |bulkhead| bulkhead.queue as usize),
            queue_wait: said.bulkhead.as_ref().map_or(Duration::ZERO, |bulkhead| bulkhead.wait),
            said,
            breaker,
            shedder,
            limiter,
            pool,
            once,
            timeout,
            retry,
            budget,
            common,
        })
    }
}

/// Whether two policies would not recognise each other's claims.
fn unlike(now: Option<&Idempotency>, earlier: Option<&Idempotency>) -> bool {
    match (now, earlier) {
        (Some(now), Some(earlier)) => now.by != earlier.by || now.keep != earlier.keep,
        (None, _) | (_, None) => false,
    }
}

impl fmt::Debug for Common {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Common").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.common.name, self.said)
    }
}
