//! The one guard that runs a handler's policy.
//!
//! A [`Policy`](tidings_core::Policy) is data; a [`Guard`] is made from it, one for each handler, and whoever calls the
//! handler asks it before and tells it after:
//!
//! ```text
//!  enter ─▶ flag ─▶ quarantine ─▶ deadline ─▶ circuit open? ─▶ shed ─▶ rate ─▶ bulkhead ─▶ probe ─▶ claim ─▶ Go(permit)
//!                                                                                                      │
//!  Done ◀── leave ◀── what the call answered, or its timeout, or a panic ◀── the call ◀────────────────┘
//!  Again{after}  Dead{reason}  Fallback{reason}
//! ```
//!
//! First comes what costs nothing and is final, then what costs nothing and passes, then what takes something, and last
//! the claim, so that a claim never waits for anything but the call. The order is that of the code of `admit.rs`.
//!
//! Here is nothing that knows a source of deliveries: the guard answers what should happen, and whoever asked does it.
//! Nothing is stored; what shares claims and counts between processes implements the ports of `tidings-core`. It is used
//! by the bus of an application, by its workers and by durable subscriptions. Start with [`Guard`].

mod admit;
mod answers;
mod batches;
mod breaker;
mod budget;
mod dice;
mod guard;
mod hold;
mod memory;
mod notice;
mod permit;
mod plan;
mod pool;
mod rate;
mod run;
mod same;
mod shedder;
mod state;

pub use answers::{Ask, Entered, Left, Refusal, Settlement, Verdict};
pub use batches::BatchGuards;
pub use breaker::{Breaker, BreakerState, Outcome, Ticket};
pub use guard::{Changed, Faults, Guard, Surroundings};
pub use memory::{FlagChange, FlagTarget, MemoryClaims, MemoryCounters, MemoryFlags};
pub use notice::{Notice, OWN};
pub use permit::Permit;
pub use pool::Pools;
pub use run::Ran;
pub use state::{BulkheadState, CircuitState, GuardState, RateState};
