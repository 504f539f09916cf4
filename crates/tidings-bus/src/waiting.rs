//! What waits in a stream: a bounded queue between emitters, which never wait for it, and one reader, who does.
//!
//! No code of a user runs under its lock: events that are pushed out are dropped, and tasks woken, after it.

use std::{
    collections::VecDeque,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use parking_lot::Mutex;
use tidings_core::Text;

use crate::{
    stream::{Counted, Overflow, StreamEnd},
    taking::Took,
};

/// Events on their way to one reader.
pub(crate) struct Waiting<T> {
    topic: Text,
    capacity: usize,
    inner: Mutex<Inner<T>>,
}

struct Inner<T> {
    events: VecDeque<T>,
    overflow: Overflow,
    lost: u64,
    end: Option<StreamEnd>,
    reader: Option<Waker>,
}

/// Puts events into a queue, begun by [`queue`]; when the last of these goes, no more can come.
struct Feed<T>(Arc<Waiting<T>>);

/// A queue, a listener that fills it, and what that does when it is ended.
pub(crate) fn queue<T: Send + 'static>(
    topic: Text,
    capacity: usize,
) -> (Arc<Waiting<T>>, impl Fn(T) -> Took + Send + Sync, impl Fn() + Send + Sync) {
    let inner =
        Inner { events: VecDeque::new(), overflow: Overflow::default(), lost: 0, end: None, reader: None };
    let waiting = Arc::new(Waiting { topic, capacity: capacity.max(1), inner: Mutex::new(inner) });
    let (feed, ended) = (Feed(waiting.clone()), waiting.clone());
    (waiting, move |event| feed.0.put(event), move || ended.end(StreamEnd::Unsubscribed))
}

impl<T> Drop for Feed<T> {
    fn drop(&mut self) {
        self.0.end(StreamEnd::Unsubscribed);
    }
}

impl<T> Waiting<T> {
    pub(crate) fn set_overflow(&self, overflow: Overflow) {
        self.inner.lock().overflow = overflow;
    }

    pub(crate) fn ended(&self) -> Option<StreamEnd> {
        self.inner.lock().end
    }

    fn put(&self, event: T) -> Took {
        let mut inner = self.inner.lock();
        if inner.end.is_some() {
            drop(inner);
            return Took::Last;
        }
        let is_full = inner.events.len() >= self.capacity;
        let (pushed_out, took) = match inner.overflow {
            _ if !is_full => {
                inner.events.push_back(event);
                (None, Took::One)
            }
            Overflow::DropOldest => {
                let oldest = inner.events.pop_front();
                inner.events.push_back(event);
                (oldest, Took::One)
            }
            Overflow::DropNewest => (Some(event), Took::One),
            Overflow::End => {
                inner.end = Some(StreamEnd::Overflowed);
                (Some(event), Took::Last)
            }
        };
        inner.lost += u64::from(is_full);
        let is_first_lost = is_full && inner.lost == 1;
        let reader = inner.reader.take();
        drop(inner);
        drop(pushed_out);
        if let Some(reader) = reader {
            reader.wake();
        }
        if is_first_lost {
            let (topic, capacity) = (&self.topic, self.capacity);
            tracing::warn!(%topic, capacity, "a stream is full and loses an event; this is said once a stream");
        }
        took
    }

    fn end(&self, end: StreamEnd) {
        let mut inner = self.inner.lock();
        inner.end.get_or_insert(end);
        let reader = inner.reader.take();
        drop(inner);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    /// The next event, or that there is none and will be none.
    pub(crate) fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut inner = self.inner.lock();
        if let Some(event) = inner.events.pop_front() {
            return Poll::Ready(Some(event));
        }
        if inner.end.is_some() {
            return Poll::Ready(None);
        }
        let same = inner.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker()));
        let replaced = if same { None } else { inner.reader.replace(cx.waker().clone()) };
        drop(inner);
        drop(replaced);
        Poll::Pending
    }

    /// Says that nobody reads any more, and lets go of what waits.
    pub(crate) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.end.get_or_insert(StreamEnd::Unsubscribed);
        let left = (std::mem::take(&mut inner.events), inner.reader.take());
        drop(inner);
        drop(left);
    }
}

impl<T: Send> Counted for Waiting<T> {
    fn lost(&self) -> u64 {
        self.inner.lock().lost
    }

    fn waiting(&self) -> usize {
        self.inner.lock().events.len()
    }
}
