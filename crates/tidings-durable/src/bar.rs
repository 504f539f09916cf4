//! Holding back what may not begin for a while, whatever its key: the circuit is open, all permits are taken, or there
//! is no token left for anybody.
//!
//! What is held back is in memory, in the order in which it came, and the reader stops when enough has been read; so
//! nothing is written, and nothing asks in vain: the first of them is asked for again when it is time, or when a call
//! of this subscription has ended.

use std::{
    collections::VecDeque,
    sync::atomic::{AtomicUsize, Ordering},
};

use tidings_core::{BoxFuture, Position};
use tokio::sync::watch;

/// Wakes lanes of one subscription that hold something back.
#[derive(Debug)]
pub(crate) struct Bar {
    /// How many lanes hold something back; 0 saves waking them.
    barred: AtomicUsize,
    ended: watch::Sender<u64>,
}

impl Default for Bar {
    fn default() -> Self {
        Self { barred: AtomicUsize::new(0), ended: watch::channel(0).0 }
    }
}

impl Bar {
    /// The policy has changed: what it held back may be asked for again.
    pub(crate) fn changed(&self) {
        self.ended.send_modify(|count| *count += 1);
    }

    /// A call has ended: what it held is free.
    pub(crate) fn ended(&self) {
        if self.barred.load(Ordering::SeqCst) > 0 {
            self.ended.send_modify(|count| *count += 1);
        }
    }
}

/// What one lane holds back.
pub(crate) struct Barred<T> {
    waiting: VecDeque<T>,
    /// The first of them may be asked for.
    open: bool,
    timer: Option<BoxFuture<'static, ()>>,
    ended: watch::Receiver<u64>,
}

impl<T> Barred<T> {
    pub(crate) fn new(bar: &Bar) -> Self {
        Self { waiting: VecDeque::new(), open: false, timer: None, ended: bar.ended.subscribe() }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The one that may be asked for now.
    pub(crate) fn first(&self) -> Option<&T> {
        self.waiting.front().filter(|_| self.open)
    }

    /// Takes it.
    pub(crate) fn take(&mut self, bar: &Bar) -> Option<T> {
        let first = self.waiting.pop_front().filter(|_| self.open);
        if first.is_some() && self.waiting.is_empty() {
            bar.barred.fetch_sub(1, Ordering::SeqCst);
            self.timer = None;
        }
        first
    }

    /// One was refused: nothing begins until it is time.
    pub(crate) fn refused(
        &mut self,
        bar: &Bar,
        one: T,
        timer: BoxFuture<'static, ()>,
        position: impl Fn(&T) -> Position,
    ) {
        if self.waiting.is_empty() {
            bar.barred.fetch_add(1, Ordering::SeqCst);
        }
        let at = self.waiting.partition_point(|other| position(other) < position(&one));
        self.waiting.insert(at, one);
        self.open = false;
        self.timer = Some(timer);
    }

    /// One comes while others are held back.
    pub(crate) fn behind(&mut self, one: T) {
        self.waiting.push_back(one);
    }

    /// Until the first may be asked for. Only while something is held back and may not.
    pub(crate) async fn until_open(&mut self) {
        let ended = &mut self.ended;
        let timer = async {
            match &mut self.timer {
                Some(timer) => timer.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timer => self.timer = None,
            Ok(()) = ended.changed() => {}
        }
        self.open = true;
    }

    /// Whether there is something to wait for.
    pub(crate) fn is_shut(&self) -> bool {
        !self.waiting.is_empty() && !self.open
    }
}
