//! One question on its way: who has taken it, and who may still answer.
//!
//! ```text
//!  request ─► emission of the question ─► responders, each with an `Answering` ─► an envelope on the reply topic ─► request
//!                                              └─ the last one gone, and no answer: `Trouble` ──────────────────────┘
//! ```

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use parking_lot::Mutex;
use serde::Serialize;
use tidings_core::{Attribute, Envelope, Failure, Handled, Kind, Text};
use tokio::sync::oneshot;

use crate::{
    Fault,
    core::Core,
    decoded::Decoded,
    emission::{Emission, Fact, Given},
};

/// The attribute of a question that names the topic on which its reply is expected.
pub(crate) const REPLY_TO: &str = "replyto";

/// The attribute of a reply that says what it carries: `answer` or `error`.
pub(crate) const REPLY: &str = "reply";

/// What a reply carries that carries the responder's own error.
pub(crate) const ERROR: &str = "error";

/// Why no answer will come.
pub(crate) enum Trouble {
    /// No responder took the question.
    Unheard,
    /// Those who took it are gone; this happened to the last one.
    Failed(Fault),
}

/// A question that was asked. Held by whoever may still answer it: when the last one lets go, and none has answered,
/// who asked is told.
pub(crate) struct Asked {
    topic: Text,
    answered: AtomicBool,
    fault: Mutex<Option<Fault>>,
    trouble: Option<oneshot::Sender<Trouble>>,
}

impl Asked {
    /// A question whose answer is expected on `topic`, and where it is told that there will be none.
    pub(crate) fn new(topic: Text) -> (Arc<Self>, oneshot::Receiver<Trouble>) {
        let (tell, trouble) = oneshot::channel();
        let (answered, fault) = (AtomicBool::new(false), Mutex::new(None));
        (Arc::new(Self { topic, answered, fault, trouble: Some(tell) }), trouble)
    }

    /// Whether somebody has answered.
    pub(crate) fn is_answered(&self) -> bool {
        self.answered.load(Ordering::Acquire)
    }

    fn failed(&self, fault: Fault) {
        *self.fault.lock() = Some(fault);
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let trouble = self.fault.get_mut().take().map_or(Trouble::Unheard, Trouble::Failed);
        // Who has an answer, or has given up, does not listen.
        let _ = self.trouble.take().map(|tell| tell.send(trouble));
    }
}

/// The emission of a question.
pub(crate) struct Asking<'a> {
    pub(crate) given: Given<'a>,
    pub(crate) asked: &'a Arc<Asked>,
}

impl Fact for Asking<'_> {
    fn contract(&self) -> (&str, u32) {
        self.given.contract()
    }

    fn envelope(&self, core: &Core) -> Handled<Envelope> {
        self.given.envelope(core)
    }

    fn given(&self) -> Option<(&Envelope, &Decoded)> {
        self.given.given()
    }

    fn asked(&self) -> Option<&Arc<Asked>> {
        Some(self.asked)
    }
}

/// What a responder that has taken a question holds until it has answered.
pub(crate) struct Answering {
    core: Arc<Core>,
    asked: Arc<Asked>,
    question: Envelope,
    told: bool,
}

impl Answering {
    /// Takes the question of this emission.
    ///
    /// # Errors
    /// It is no question, or has no envelope.
    pub(crate) fn of(emission: &Emission<'_>) -> Handled<Self> {
        let asked = emission.asked().ok_or_else(|| Failure::permanent("nobody asked for a reply"))?;
        let question = emission.envelope().map_err(Failure::clone)?.clone();
        Ok(Self { core: emission.core().clone(), asked: asked.clone(), question, told: false })
    }

    /// Sends the reply, unless somebody was faster.
    ///
    /// # Errors
    /// Why it cannot be written; then this responder has failed.
    pub(crate) fn reply<A: Serialize, E: Serialize>(mut self, outcome: &Result<A, E>) -> Handled {
        self.told = true;
        match self.written(outcome) {
            Ok(reply) if !self.asked.answered.swap(true, Ordering::AcqRel) => {
                self.core.emit_envelope(&reply, &Emission::new(&self.core, &Given::new(&reply)));
                Ok(())
            }
            Ok(_) => Ok(()),
            Err(failure) => {
                self.asked.failed(Fault::Failed(failure.clone()));
                Err(failure)
            }
        }
    }

    /// Tells that this responder cannot answer.
    pub(crate) fn failed(mut self, fault: Fault) {
        self.told = true;
        self.asked.failed(fault);
    }

    fn written<A: Serialize, E: Serialize>(&self, outcome: &Result<A, E>) -> Handled<Envelope> {
        let (kind, json) = match outcome {
            Ok(answer) => ("answer", serde_json::to_vec(answer)),
            Err(error) => (ERROR, serde_json::to_vec(error)),
        };
        let json = json.map_err(|error| Failure::of(Kind::Permanent, error))?;
        let builder = Envelope::build(self.asked.topic.clone()).json(json).caused_by(&self.question);
        let builder = builder.attribute(REPLY, Attribute::Text(kind.into()));
        self.core.stamp(builder).finish().map_err(|error| Failure::of(Kind::Permanent, error))
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if !self.told {
            self.asked.failed(Fault::Dropped);
        }
    }
}
