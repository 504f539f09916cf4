//! What the subscriptions of a node know of each other while one has suspects.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::{Mutex as Turns, watch};

/// What the subscriptions of a node know of each other.
#[derive(Debug)]
pub(crate) struct Quiet {
    waiting: AtomicUsize,
    changed: watch::Sender<()>,
    pub(super) turns: Arc<Turns<()>>,
}

impl Default for Quiet {
    fn default() -> Self {
        Self { waiting: AtomicUsize::new(0), changed: watch::channel(()).0, turns: Arc::default() }
    }
}

impl Quiet {
    /// The others wait while it lives.
    pub(crate) fn begin(self: &Arc<Self>) -> Waiting {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        Waiting(self.clone())
    }

    pub(crate) fn is_on(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }
}

/// Others wait for somebody.
#[derive(Debug)]
pub(crate) struct Waiting(Arc<Quiet>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::SeqCst);
        self.0.changed.send_replace(());
    }
}
