//! Asking, and waiting for the answer.

use std::{fmt, future::IntoFuture, sync::Arc, time::Duration};

use futures_util::future::{Either, select};
use tidings_core::{Attribute, BoxFuture, Envelope, Failure, Kind, Text, id};
use tokio::sync::oneshot;

use crate::{
    Bus, Namespace, Next, Question, REQUEST_TIMEOUT, RequestError,
    asked::{Asked, Asking, ERROR, REPLY, REPLY_TO, Trouble},
    emission::{Emission, Given},
    namespace::written,
};

/// A question to be awaited; until then nothing is asked.
///
/// When it is first polled, the question is emitted in an envelope: under its own name, with an id that is also its
/// correlation unless it is [caused by](Self::caused_by) something, and with the attribute `replyto`, which names a topic
/// of its own, `reply.{name}.{id}`. The reply is an envelope under that topic, with the question's correlation and the
/// attribute `reply`: `answer` or `error`. So listeners to patterns see both. Dropped, or answered, or too late, it
/// leaves nothing behind.
#[must_use = "nothing is asked until it is awaited"]
pub struct Request<Q: Question> {
    bus: Bus,
    question: Arc<Q>,
    within: Duration,
    cause: Option<Envelope>,
    namespace: Option<Namespace>,
}

impl Bus {
    /// Asks a question and waits for the answer, up to [`REQUEST_TIMEOUT`] unless said otherwise.
    ///
    /// ```
    /// use std::time::Duration;
    /// use tidings_bus::{Bus, example::PriceAsked};
    /// use tidings_core::On;
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build()?.block_on(async {
    /// let bus = Bus::new();
    /// bus.respond_async(|asked: On<PriceAsked>| async move { Ok(asked.item.len() as u64) }).forever();
    /// let asked = bus.request(PriceAsked { item: "tea".into() }).within(Duration::from_secs(5));
    /// assert_eq!(asked.await.expect("an answer"), 3);
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn request<Q: Question>(&self, question: Q) -> Request<Q> {
        Request::new(self.clone(), None, question)
    }
}

impl<Q: Question> Request<Q> {
    fn new(bus: Bus, namespace: Option<Namespace>, question: Q) -> Self {
        Self { bus, question: Arc::new(question), within: REQUEST_TIMEOUT, cause: None, namespace }
    }

    pub(crate) fn within_namespace(namespace: Namespace, question: Q) -> Self {
        Self::new(namespace.bus().clone(), Some(namespace), question)
    }

    /// Waits no longer than this, by the bus's clock. The machine's clock needs a tokio runtime with time to wait in.
    pub fn within(self, span: Duration) -> Self {
        Self { within: span, ..self }
    }

    /// Asks on behalf of the event in `cause`: the question and the reply join its chain.
    pub fn caused_by(self, cause: &Envelope) -> Self {
        Self { cause: Some(cause.clone()), ..self }
    }

    /// Asks. The bus is let go with this: who waits does not keep it alive.
    fn begin(self) -> Result<Waiting, RequestError<Q::Error>> {
        let (id, name) = (id::next(), Q::INFO.name);
        let topic: Text = format!("reply.{name}.{id}").into();
        let (builder, topic, reply) = match &self.namespace {
            None => (Envelope::of::<Q>(self.question.clone()), topic.clone(), self.bus.next_of(&topic)),
            Some(inside) => {
                let builder =
                    written(inside.full(name), &*self.question).map_err(RequestError::Unreadable)?;
                (builder, inside.full(&topic), inside.listen().next_of(&topic))
            }
        };
        let reply = reply.map_err(unreadable)?;
        let builder = builder.id(id.clone()).correlation(id);
        let builder = self.cause.iter().fold(builder, |builder, cause| builder.caused_by(cause));
        let builder = builder.attribute(REPLY_TO, Attribute::Text(topic.clone()));
        let core = self.bus.core();
        let question = core.stamp(builder).finish().map_err(unreadable)?;
        let (asked, trouble) = Asked::new(topic);
        let asking = Asking { given: Given::with(&question, self.question), asked: &asked };
        core.emit_envelope(&question, &Emission::new(core, &asking));
        Ok((reply, trouble))
    }
}

/// Where the reply comes, and where it is told that none will.
type Waiting = (Next<Envelope>, oneshot::Receiver<Trouble>);

fn unreadable<E>(error: impl std::error::Error + Send + Sync + 'static) -> RequestError<E> {
    RequestError::Unreadable(Failure::of(Kind::Permanent, error))
}

impl<Q: Question> IntoFuture for Request<Q> {
    type Output = Result<Q::Answer, RequestError<Q::Error>>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (clock, within) = (self.bus.core().settings.clock.clone(), self.within);
            let (reply, trouble) = self.begin()?;
            // The reply is looked at first: where one came, it does not matter what happened to others. The clock is
            // asked last, and only by who has to wait: it may need a runtime for that.
            let outcome = select(reply, trouble);
            let late = std::pin::pin!(async { clock.sleep(within).await });
            match select(outcome, late).await {
                Either::Left((Either::Left((Ok(reply), _)), _)) => read::<Q>(&reply),
                Either::Left((Either::Right((Ok(Trouble::Unheard), _)), _)) => Err(RequestError::Unheard),
                Either::Left((Either::Right((Ok(Trouble::Failed(fault)), _)), _)) => {
                    Err(RequestError::Failed(fault))
                }
                Either::Left(_) => Err(RequestError::Ended),
                Either::Right(_) => Err(RequestError::TimedOut(within)),
            }
        })
    }
}

fn read<Q: Question>(reply: &Envelope) -> Result<Q::Answer, RequestError<Q::Error>> {
    // The library's message may quote what was answered, and that may be a secret; its place is not.
    let misfit = |what: &str, error: serde_json::Error| {
        let (name, line, column) = (Q::INFO.name, error.line(), error.column());
        let text = format!("the {what} to {name} does not fit at line {line} column {column}");
        RequestError::Unreadable(Failure::permanent(text))
    };
    let json = reply.payload().map_err(unreadable)?;
    match reply.attribute(REPLY) {
        Some(Attribute::Text(kind)) if **kind == *ERROR => {
            let error = serde_json::from_slice(json).map_err(|error| misfit("error", error))?;
            Err(RequestError::Refused(error))
        }
        _ => serde_json::from_slice(json).map_err(|error| misfit("answer", error)),
    }
}

impl<Q: Question> fmt::Debug for Request<Q> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Request({} within {:?})", Q::INFO.name, self.within)
    }
}
