//! How items get into a flow from where it must not be kept alive.

use std::{
    fmt,
    pin::pin,
    sync::{Arc, Weak},
};

use tidings_core::Handled;
use tokio::sync::Notify;

use super::shared::Shared;
use crate::{Operator, Refused, Why};

/// A way into a flow; a cheap handle that does not keep the flow alive.
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
/// use std::{sync::Arc, time::Duration};
/// use tidings_flow::{Debounce, Debouncing, Flow, Why};
///
/// let flow = Flow::of(Debounce::new(Debouncing::new())?).start(|_: Arc<u32>| async {})?;
/// let input = flow.input();
/// input.push(1)?;
/// assert_eq!(flow.close(Duration::from_secs(1)).await.figures.done, 1);
/// assert_eq!(input.push(2).unwrap_err().why, Why::Ended);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).expect("it works");
/// ```
pub struct Input<T>(Weak<dyn Accept<T>>);

/// A flow without its operator's type.
trait Accept<T>: Send + Sync {
    fn take(&self, item: T) -> Result<(), Refused<T>>;
    fn room(&self) -> &Notify;
}

impl<O> Accept<O::Item> for Shared<O>
where
    O: Operator + Send,
    O::Out: Send + Sync,
{
    fn take(&self, item: O::Item) -> Result<(), Refused<O::Item>> {
        Self::take(self, item)
    }

    fn room(&self) -> &Notify {
        &self.room
    }
}

impl<T: 'static> Input<T> {
    pub(super) fn new<O>(shared: &Arc<Shared<O>>) -> Self
    where
        O: Operator<Item = T> + Send + 'static,
        O::Out: Send + Sync,
    {
        let shared: Arc<dyn Accept<T>> = shared.clone();
        Self(Arc::downgrade(&shared))
    }

    /// Gives the flow an item. It never waits.
    ///
    /// # Errors
    /// The item, when too much waits for the consumer, or the flow has ended.
    pub fn push(&self, item: T) -> Result<(), Refused<T>> {
        match self.0.upgrade() {
            Some(flow) => flow.take(item),
            None => Err(Refused { item, why: Why::Ended }),
        }
    }

    /// Gives the flow an item, and waits for room where there is none. The flow's own consumer must not: it would wait
    /// for itself.
    ///
    /// # Errors
    /// The item, when the flow has ended.
    pub async fn send(&self, mut item: T) -> Result<(), Refused<T>> {
        loop {
            let Some(flow) = self.0.upgrade() else { return Err(Refused { item, why: Why::Ended }) };
            let mut room = pin!(flow.room().notified());
            // From here on it hears of room, also of such that there is before it waits.
            room.as_mut().enable();
            match flow.take(item) {
                Err(refused) if refused.why == Why::Full => item = refused.item,
                other => return other,
            }
            room.await;
        }
    }

    /// A listener for a bus, or a handler: it gives the flow a clone of each event.
    pub fn listener(&self) -> impl Fn(&T) -> Handled + Clone + Send + Sync + use<T>
    where
        T: Clone,
    {
        self.listener_by(T::clone)
    }

    /// The same, with what the flow is to be given of each event.
    pub fn listener_by<E, F>(&self, item: F) -> impl Fn(&E) -> Handled + Clone + Send + Sync + use<T, E, F>
    where
        E: ?Sized,
        F: Fn(&E) -> T + Clone + Send + Sync,
    {
        let input = self.clone();
        move |event: &E| Ok(input.push(item(event))?)
    }
}

impl<T> Clone for Input<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> fmt::Debug for Input<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Input")
    }
}
