//! What keeps a subscription: a guard, or an owner of several.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;

use crate::{about::Place, core::Core, rank::Rank};

/// Keeps one subscription; when it is dropped, the subscription ends.
///
/// Ended means: from now on no call begins, also not by an emission that is under way and has this listener still
/// before it. A call that has begun goes on to its end; so does the call of an asynchronous listener that has been
/// handed to a runtime. A guard may be dropped anywhere, also inside the listener it keeps and after its bus.
///
/// ```
/// use tidings_bus::{Bus, example::OrderPlaced};
/// let bus = Bus::new();
/// let placed = OrderPlaced { order: "4711".into(), total_cents: 300 };
/// let guard = bus.on(|placed: &OrderPlaced| assert_eq!(placed.total_cents, 300));
/// assert_eq!(bus.emit(&placed), 1);
/// drop(guard);
/// assert_eq!(bus.emit(&placed), 0);
/// ```
#[must_use = "the subscription ends when its guard is dropped: keep it, give it an owner, or say `.forever()`"]
pub struct Guard {
    core: Weak<Core>,
    place: Place,
    rank: Rank,
    keeps: Keeps,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    UntilDropped,
    Forever,
}

impl Guard {
    pub(crate) fn new(core: Weak<Core>, place: Place, rank: Rank) -> Self {
        Self { core, place, rank, keeps: Keeps::UntilDropped }
    }

    /// Lets the subscription live as long as the bus.
    ///
    /// ```
    /// use tidings_bus::{Bus, example::OrderPlaced};
    /// let bus = Bus::new();
    /// bus.on(|_: &OrderPlaced| ()).forever();
    /// assert_eq!(bus.listener_count("order.placed"), 1);
    /// ```
    pub fn forever(mut self) {
        self.keeps = Keeps::Forever;
    }

    /// Ends the subscription: the same as dropping the guard, in a word that says so.
    pub fn end(self) {}

    /// Gives the subscription to an owner, an [`Owner`] or a [`Module`](crate::Module), to end with it. One that has
    /// ended already ends it at once.
    pub fn owned_by(self, owner: &(impl AsRef<Owner> + ?Sized)) {
        owner.as_ref().take(self);
    }

    /// Whether the listener would be called if its event came now: it has not ended, as a `once` does by being called
    /// and a weak one by losing its target, and the bus still exists.
    pub fn is_live(&self) -> bool {
        self.is_live_in(self.core.upgrade().as_deref())
    }

    fn is_live_in(&self, core: Option<&Core>) -> bool {
        core.is_some_and(|core| core.locked(|state, _| state.is_live(&self.place, self.rank)))
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if self.keeps == Keeps::UntilDropped
            && let Some(core) = self.core.upgrade()
        {
            core.detach(&self.place, self.rank);
        }
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guard").field("live", &self.is_live()).finish_non_exhaustive()
    }
}

/// Owns subscriptions, of one bus or several; they end with it.
///
/// ```
/// use tidings_bus::{Bus, Owner, example::OrderPlaced};
/// let bus = Bus::new();
/// let screen = Owner::new();
/// bus.on(|_: &OrderPlaced| ()).owned_by(&screen);
/// bus.subscribe("order.**", |_| ())?.owned_by(&screen);
/// assert_eq!(bus.listener_count("order.placed"), 2);
/// drop(screen);
/// assert_eq!(bus.listener_count("order.placed"), 0);
/// # Ok::<(), tidings_core::TopicError>(())
/// ```
#[derive(Default)]
pub struct Owner(Mutex<Owned>);

#[derive(Default)]
struct Owned {
    guards: Vec<Guard>,
    /// At how many guards to look for those whose subscription has ended by itself; twice what was left the last time.
    sweep_at: usize,
    has_ended: bool,
}

/// Below this many guards nobody looks for useless ones.
const SWEEP_AT_LEAST: usize = 16;

impl Owner {
    /// An owner of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many subscriptions it keeps that have not ended by themselves.
    pub fn count(&self) -> usize {
        let mut cores = Vec::new();
        self.0.lock().guards.iter().filter(|guard| live(guard, &mut cores)).count()
    }

    /// Ends its subscriptions, and from now on at once every one that it is given: what is subscribed while it ends,
    /// by a listener or by what one has captured, does not outlive it.
    ///
    /// ```
    /// use tidings_bus::{Bus, Owner, example::OrderPlaced};
    /// let (bus, screen) = (Bus::new(), Owner::new());
    /// bus.on(|_: &OrderPlaced| ()).owned_by(&screen);
    /// screen.end();
    /// bus.on(|_: &OrderPlaced| ()).owned_by(&screen);
    /// assert_eq!(bus.listener_count("order.placed"), 0);
    /// ```
    pub fn end(&self) {
        let mut owned = self.0.lock();
        owned.has_ended = true;
        let guards = std::mem::take(&mut owned.guards);
        drop(owned);
        drop(guards);
    }

    fn take(&self, guard: Guard) {
        let (mut cores, mut ended) = (Vec::new(), Vec::new());
        let mut owned = self.0.lock();
        if owned.has_ended {
            drop(owned);
            return drop(guard);
        }
        // An owner that lives long and is given ever new `once` subscriptions must not grow for ever.
        if owned.guards.len() >= owned.sweep_at.max(SWEEP_AT_LEAST) {
            ended.extend(owned.guards.extract_if(.., |guard| !live(guard, &mut cores)));
            owned.sweep_at = owned.guards.len() * 2;
        }
        owned.guards.push(guard);
    }
}

impl AsRef<Self> for Owner {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// Whether a guard's subscription is live. The bus it is asked for is kept in `cores`, to be let go without the owner's
/// lock: this may be the last to hold it, and then its listeners are dropped with all that they have captured.
fn live(guard: &Guard, cores: &mut Vec<Arc<Core>>) -> bool {
    let core = guard.core.upgrade();
    let live = guard.is_live_in(core.as_deref());
    cores.extend(core);
    live
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner").field("subscriptions", &self.count()).finish()
    }
}
