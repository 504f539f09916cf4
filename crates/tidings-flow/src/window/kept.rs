//! Windows behind a durable subscription: what they hold is a document a key, in the commit of each event.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tidings_core::{
    Argument, Cx, Envelope, Handled, OrFail, Pattern, Registration, Subscribe, Text, Timestamp, View,
};

use super::{Summary, Window, WindowCounts, WindowState, Windowed, Windowing, event_time};
use crate::{Aggregation, Error, Operator};

/// The name of the event by which a subscription is told that windows of an idle key are over. Its payload names the
/// subscription; others pass it over.
pub const WINDOW_DUE: &str = "tidings.window_due";

/// The document of one key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Kept<S> {
    /// Its windows.
    pub windows: WindowState<(), S>,
    /// When [`WINDOW_DUE`] comes, if it is under way.
    pub due: Option<Timestamp>,
}

type Tell<R> = Arc<dyn Fn(Summary<R, Option<Text>>, &Cx) -> Handled + Send + Sync>;
type LeftOut<T> = Arc<dyn Fn(&T, &Cx) + Send + Sync>;

/// Windows on event time whose state is a document a key: what is published when a window is over is in the same
/// commit as the state and the checkpoint. So nothing is lost or told twice by a crash, and a restart goes on where it
/// was.
///
/// Each key has windows and a watermark of its own; events without a key have theirs together. Without
/// [`idle`](Windowing::idle), a window is over when a later event of its key says so. With it, it is also over when for
/// so long no event of the key has come: an event of the name [`WINDOW_DUE`] is scheduled in the commit, at most one a
/// key at a time, and is a row in the store until then. A window that is open at shutdown stays in its document.
///
/// A key's document stays when its windows are over, for its watermark and its counts, also of late events.
/// The whole of it is written in each commit: an aggregation that collects costs what it holds, and has to say with
/// [`of`](crate::aggregate::of) what it collects of an event, for events themselves are no documents.
///
/// A session with `idle` is a debounce that survives a crash. A [`Flow`](crate::Flow) fed by a durable handler does
/// not: the event is settled when the flow has taken it, and what the flow holds is in memory.
///
/// ```
/// use std::time::Duration;
/// use tidings_core::{Envelope, View};
/// use tidings_flow::{KeptWindows, Windowing, aggregate::count};
///
/// const MINUTES: View = View::new("minutes");
/// let minutes = Windowing::tumbling(Duration::from_secs(60)).idle(Duration::from_secs(300));
/// let counted = KeptWindows::<Envelope, _>::new(MINUTES, minutes, count(), |minute, cx| {
///     cx.publish_envelope(Envelope::build("minute.counted").json(minute.value.to_string()));
///     Ok(())
/// })?;
/// let registration = counted.durable("minutes", "order.placed");
/// assert_eq!(registration.topics.len(), 2);
/// # Ok::<(), tidings_flow::Error>(())
/// ```
pub struct KeptWindows<T, A: Aggregation<T>> {
    view: View,
    settings: Windowing,
    aggregation: Arc<A>,
    tell: Tell<A::Out>,
    left_out: Option<LeftOut<T>>,
}

impl<T, A> KeptWindows<T, A>
where
    T: Argument + Sync,
    A: Aggregation<T, Out: Send> + Send + Sync + 'static,
    A::State: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    /// Windows kept in the documents of `view`; `tell` publishes what a window comes to, or writes it to a view.
    ///
    /// # Errors
    /// Every setting that means nothing, and an aggregation that cannot merge where windows share parts or grow.
    pub fn new(
        view: View,
        settings: Windowing,
        aggregation: A,
        tell: impl Fn(Summary<A::Out, Option<Text>>, &Cx) -> Handled + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let kept =
            Self { view, settings, aggregation: Arc::new(aggregation), tell: Arc::new(tell), left_out: None };
        kept.window()?;
        Ok(kept)
    }

    /// Who is told of an event that is in no window, because it came too late or too far ahead of the clock, or would
    /// have needed one window more than may be open. Both are counted in the document in any case.
    #[must_use]
    pub fn left_out(self, hook: impl Fn(&T, &Cx) + Send + Sync + 'static) -> Self {
        Self { left_out: Some(Arc::new(hook)), ..self }
    }

    /// Behind a durable subscription of this name to what matches `pattern`. Policy and start are said of what this
    /// returns; the order of keys must not be given up, or they fight for their documents.
    pub fn durable(self, name: impl Into<Text>, pattern: &str) -> Registration {
        let kept = Arc::new(self);
        let handler = move |event: Envelope, cx: Cx| {
            let kept = kept.clone();
            async move { kept.handle(event, cx).await }
        };
        let mut registration = handler.topic(pattern).durable(name);
        registration.topics.push(Pattern::parse(WINDOW_DUE));
        registration.event = T::SELECTS;
        registration.function = std::any::type_name::<Self>();
        registration
    }

    async fn handle(&self, event: Envelope, cx: Cx) -> Handled {
        let is_due = &**event.name() == WINDOW_DUE;
        if is_due
            && serde_json::from_slice::<String>(event.payload().permanent()?).permanent()?
                != *cx.subscription()
        {
            return Ok(());
        }
        let key = event.key().cloned();
        let id = Self::id(key.as_deref());
        let view = cx.view(self.view);
        let before = view.get::<Kept<A::State>>(&id).await?;
        let mut window = self.window().permanent()?;
        let mut due = None;
        if let Some(before) = &before {
            due = before.due.filter(|_| !is_due);
            window = window.restored(before.windows.clone()).permanent()?;
        }
        let mut out = Vec::new();
        let now = cx.now();
        if is_due {
            window.fire(now, &mut |one| out.push(one));
        } else {
            window.push((event_time(&event), T::take(&event)?), now, &mut |one| out.push(one));
        }
        for one in out {
            match one {
                Windowed::Summary(Summary { key: (), span, items, value, replaces, cause }) => {
                    (self.tell)(Summary { key: key.clone(), span, items, value, replaces, cause }, &cx)?;
                }
                Windowed::Late((_, event)) | Windowed::Refused((_, event)) => {
                    self.left_out.iter().for_each(|hook| hook(&event, &cx));
                }
            }
        }
        if due.is_none()
            && let Some(next) = window.due()
        {
            let json = serde_json::to_vec(cx.subscription()).permanent()?;
            let tick = Envelope::build(WINDOW_DUE).id(cx.effect_key("window due")).json(json);
            let tick = match &key {
                Some(key) => tick.key(key.clone()),
                None => tick,
            };
            // Time passes between the two: however long a key goes on, that is no loop.
            let hops = event.hops();
            cx.publish_envelope(tick).envelope(|tick| tick.hops(hops)).at(next.max(now));
            due = Some(next);
        }
        view.put(&id, Kept { windows: window.state(), due });
        Ok(())
    }

    fn window(&self) -> Result<Window<(Timestamp, T), Second<A>>, Error> {
        Window::new(self.settings.clone(), Second(self.aggregation.clone()), |(time, _)| *time)
    }

    /// The id of a key's document.
    pub fn id(key: Option<&str>) -> String {
        // What has no key must not be taken for a key.
        key.map_or_else(|| "none".to_owned(), |key| format!("key={key}"))
    }
}

impl<S> Kept<S> {
    /// What became of the key's events and windows.
    pub fn counts(&self) -> WindowCounts {
        self.windows.counts()
    }
}

impl<T, A: Aggregation<T>> fmt::Debug for KeptWindows<T, A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptWindows")
            .field("view", &self.view.name())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// An aggregation of the second of a pair.
struct Second<A>(Arc<A>);

impl<T, A: Aggregation<T>> Aggregation<(Timestamp, T)> for Second<A> {
    type State = A::State;
    type Out = A::Out;

    fn start(&self) -> A::State {
        self.0.start()
    }

    fn add(&self, state: &mut A::State, (_, item): &(Timestamp, T)) {
        self.0.add(state, item);
    }

    fn merge(&self, into: &mut A::State, later: &A::State) {
        self.0.merge(into, later);
    }

    fn finish(&self, state: &A::State) -> A::Out {
        self.0.finish(state)
    }

    fn merges(&self) -> bool {
        self.0.merges()
    }

    fn faults(&self) -> Vec<String> {
        self.0.faults()
    }
}
