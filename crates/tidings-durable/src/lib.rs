//! Durable subscriptions: at-least-once delivery whose effects in the store happen exactly once.
//!
//! ```text
//!   log ──reader──▶ lanes ──handler──▶ book ──one commit──▶ store
//!                     ▲                  │                    │
//!                     └── keeper ◀── rows (waiting, parked) ◀─┘
//! ```
//! A subscription has a name, which owns a checkpoint. Its reader hands events to lanes, which call the handler, one
//! delivery a key at a time. What the handler wants written is folded into a book, and committed together with the
//! checkpoint, dead letters and rows of keys that wait. Here is no SQL: everything goes through the store port.
//! Start with [`Node`].

mod bar;
mod book;
mod claims;
mod config;
mod control;
mod counters;
mod dead;
mod delivery;
mod flags;
mod gathering;
mod guards;
mod judge;
mod keeper;
mod lane;
mod letters;
mod node;
mod policies;
mod rows;
mod runner;
mod schedule;
mod shared;
mod slots;
mod store_claims;
mod stored;
mod subscription;
mod suspects;
mod window;

pub use config::Config;
pub use control::{Answer, Carried, Operator, Pace, Verb};
pub use counters::{COUNTERS, StoreCounters};
pub use dead::{DEAD_FIELDS, DEAD_HANDLERS, DEAD_PREFIX, DeadLetter, dead_namespace};
pub use flags::{FLAG_HISTORY, FLAGS, Followed, KeptFlag, StoreFlags};
pub use letters::StoredLetters;
pub use node::{Left, NAME_BYTES_MAX, Node, NodeError, Published, Settled};
pub use policies::{POLICY_REQUESTS, PolicyAnswer, PolicyCame, PolicyOwner, PolicyRequests};
pub use schedule::SCHEDULE;
pub use shared::{PARTITIONS, partition};
pub use store_claims::StoreClaims;
pub use stored::CLAIMS_PREFIX;
pub use subscription::{Described, SUBSCRIPTIONS, Status};
pub use suspects::{QUIET, RUNS};
pub use tidings_core::Reason;
