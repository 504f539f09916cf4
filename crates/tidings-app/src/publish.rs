//! Publishing from outside a handler.

use std::{
    future::IntoFuture,
    pin::Pin,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll},
    time::Duration,
};

use futures_util::future::{Fuse, FutureExt as _};
use tidings_core::{
    Append, BoxFuture, Commit, DueChange, DueRow, Envelope, EnvelopeBuilder, Expected, Position, Priority,
    Text, Timestamp, cloudevents,
};
use tidings_durable::{SCHEDULE, Settled};
use tidings_runtime::{Admission, Admitted, Outcome};
use tidings_store::Error;

use crate::{PublishError, app::Inner};

/// An event on its way in; awaiting it publishes.
#[must_use = "nothing is published until this is awaited"]
pub struct Publish {
    app: Arc<Inner>,
    builder: EnvelopeBuilder,
    due: Option<Timestamp>,
    expected: Expected,
}

impl Publish {
    pub(crate) fn new(app: Arc<Inner>, builder: EnvelopeBuilder) -> Self {
        let builder = builder.source(app.source.clone());
        Self { app, builder, due: None, expected: Expected::Any }
    }

    /// The id: with the same one, publishing again changes nothing and answers as the first time.
    pub fn id(mut self, id: impl Into<Text>) -> Self {
        self.builder = self.builder.id(id);
        self
    }

    /// Another key than the event's own.
    pub fn key(mut self, key: impl Into<Text>) -> Self {
        self.builder = self.builder.key(key);
        self
    }

    /// Another stream than the default.
    pub fn stream(mut self, stream: impl Into<Text>) -> Self {
        self.builder = self.builder.stream(stream);
        self
    }

    /// How urgent it is.
    pub fn priority(mut self, priority: Priority) -> Self {
        self.builder = self.builder.priority(priority);
        self
    }

    /// Only if the stream's version is this.
    pub fn expecting(mut self, expected: Expected) -> Self {
        self.expected = expected;
        self
    }

    /// Publishes after a delay. The delay is durable.
    pub fn after(mut self, delay: Duration) -> Self {
        self.due = Some(self.app.clock.now().after(delay));
        self
    }

    /// Publishes at a time.
    pub fn at(mut self, time: Timestamp) -> Self {
        self.due = Some(time);
        self
    }

    /// Anything else about the envelope.
    pub fn envelope(mut self, change: impl FnOnce(EnvelopeBuilder) -> EnvelopeBuilder) -> Self {
        self.builder = change(self.builder);
        self
    }

    /// As far as it goes without waiting: without a store, and with room in every queue, all the way.
    fn begin(self) -> Begun {
        match self.checked() {
            Ok((app, envelope, None)) => match app.buffered.publish_at_once(&envelope, true) {
                Ok(Some(admitted)) => {
                    app.bus.emit_relayed(&envelope);
                    Begun::Done(Ok(Receipt::queued(app, envelope, admitted)))
                }
                Ok(None) => Begun::Waits(Box::pin(async move {
                    let ticket = app.buffered.admit(&envelope).await?;
                    let admitted = app.hand_over(&envelope, ticket, true).await?;
                    Ok(Receipt::queued(app, envelope, admitted))
                })),
                Err(error) => Begun::Done(Err(error.into())),
            },
            Ok((app, envelope, Some((due, expected)))) => {
                Begun::Waits(Box::pin(store(app, envelope, due, expected)))
            }
            Err(error) => Begun::Done(Err(error)),
        }
    }

    /// The envelope; and, if there is a store, when and under which condition it is to be there.
    #[expect(clippy::type_complexity, reason = "taken apart where it comes from")]
    fn checked(self) -> Result<(Arc<Inner>, Envelope, Option<(Option<Timestamp>, Expected)>), PublishError> {
        let Self { app, builder, due, expected } = self;
        if app.closed.load(Ordering::Relaxed) {
            return Err(PublishError::Closed);
        }
        let envelope = builder.finish_at(app.clock.now())?;
        let size = envelope.payload()?.len();
        if size > app.payload_bytes_max {
            let (name, limit) = (envelope.name().to_string(), app.payload_bytes_max);
            return Err(PublishError::TooLarge { name, size, limit });
        }
        if app.store.is_some() {
            return Ok((app, envelope, Some((due, expected))));
        }
        if due.is_some() {
            return Err(PublishError::NoStore("publishing later"));
        }
        if expected != Expected::Any {
            return Err(PublishError::NoStore("expecting a version"));
        }
        Ok((app, envelope, None))
    }
}

/// Makes an event durable, and hands it over.
async fn store(
    app: Arc<Inner>,
    envelope: Envelope,
    due: Option<Timestamp>,
    expected: Expected,
) -> Result<Receipt, PublishError> {
    let Some(store) = &app.store else { return Err(PublishError::NoStore("publishing")) };
    // The store takes its time, and a shutdown waits for it: one that does not see this token is seen here.
    let _publishing = app.publishing.token();
    if app.closing.is_cancelled() {
        return Err(PublishError::Closed);
    }
    let mut commit = match due {
        None => {
            let stream = envelope.own_stream().cloned().unwrap_or_else(|| Text::from(&*envelope.stream()));
            Commit::append(Append::to(stream, vec![envelope.clone()]).expecting(expected))
        }
        Some(due) => Commit { due: vec![scheduled(&envelope, due)?], ..Commit::default() },
    };
    if let Some(tenant) = envelope.tenant() {
        commit.tenant = tidings_core::Tenant(tenant.clone());
    }
    // Room first: an event for which there is none is given back, and is not durable either.
    let ticket = match due {
        None => app.buffered.admit(&envelope).await?,
        Some(_) => None,
    };
    let applied = store.apply(commit).await?;
    if due.is_some() {
        return Ok(Receipt {
            scheduled: true,
            ..Receipt::queued(app.clone(), envelope, Admitted::default())
        });
    }
    let (position, version) = (Some(applied.first), Some(applied.version));
    let admitted = match applied.repeated {
        true => Admitted::default(),
        false => match app.hand_over(&envelope, ticket, true).await {
            Ok(admitted) => admitted,
            Err(PublishError::Full(full)) => {
                let id = envelope.id().clone();
                return Err(PublishError::OnlyDurable { id, why: full.why.to_string() });
            }
            Err(error) => return Err(error),
        },
    };
    Ok(Receipt { position, version, ..Receipt::queued(app.clone(), envelope, admitted) })
}

impl IntoFuture for Publish {
    type Output = Result<Receipt, PublishError>;
    type IntoFuture = Publishing;

    fn into_future(self) -> Publishing {
        Publishing { begins: Some(self), waits: Fuse::terminated() }
    }
}

/// An event that is being published. Nothing has happened before it is polled; once it was, the event may be in, also
/// when this is dropped. When it has answered, it never does again.
#[must_use = "nothing is published until this is awaited"]
pub struct Publishing {
    begins: Option<Publish>,
    waits: Fuse<Waiting>,
}

type Waiting = BoxFuture<'static, Result<Receipt, PublishError>>;

/// How far it came without waiting.
enum Begun {
    Done(Result<Receipt, PublishError>),
    Waits(Waiting),
}

impl Future for Publishing {
    type Output = Result<Receipt, PublishError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.begins.take().map(Publish::begin) {
            Some(Begun::Done(result)) => return Poll::Ready(result),
            Some(Begun::Waits(waits)) => self.waits = waits.fuse(),
            None => {}
        }
        Pin::new(&mut self.waits).poll(context)
    }
}

pub(crate) fn scheduled(envelope: &Envelope, due: Timestamp) -> Result<DueChange, Error> {
    let body = cloudevents::write(envelope, None).map_err(|error| Error::Refused(error.to_string()))?;
    Ok(DueChange::Put(DueRow {
        queue: Text::from(SCHEDULE),
        id: envelope.id().clone(),
        due,
        body: body.into(),
    }))
}

/// An event that has been published: durable, where there is a store.
#[derive(Clone)]
pub struct Receipt {
    app: Arc<Inner>,
    envelope: Envelope,
    admitted: Admitted,
    position: Option<Position>,
    version: Option<u64>,
    scheduled: bool,
}

impl std::fmt::Debug for Receipt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Receipt")
            .field("id", self.envelope.id())
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Receipt {
    fn queued(app: Arc<Inner>, envelope: Envelope, admitted: Admitted) -> Self {
        Self { app, envelope, admitted, position: None, version: None, scheduled: false }
    }

    /// The event's id.
    pub fn id(&self) -> &Text {
        self.envelope.id()
    }

    /// Its position in the log; `None` without a store, and for an event that is published later.
    pub fn position(&self) -> Option<Position> {
        self.position
    }

    /// The version of its stream after it.
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// What was done with it on its way into the queues of buffered handlers.
    pub fn admission(&self) -> Admission {
        self.admitted.admission
    }

    /// Waits until every buffered handler of this process that selects the event has ended with it, however often it is
    /// tried again, and says how.
    pub async fn handled(&self) -> Vec<Outcome> {
        self.admitted.outcomes.all().await
    }

    /// Takes an event that is published later back; answers whether it was still there.
    ///
    /// # Errors
    /// When the store cannot be written.
    pub async fn cancel(self) -> Result<bool, PublishError> {
        let Some(store) = self.app.store.as_ref().filter(|_| self.scheduled) else { return Ok(false) };
        let take = DueChange::Take { queue: Text::from(SCHEDULE), id: self.envelope.id().clone() };
        match store.apply(Commit { due: vec![take], ..Commit::default() }).await {
            Ok(_) => Ok(true),
            Err(Error::DueTaken { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Waits until the event is settled in every durable subscription of this process that selects it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn settled(&self) -> Result<Vec<(Text, Settled)>, PublishError> {
        let (Some(node), Some(position)) = (&self.app.node, self.position) else { return Ok(Vec::new()) };
        let mut all = Vec::new();
        for name in node.selecting(&self.envelope) {
            if let Some(settled) = node.outcome(&name, position, self.envelope.key()).await? {
                all.push((name, settled));
            }
        }
        Ok(all)
    }
}
