//! From a source of events to a handler: queue, guard, call, settlement.
//!
//! ```text
//!  publish ──▶ routes ──▶ room? ──▶ queue ──▶ worker ──▶ guard ──▶ call ──▶ what it asked for ──▶ settled
//!                          │ no                            │ no                                    again, dead
//!                          └▶ refuse, wait, drop,          └▶ later, skipped, fallback
//!                             spill, call in place
//! ```
//!
//! What it is: buffered handlers ([`Buffered`]) and handlers called directly ([`Direct`]), with the same guard and the
//! same settlement; and handlers of batches ([`Gatherer`]), in front of which deliveries are gathered. What it is not: it stores nothing and knows no bus and no engine; what handlers reach is given to it
//! as an [`Outside`]. Who calls it: the application. Start with [`Buffered::publish`], then `pool.rs`.

mod buffered;
mod callee;
mod caller;
mod config;
mod direct;
mod figures;
mod gather;
mod job;
mod letters;
mod limit;
mod notice;
mod outside;
mod overflow;
mod pool;
mod receipt;
mod shelf;
mod spill;
mod tally;
mod watch;

pub use buffered::{
    Admitted, Buffered, BufferedHandler, EVENT_BYTES, From, Ground, HandlerId, PoolLeft, PublishError,
    ScaleError, Ticket,
};
pub use callee::{Callee, Calling};
pub use config::{Config, PoolConfig};
pub use direct::{Direct, DirectId};
pub use figures::PoolFigures;
pub use gather::{BatchHandler, GatherError, GatherFigures, Gatherer, HELD_BYTES_MAX, HELD_MAX};
pub use letters::MemoryDeadLetters;
pub use notice::Notice;
pub use outside::{Carried, Outside};
pub use overflow::{Admission, Full, NoRoom, Overflow};
pub use receipt::{Ended, Outcome, Outcomes};
pub use spill::Spill;
