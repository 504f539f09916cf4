//! The ports of a policy, in memory and bounded.

mod claims;
mod counters;
mod flags;

pub use claims::MemoryClaims;
pub use counters::MemoryCounters;
pub use flags::{FlagChange, FlagTarget, MemoryFlags};
