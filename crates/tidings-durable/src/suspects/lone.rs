//! The one that runs alone in a lane.

use std::sync::Arc;

use tidings_core::Position;
use tokio::sync::OwnedMutexGuard;

use super::Suspects;
use crate::shared::Shared;

/// What a lane knows of the one that runs alone in it.
#[derive(Debug, Default)]
pub(crate) enum Lone {
    #[default]
    None,
    /// One is to begin, or what the last one did is on its way into the store.
    Waits,
    /// One runs, and nothing else in the node.
    Runs(OwnedMutexGuard<()>),
}

impl Lone {
    /// Whether a call may begin, when `calls` run.
    pub(crate) fn lets_begin(&self, suspects: &Suspects, calls: usize) -> bool {
        match self {
            Self::None if suspects.is_active() => calls == 0,
            Self::None => !suspects.quiet.is_on(),
            Self::Waits => false,
            Self::Runs(_) => calls == 0,
        }
    }

    /// Waits for its turn in the node, and names the one that is to run.
    pub(crate) fn turn(
        &mut self,
        shared: &Arc<Shared>,
        one: Position,
    ) -> impl Future<Output = OwnedMutexGuard<()>> + Send + 'static {
        let before = std::mem::replace(self, Self::Waits);
        let shared = shared.clone();
        async move {
            let turn = match before {
                Self::Runs(turn) => turn,
                Self::None | Self::Waits => shared.suspects.quiet.turns.clone().lock_owned().await,
            };
            shared.name_suspect(Some(one)).await;
            turn
        }
    }

    /// It has run, and no other follows at once: it is another's turn when what it did is kept.
    pub(crate) fn is_over(
        &mut self,
        shared: &Arc<Shared>,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        if !matches!(self, Self::Runs(_)) {
            return None;
        }
        let turn = std::mem::replace(self, Self::Waits);
        let shared = shared.clone();
        Some(async move {
            shared.name_suspect(None).await;
            drop(turn);
        })
    }
}
