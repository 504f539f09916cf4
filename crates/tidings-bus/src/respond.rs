//! Responders: listeners that answer.

use std::{
    future::Future,
    panic::{AssertUnwindSafe, Location, catch_unwind, resume_unwind},
    sync::Arc,
};

use futures_util::FutureExt;
use tidings_core::{BoxFuture, Handled, On};
use tokio::runtime::Handle;

use crate::{
    Bus, Fault, Guard, Listen, Question,
    about::{About, Place},
    asked::Answering,
    emission::Emission,
    gate::{Chosen, Gate},
    hear::{Deferred, Hear},
    listen::Written,
};

impl Bus {
    /// Answers questions of a type in place, by reference, as long as the guard lives. How they are asked says
    /// [`request`](Self::request).
    ///
    /// A responder is called when something was [asked](Self::request) and not when it is merely emitted. Of several
    /// responders the first to answer wins, be it with an answer or an error: those in place that stand behind it are
    /// not called any more, and what asynchronous ones answer later is ignored. One that panics leaves the question to
    /// the others, and the error channel is told.
    ///
    /// ```
    /// use tidings_bus::{Bus, RequestError, example::{NoPrice, PriceAsked}};
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let bus = Bus::new();
    /// let prices = bus.respond(|asked: &PriceAsked| match &*asked.item {
    ///     "tea" => Ok(450),
    ///     _ => Err(NoPrice::UnknownItem),
    /// });
    /// assert_eq!(bus.request(PriceAsked { item: "tea".into() }).await.expect("an answer"), 450);
    /// let error = bus.request(PriceAsked { item: "sea".into() }).await.expect_err("no answer");
    /// assert!(matches!(error, RequestError::Refused(NoPrice::UnknownItem)));
    /// drop(prices);
    /// let error = bus.request(PriceAsked { item: "tea".into() }).await.expect_err("nobody is there");
    /// assert!(matches!(error, RequestError::Unheard));
    /// # });
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[track_caller]
    pub fn respond<Q: Question>(
        &self,
        responder: impl Fn(&Q) -> Result<Q::Answer, Q::Error> + Send + Sync + 'static,
    ) -> Guard {
        self.listen().respond(responder)
    }

    /// The same in a task, with a handle that shares the question.
    ///
    /// A responder whose question was answered by another, or is not waited for any more, runs to its end: what it has
    /// begun is not cut off half-way.
    #[track_caller]
    pub fn respond_async<Q, Fut>(&self, responder: impl Fn(On<Q>) -> Fut + Send + Sync + 'static) -> Guard
    where
        Q: Question,
        Fut: Future<Output = Result<Q::Answer, Q::Error>> + Send + 'static,
    {
        self.listen().respond_async(responder)
    }
}

impl<Q: Question> Listen<'_, Q> {
    /// Answers questions that meet the conditions in place, as [`Bus::respond`] says.
    #[track_caller]
    pub fn respond(
        self,
        responder: impl Fn(&Q) -> Result<Q::Answer, Q::Error> + Send + Sync + 'static,
    ) -> Guard {
        let written = Written::by(&responder, Location::caller());
        let about = self.about(Place::Name(Q::INFO.name), written);
        let guard = self.guard(&about);
        self.bus.core().attach_typed(Arc::new(Responding { about, gate: WhenAsked(self.chosen), responder }));
        guard
    }

    /// Answers questions that meet the conditions in a task, as [`Bus::respond_async`] says.
    #[track_caller]
    pub fn respond_async<Fut>(self, responder: impl Fn(On<Q>) -> Fut + Send + Sync + 'static) -> Guard
    where
        Fut: Future<Output = Result<Q::Answer, Q::Error>> + Send + 'static,
    {
        let about = self.about(Place::Name(Q::INFO.name), Written::by(&responder, Location::caller()));
        let guard = self.guard(&about);
        let prepare = |emission: &Emission<'_>| Ok(Some((emission.on::<Q>()?, Answering::of(emission)?)));
        let responder = Arc::new(responder);
        let function = move |(question, answering): (On<Q>, Answering)| -> BoxFuture<'static, Handled> {
            let responder = responder.clone();
            Box::pin(async move {
                match AssertUnwindSafe(async { responder(question).await }).catch_unwind().await {
                    Ok(outcome) => answering.reply(&outcome),
                    Err(payload) => {
                        answering.failed(Fault::Panicked(Fault::message(&*payload)));
                        resume_unwind(payload)
                    }
                }
            })
        };
        let (gate, runtime) = (WhenAsked(self.chosen), Handle::try_current().ok());
        self.bus.core().attach_typed::<Q>(Arc::new(Deferred { about, gate, prepare, function, runtime }));
        guard
    }
}

/// Only what was asked and has no answer yet, and meets the other conditions.
struct WhenAsked<T: ?Sized>(Chosen<T>);

impl<T: ?Sized> Gate<T> for WhenAsked<T> {
    fn passes(&self, event: &T, emission: &Emission<'_>, about: &About) -> bool {
        emission.asked().is_some_and(|asked| !asked.is_answered()) && self.0.passes(event, emission, about)
    }

    fn claim(&self, emission: &Emission<'_>, about: &About) -> bool {
        Gate::<T>::claim(&self.0, emission, about)
    }
}

/// A responder in place.
struct Responding<Q, F> {
    about: About,
    gate: WhenAsked<Q>,
    responder: F,
}

impl<Q, F> Hear<Q> for Responding<Q, F>
where
    Q: Question,
    F: Fn(&Q) -> Result<Q::Answer, Q::Error> + Send + Sync,
{
    fn hear(&self, question: &Q, emission: &Emission<'_>) {
        if !self.gate.passes(question, emission, &self.about) || !self.gate.claim(emission, &self.about) {
            return emission.pass_over();
        }
        let answering = match Answering::of(emission) {
            Ok(answering) => answering,
            Err(failure) => return emission.unreadable(&self.about, &failure),
        };
        match catch_unwind(AssertUnwindSafe(|| (self.responder)(question))) {
            Ok(outcome) => {
                if let Err(failure) = answering.reply(&outcome) {
                    emission.failed(&self.about, Fault::Failed(failure));
                }
            }
            // Who asked is told here, the error channel by whoever catches it as any listener's.
            Err(payload) => {
                answering.failed(Fault::Panicked(Fault::message(&*payload)));
                resume_unwind(payload)
            }
        }
    }

    fn about(&self) -> &About {
        &self.about
    }
}
