//! The error channel: who is told that a listener failed.
//!
//! Telling can itself fail, or cause failures: an error listener panics, or emits an event whose listener fails, at once
//! or in a task of its own. All that happens *because of* a report is quiet: it is logged, and not reported again.

use std::{
    cell::RefCell,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tidings_core::{BoxFuture, Handled};

use crate::{Fault, ListenerFailed, about::About, core::Core};

/// A listener of the error channel.
pub(crate) struct ErrorListener {
    about: About,
    function: Box<dyn Fn(&ListenerFailed) -> Handled + Send + Sync>,
}

impl ErrorListener {
    pub(crate) fn new(about: About, function: Box<dyn Fn(&ListenerFailed) -> Handled + Send + Sync>) -> Self {
        Self { about, function }
    }

    pub(crate) fn about(&self) -> &About {
        &self.about
    }

    fn tell(&self, failed: &ListenerFailed) {
        if self.about.is_ended() {
            return;
        }
        let fault = match catch_unwind(AssertUnwindSafe(|| (self.function)(failed))) {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => Fault::Failed(failure),
            Err(payload) => Fault::panicked(payload),
        };
        tracing::error!(listener = %self.about.listener(), %fault, "a listener of the error channel failed");
    }
}

thread_local! {
    /// The buses whose error channel is being told something further up this thread's stack.
    static REPORTING: RefCell<Vec<usize>> = const { RefCell::new(Vec::new()) };
}

impl Core {
    /// Tells the error channel; logs what nobody is told.
    pub(crate) fn report(&self, failed: &ListenerFailed) {
        let quiet = self.is_reporting();
        let listeners = if quiet { Vec::new() } else { self.locked(|state, _| state.error_listeners()) };
        if listeners.is_empty() {
            let (event, id, listener, fault) =
                (failed.event(), failed.id(), failed.listener(), failed.fault());
            tracing::error!(%event, %id, %listener, %fault, quiet, "a listener failed");
            return;
        }
        let _reporting = Reporting::begin(self);
        for listener in listeners {
            listener.tell(failed);
        }
    }

    /// Whether this thread runs because the error channel was told something.
    pub(crate) fn is_reporting(&self) -> bool {
        let id = self.id();
        REPORTING.with_borrow(|buses| buses.contains(&id))
    }

    fn id(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

/// While this lives, its thread runs because the error channel was told something.
struct Reporting;

impl Reporting {
    fn begin(core: &Core) -> Self {
        REPORTING.with_borrow_mut(|buses| buses.push(core.id()));
        Self
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        REPORTING.with_borrow_mut(Vec::pop);
    }
}

/// A task that was started because the error channel was told something: what it causes is quiet too.
pub(crate) struct Quiet<T> {
    core: Arc<Core>,
    task: Option<BoxFuture<'static, T>>,
}

impl<T> Quiet<T> {
    pub(crate) fn new(core: Arc<Core>, task: BoxFuture<'static, T>) -> Self {
        Self { core, task: Some(task) }
    }
}

impl<T> Future for Quiet<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let core = self.core.clone();
        let _reporting = Reporting::begin(&core);
        self.task.as_mut().map_or(Poll::Pending, |task| task.as_mut().poll(cx))
    }
}

impl<T> Drop for Quiet<T> {
    fn drop(&mut self) {
        // A task that is dropped half-way reports that, and this report belongs to the one that started it.
        let _reporting = Reporting::begin(&self.core);
        self.task = None;
    }
}
