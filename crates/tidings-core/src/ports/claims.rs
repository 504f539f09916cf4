//! Who may do a piece of work that must be done once.

use std::{fmt, time::Duration};

use super::Reply;
use crate::{Handled, Text, Timestamp};

/// Remembers who works on what, and what is done: claim before the work, finish after it, release when it failed.
///
/// * Of concurrent claims for the same thing exactly one is [`Claimed::Mine`]; the others learn that it runs.
/// * A claim that is neither finished nor released ends with its lease. Then somebody else may claim the thing, with a
///   higher epoch, and [`finish`](Claims::finish) and [`release`](Claims::release) of the late holder are refused: what
///   happened in between is decided by who owns the claim, not guessed.
/// * What is finished stays so until its time to live is over.
pub trait Claims: Send + Sync + fmt::Debug + 'static {
    /// Claims a thing.
    ///
    /// The failure inside is transient: nothing is known, or there is no room.
    fn claim(&self, ask: &ClaimAsk) -> Reply<'static, Handled<Claimed>>;

    /// The work is done; it is remembered for `ttl`.
    ///
    /// A failure inside is permanent if the claim was lost meanwhile, and else transient.
    fn finish(&self, claim: &Claim, ttl: Duration, now: Timestamp) -> Reply<'static, Handled>;

    /// The work was not done; anybody may claim it again.
    ///
    /// A failure inside is permanent if the claim was lost meanwhile, and else transient.
    fn release(&self, claim: &Claim) -> Reply<'static, Handled>;
}

/// What is to be claimed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimAsk {
    /// Within what `key` means one thing: the handler.
    pub scope: Text,
    /// The thing.
    pub key: Text,
    /// Its number, where only a higher one than any finished is new.
    pub version: Option<u64>,
    /// How long the claim holds without being finished.
    pub lease: Duration,
    /// The time now.
    pub now: Timestamp,
}

/// The answer to a claim.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// Whoever asked may begin.
    Mine(Claim),
    /// Somebody works on it, until this time at most.
    Running(Timestamp),
    /// It is done, or a newer version of it.
    Finished,
}

/// The right to do a piece of work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Within what `key` means one thing.
    pub scope: Text,
    /// The thing.
    pub key: Text,
    /// Its number, where it has one.
    pub version: Option<u64>,
    /// Rises each time the thing is claimed, so that a late holder is refused.
    pub epoch: u64,
}
