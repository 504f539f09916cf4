//! Flows an application keeps: they end with it, in order and within its deadline.

use std::{fmt, sync::Arc, time::Duration};

use parking_lot::Mutex;
use tidings_core::{Clock, Envelope, Pattern, TopicError};
use tidings_flow::{Drain, Error, Flow, Operator};

/// What a flow or a handler of batches in memory had not done at the end.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct FlowLeft {
    /// Its name; of a handler, its module and function.
    pub name: String,
    /// Outputs, such as batches, it was not done with; of a handler of batches, deliveries.
    pub outputs: usize,
    /// Outputs given up, since the application began; of a handler of batches none, for these are dead letters.
    pub given_up: u64,
}

/// A flow that is begun with the application; made by [`Module::flow`](crate::Module::flow).
#[derive(Clone)]
pub(crate) struct Begin {
    pub name: String,
    pub pattern: Result<Pattern, TopicError>,
    #[expect(clippy::type_complexity, reason = "it is named nowhere else")]
    pub begin: Arc<dyn Fn(Arc<dyn Clock>) -> Result<(Box<dyn Drain>, Listener), Error> + Send + Sync>,
}

pub(crate) type Listener = Box<dyn Fn(&Envelope) -> tidings_core::Handled + Send + Sync>;

impl Begin {
    pub(crate) fn new<O>(
        name: String,
        pattern: &str,
        begin: impl Fn(Arc<dyn Clock>) -> Result<Flow<O>, Error> + Send + Sync + 'static,
    ) -> Self
    where
        O: Operator<Item = Envelope> + Send + 'static,
        O::Out: Send + Sync,
    {
        let begin = move |clock| {
            let flow = begin(clock)?;
            let listener: Listener = Box::new(flow.listener());
            Ok((Box::new(flow) as Box<dyn Drain>, listener))
        };
        Self { name, pattern: Pattern::parse(pattern), begin: Arc::new(begin) }
    }
}

/// The flows of an application.
#[derive(Default)]
pub(crate) struct Flows(Mutex<Vec<(String, Box<dyn Drain>)>>);

impl Flows {
    pub(crate) fn keep(&self, name: String, flow: Box<dyn Drain>) {
        self.0.lock().push((name, flow));
    }

    pub(crate) fn flush(&self) {
        self.0.lock().iter().for_each(|(_, flow)| flow.flush());
    }

    /// Ends all at once; answers about those that had something left.
    pub(crate) async fn drain(&self, within: Duration) -> Vec<FlowLeft> {
        let flows = std::mem::take(&mut *self.0.lock());
        let ending = flows.into_iter().map(|(name, flow)| async move {
            let left = flow.drain(within).await;
            FlowLeft { name, outputs: left.outputs, given_up: left.given_up }
        });
        let all = futures_util::future::join_all(ending).await;
        all.into_iter().filter(|left| left.outputs > 0 || left.given_up > 0).collect()
    }
}

impl fmt::Debug for Flows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.lock().iter().map(|(name, _)| name)).finish()
    }
}
