//! Flows of any kind, ended by whoever keeps them.

use std::time::Duration;

use tidings_core::BoxFuture;

use super::Flow;
use crate::Operator;

/// What a flow had not done when it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unfinished {
    /// Outputs the consumer is not done with: batches, where the operator makes batches.
    pub outputs: usize,
    /// Outputs given up, since it began.
    pub given_up: u64,
}

/// A flow whose operator nobody knows any more; implemented for every [`Flow`].
pub trait Drain: Send + Sync {
    /// Gives out everything the operator holds; the flow goes on.
    fn flush(&self);

    /// Ends the flow: flushes it, and waits until its consumer is done or `within` is over.
    fn drain(self: Box<Self>, within: Duration) -> BoxFuture<'static, Unfinished>;
}

impl<O> Drain for Flow<O>
where
    O: Operator + Send + 'static,
    O::Out: Send + Sync,
{
    fn flush(&self) {
        Self::flush(self);
    }

    fn drain(self: Box<Self>, within: Duration) -> BoxFuture<'static, Unfinished> {
        Box::pin(async move {
            let left = self.close(within).await;
            Unfinished { outputs: left.outputs.len(), given_up: left.figures.given_up }
        })
    }
}
