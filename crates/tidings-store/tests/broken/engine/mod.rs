//! An engine that is wrong where it is told to be: the model, with hooks between it and its caller.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use tidings_core::{Commit, ManualClock};
use tidings_store::{AnyStore, Beat, Error, Limits, MemoryStore, Recorded};
use tokio::sync::{oneshot, watch};

use crate::hooks::{Answer, Hook, Inside, now};

/// The hooks of one kind that hold now.
macro_rules! hooks {
    ($broken:expr, $kind:path) => {
        $broken.active().filter_map(|hook| if let $kind(change) = hook { Some(change) } else { None })
    };
}

mod port;

/// The engine.
#[derive(Debug)]
pub struct Broken {
    inside: Inside,
    hooks: Hooks,
    restarted: AtomicBool,
    closed: AtomicBool,
    waiting: Mutex<Vec<(Commit, oneshot::Sender<Answer>)>>,
    beats: watch::Sender<Beat>,
    /// Of receivers that are not told what was before them.
    late: Mutex<Vec<watch::Sender<Beat>>>,
}

struct Hooks(&'static [Hook]);

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} hooks", self.0.len())
    }
}

impl Broken {
    pub fn new(hooks: &'static [Hook], clock: ManualClock) -> Self {
        let mut limits = Limits::default();
        for hook in hooks {
            if let Hook::Limits(change) = hook {
                change(&mut limits);
            }
        }
        let store: AnyStore = Arc::new(MemoryStore::with_limits(Arc::new(clock.clone()), limits));
        let inside = Inside { store: Mutex::new(store), clock, memo: Mutex::default() };
        Self {
            inside,
            hooks: Hooks(hooks),
            restarted: AtomicBool::default(),
            closed: AtomicBool::default(),
            waiting: Mutex::default(),
            beats: watch::channel(Beat::default()).0,
            late: Mutex::default(),
        }
    }

    pub fn restart(&self) {
        self.restarted.store(true, Ordering::SeqCst);
        for hook in hooks!(self, Hook::Reopened) {
            hook(&self.inside);
        }
    }

    fn active(&self) -> impl Iterator<Item = &'static Hook> + use<'_> {
        self.hooks.0.iter().filter_map(|hook| match hook {
            Hook::AfterRestart(later) => self.restarted.load(Ordering::SeqCst).then_some(*later),
            hook => Some(hook),
        })
    }

    fn has(&self, wanted: fn(&Hook) -> bool) -> bool {
        self.active().any(wanted)
    }

    fn open(&self) -> Result<AnyStore, Error> {
        let store = self.inside.store();
        now(store.head())?;
        Ok(store)
    }

    async fn grouped(&self, commit: Commit, group: fn(&Inside, Vec<Commit>) -> Vec<Answer>) -> Answer {
        let (answer, answered) = oneshot::channel();
        let leader = {
            let mut waiting = self.waiting.lock();
            waiting.push((commit, answer));
            waiting.len() == 1
        };
        if leader {
            // Whoever is ready to write joins.
            tokio::task::yield_now().await;
            let (commits, askers): (Vec<_>, Vec<_>) =
                std::mem::take(&mut *self.waiting.lock()).into_iter().unzip();
            for (asker, answer) in askers.into_iter().zip(group(&self.inside, commits)) {
                let _ = asker.send(answer);
            }
        }
        answered.await.unwrap_or(Err(Error::Closed))
    }

    fn event(&self, mut event: Recorded) -> Recorded {
        hooks!(self, Hook::Event).for_each(|change| change(&self.inside, &mut event));
        event
    }
}
