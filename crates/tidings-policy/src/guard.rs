//! The guard of one handler.

use std::{fmt, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tidings_core::{
    CircuitMode, Claims, Clock, Counters, Defaults, Flags, Handled, Policy, SystemClock, Text,
};

use crate::{
    Ask, Breaker, BreakerState, Entered, GuardState, Left, MemoryClaims, MemoryFlags, Notice, Permit, Pools,
    admit::{Stage, admit},
    hold::wait,
    permit::Held,
    plan::{Common, Plan},
};

/// What a guard lives among.
#[derive(Clone)]
pub struct Surroundings {
    /// The time; for waiting, and for [`Guard::run`]. Otherwise the caller says what time it is.
    pub clock: Arc<dyn Clock>,
    /// The pools that guards share by name.
    pub pools: Pools,
    /// Who remembers claims in memory.
    pub claims: Arc<dyn Claims>,
    /// Who remembers claims in the store, where there is one.
    pub stored_claims: Option<Arc<dyn Claims>>,
    /// Who counts together with other processes, where there is somebody.
    pub counters: Option<Arc<dyn Counters>>,
    /// Which features are on.
    pub flags: Arc<dyn Flags>,
    /// Who is told what happens; called while no lock is held.
    pub notices: Arc<dyn Fn(Notice) + Send + Sync>,
    /// What jitter is drawn from, together with the handler's name.
    pub seed: u64,
    /// What a policy means where it says nothing.
    pub defaults: Defaults,
    /// Whether the handler has a fallback: then what would be given up goes there.
    pub fallback: bool,
}

impl Default for Surroundings {
    /// The machine's clock, everything in memory and of its own, nobody told, the defaults of what is buffered.
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            pools: Pools::new(),
            claims: Arc::new(MemoryClaims::default()),
            stored_claims: None,
            counters: None,
            flags: Arc::new(MemoryFlags::new()),
            notices: Arc::new(drop),
            seed: 0,
            defaults: Defaults::buffered(),
            fallback: false,
        }
    }
}

impl fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Surroundings")
            .field("clock", &self.clock)
            .field("seed", &self.seed)
            .field("fallback", &self.fallback)
            .finish_non_exhaustive()
    }
}

/// What is wrong with a policy, each with the path of its field.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .faults.join("; "))]
pub struct Faults {
    /// All of it.
    pub faults: Vec<String>,
}

/// Runs one handler's policy. Cheap to clone: clones are the same guard.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::{Circuit, Envelope, Failure, Policy, Timestamp};
/// use tidings_policy::{Ask, Entered, Guard, Refusal, Surroundings, Verdict};
///
/// let policy = Policy::new().circuit(Circuit::open_after(1)).bulkhead(16);
/// let guard = Guard::new("mail/receipt", policy, Surroundings::default())?;
/// let (event, now) = (Envelope::build("order.placed").id("1").source("shop").finish()?, Timestamp::from_millis(0));
///
/// let Entered::Go(permit) = guard.enter(&Ask::new(&event, now)) else { panic!("nothing is in its way") };
/// let answer = Err(Failure::transient("connection refused"));
/// let left = guard.leave(permit, &answer, Duration::from_millis(3));
/// assert!(matches!(left.verdict, Verdict::Again { .. }));
///
/// let Entered::Refused(refusal) = guard.enter(&Ask::new(&event, now)) else { panic!("one failure opens it") };
/// assert!(matches!(refusal, Refusal::CircuitOpen { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Guard(Arc<Inner>);

struct Inner {
    common: Arc<Common>,
    plan: ArcSwap<Plan>,
    /// One change at a time.
    changing: Mutex<()>,
}

impl Guard {
    /// A guard for the handler called `name`: what its claims, flags and shared counts go by, so it should be as
    /// lasting as these.
    ///
    /// # Errors
    /// Everything that is wrong with the policy: its own faults, a shared rate or stored claims without a store, a pool
    /// that has other permits elsewhere.
    pub fn new(name: impl Into<Text>, policy: Policy, around: Surroundings) -> Result<Self, Faults> {
        let common = Arc::new(Common::new(name.into(), around));
        let plan = Plan::new(common.clone(), policy, None).map_err(|faults| Faults { faults })?;
        Ok(Self(Arc::new(Inner { common, plan: ArcSwap::from_pointee(plan), changing: Mutex::new(()) })))
    }

    /// The handler.
    pub fn name(&self) -> &Text {
        &self.0.common.name
    }

    /// The policy, as it was said.
    pub fn policy(&self) -> Policy {
        self.0.plan.load().said.clone()
    }

    /// How long one call may take.
    pub fn timeout(&self) -> Duration {
        self.0.plan.load().timeout
    }

    /// May this delivery be handled now? Does not block, and where nothing waits does not allocate.
    #[inline]
    pub fn enter(&self, ask: &Ask<'_>) -> Entered {
        let mut permit = Permit {
            plan: self.0.plan.load(),
            held: Held::default(),
            now: ask.now,
            waited: ask.waited,
            since: ask.since,
            attempt: ask.attempt,
        };
        match admit(&mut permit, ask, Stage::Passing) {
            Ok(None) => Entered::Go(permit),
            Ok(Some(blocked)) => Entered::Wait(wait(permit, ask, blocked)),
            Err(refusal) => Entered::Refused(refusal),
        }
    }

    /// Gives a permit back with what the call answered and how long it took. A call that was dropped for its timeout, or
    /// that panicked, answers a transient failure.
    #[inline]
    pub fn leave(&self, permit: Permit, result: &Handled, took: Duration) -> Left {
        permit.leave(result, took)
    }

    /// Looks at the policy, as it was said.
    pub fn look<T>(&self, look: impl FnOnce(&Policy) -> T) -> T {
        look(&self.0.plan.load().said)
    }

    /// Changes the policy while the guard runs, and answers what it was. What stays the same keeps its state: an open
    /// circuit stays open when the rate changes, and a bucket what is left in it. A part that changes begins anew; of a
    /// bulkhead only the number of permits changes. Calls that run, and those who wait for a turn or a permit, go on under
    /// the policy they began with. A circuit's mode changes the circuit.
    ///
    /// # Errors
    /// As [`Guard::new`]; and what cannot change while it runs: what is the same delivery and who remembers it, and the
    /// permits of a pool that others use too. Then nothing has changed.
    pub fn change(&self, policy: Policy) -> Result<Policy, Faults> {
        Ok(self.change_quietly(policy)?.tell())
    }

    /// The same for a caller who holds a lock: nobody is told before [`Changed::tell`].
    ///
    /// # Errors
    /// As [`Guard::change`].
    pub fn change_quietly(&self, policy: Policy) -> Result<Changed<'_>, Faults> {
        let _changing = self.0.changing.lock();
        let before = self.0.plan.load_full();
        let plan =
            Plan::new(self.0.common.clone(), policy, Some(&before)).map_err(|faults| Faults { faults })?;
        let plan = Arc::new(plan);
        self.0.plan.store(plan.clone());
        let became = match (&before.breaker, &plan.breaker) {
            (Some(earlier), Some(now)) if Arc::ptr_eq(earlier, now) => {
                let mode = |plan: &Plan| plan.said.circuit.as_ref().map(|circuit| circuit.mode);
                let changed = mode(&plan).filter(|_| mode(&plan) != mode(&before));
                changed.and_then(|mode| now.set(mode, self.0.common.around.clock.now()))
            }
            (earlier, now) => {
                let refuses = |breaker: &Option<Arc<Breaker>>| {
                    let state = breaker.as_ref().map(|breaker| breaker.state());
                    state.is_some_and(|state| !matches!(state, BreakerState::Closed | BreakerState::Disabled))
                };
                match (refuses(earlier), refuses(now)) {
                    (true, false) => Some(BreakerState::Closed),
                    (false, true) => Some(BreakerState::ForcedOpen),
                    _ => None,
                }
            }
        };
        Ok(Changed { before: before.said.clone(), common: &self.0.common, became })
    }

    /// What would be wrong with a policy here, but for what only the pool of its bulkhead knows; nothing is changed.
    pub fn faults(&self, policy: &Policy) -> Vec<String> {
        Plan::faults(&self.0.common, policy, Some(&self.0.plan.load()))
    }

    /// Opens the circuit breaker by hand, takes it out of the way, or lets it work by itself again, from closed. Without
    /// a circuit breaker nothing happens.
    pub fn set_circuit(&self, mode: CircuitMode) {
        let plan = self.0.plan.load();
        if let Some(breaker) = &plan.breaker {
            let changed = breaker.set(mode, plan.common.around.clock.now());
            plan.common.tell_circuit(changed);
        }
    }

    /// How it stands, for people and health.
    pub fn state(&self) -> GuardState {
        GuardState::of(&self.0.plan.load())
    }

    pub(crate) fn common(&self) -> &Common {
        &self.0.common
    }
}

/// A policy that has been changed.
#[derive(Debug)]
#[must_use = "what became of the circuit has not been told"]
pub struct Changed<'a> {
    before: Policy,
    common: &'a Common,
    became: Option<BreakerState>,
}

impl Changed<'_> {
    /// Tells what became of the circuit, and answers what the policy was before.
    pub fn tell(self) -> Policy {
        self.common.tell_circuit(self.became);
        self.before
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Guard({:?})", self.0.plan.load())
    }
}
