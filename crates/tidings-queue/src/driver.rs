//! What a worker drives that is not done yet: handlers that wait, and entries that wait to run again.

use std::{
    any::Any,
    future::Future,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use futures_util::stream::{FuturesUnordered, Stream};
use tidings_core::{BoxFuture, Clock};

use crate::{post::Post, work::Step};

/// What came out of a panic.
pub(crate) type Panic = Box<dyn Any + Send>;

/// What is known of an entry while its item is with the work.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) key: u64,
    pub(crate) lane: u32,
    pub(crate) keyed: bool,
    pub(crate) level: u8,
    pub(crate) bytes: usize,
    /// It waits to run again and does not count as a handler.
    pub(crate) delayed: bool,
    pub(crate) begun: Instant,
}

/// What waits at a worker's thread.
pub(crate) struct Driver<T> {
    futures: FuturesUnordered<Driven<T>>,
    waker: Waker,
    in_flight: usize,
    delayed: usize,
}

struct Driven<T> {
    ticket: Ticket,
    future: BoxFuture<'static, Step<T>>,
}

struct Wakes<T> {
    post: Arc<Post<T>>,
    worker: usize,
}

impl<T: Send + 'static> Wake for Wakes<T> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.post.place(self.worker).inbox.wake();
    }
}

impl<T> Future for Driven<T> {
    type Output = (Ticket, Result<Step<T>, Panic>);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        poll_caught(&mut self.future, context).map(|step| (self.ticket, step))
    }
}

fn poll_caught<T>(
    future: &mut BoxFuture<'static, Step<T>>,
    context: &mut Context<'_>,
) -> Poll<Result<Step<T>, Panic>> {
    match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => Poll::Ready(Err(panic)),
    }
}

impl<T: Send + 'static> Driver<T> {
    pub(crate) fn new(post: Arc<Post<T>>, worker: usize) -> Self {
        let waker = Arc::new(Wakes { post, worker }).into();
        Self { futures: FuturesUnordered::new(), waker, in_flight: 0, delayed: 0 }
    }

    /// How many handlers wait.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// How many entries wait to run again.
    pub(crate) fn delayed(&self) -> usize {
        self.delayed
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.futures.is_empty()
    }

    /// Polls once, in place; keeps it if it is not done.
    pub(crate) fn first(
        &mut self,
        ticket: Ticket,
        mut future: BoxFuture<'static, Step<T>>,
    ) -> Option<Result<Step<T>, Panic>> {
        match poll_caught(&mut future, &mut Context::from_waker(&self.waker)) {
            Poll::Ready(step) => Some(step),
            Poll::Pending => {
                self.in_flight += 1;
                self.futures.push(Driven { ticket, future });
                None
            }
        }
    }

    /// Keeps an item until it is to run again.
    pub(crate) fn delay(&mut self, ticket: Ticket, item: T, after: Duration, clock: &dyn Clock) {
        let sleep = clock.sleep(after);
        let future = Box::pin(async move {
            sleep.await;
            Step::Again { item, after: Duration::ZERO }
        });
        self.delayed += 1;
        self.futures.push(Driven { ticket: Ticket { delayed: true, ..ticket }, future });
    }

    /// The next that is done, if one is.
    pub(crate) fn poll(&mut self) -> Option<(Ticket, Result<Step<T>, Panic>)> {
        let mut context = Context::from_waker(&self.waker);
        let Poll::Ready(Some((ticket, step))) = Pin::new(&mut self.futures).poll_next(&mut context) else {
            return None;
        };
        let count = if ticket.delayed { &mut self.delayed } else { &mut self.in_flight };
        *count -= 1;
        Some((Ticket { delayed: false, ..ticket }, step))
    }
}
