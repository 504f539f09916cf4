//! What a policy needs from outside: who remembers claims, who counts together, which flags are on.
//!
//! Small traits without I/O of their own. `tidings-policy` implements each in memory; what shares them between
//! processes implements them on a store. Start with [`Claims`].

mod claims;
mod counters;
mod flags;

pub use claims::{Claim, ClaimAsk, Claimed, Claims};
pub use counters::{Counters, Take};
pub use flags::{FLAG_HASH, Flag, FlagAsk, Flags};

use crate::BoxFuture;

/// An answer that is there at once, or has to be awaited.
///
/// What lives in memory answers at once and costs no allocation; what asks a store does not.
#[must_use]
pub enum Reply<'a, T> {
    /// There at once.
    Now(T),
    /// Has to be awaited.
    Later(BoxFuture<'a, T>),
}

impl<T> Reply<'_, T> {
    /// The answer, awaited where it has to be.
    pub async fn get(self) -> T {
        match self {
            Self::Now(answer) => answer,
            Self::Later(answer) => answer.await,
        }
    }
}
