//! Counting together with other processes.

use std::{fmt, time::Duration};

use super::Reply;
use crate::{Handled, Text, Timestamp};

/// Counts in windows of time, for all who share it.
pub trait Counters: Send + Sync + fmt::Debug + 'static {
    /// Takes up to [`wanted`](Take::wanted) of what is left in the window, and answers how many were granted. Over all
    /// who ask, no more than [`limit`](Take::limit) are granted in a window. Windows that are over may be forgotten.
    ///
    /// A failure inside is transient: nothing is known, and nothing may be taken.
    fn take(&self, take: &Take) -> Reply<'static, Handled<u32>>;
}

/// What is to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Take {
    /// What is counted.
    pub counter: Text,
    /// When the window began.
    pub window: Timestamp,
    /// How long it is.
    pub span: Duration,
    /// How many there are in a window.
    pub limit: u32,
    /// How many are wanted.
    pub wanted: u32,
}
