//! Group commit: one thread takes everything that waits, has it made durable at once, and answers everybody.

use std::{collections::VecDeque, sync::Arc, thread::JoinHandle};

use anyhow::{Context, Result, anyhow};
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

use crate::workload::Sample;

/// The most appends made durable by one sync, as in our engine.
const GROUP: usize = 1_024;

/// What belongs to the thread.
pub(super) trait Writer: Send + 'static {
    /// Writes all events of all appends, durably when it returns.
    fn write(&mut self, appends: &[Vec<Arc<Sample>>]) -> Result<()>;
}

struct Job {
    events: Vec<Arc<Sample>>,
    answer: oneshot::Sender<Result<()>>,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    closed: bool,
}

#[derive(Default)]
struct Shared {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

/// The callers' end.
pub(super) struct Group {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Group {
    /// Starts the thread.
    pub(super) fn start(writer: impl Writer) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::Builder::new().name("group".into()).spawn({
            let shared = shared.clone();
            move || serve(&shared, writer)
        })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Has the events written.
    pub(super) async fn append(&self, events: Vec<Arc<Sample>>) -> Result<()> {
        let (answer, answered) = oneshot::channel();
        {
            let mut waiting = self.shared.waiting.lock();
            waiting.jobs.push_back(Job { events, answer });
            if waiting.jobs.len() == 1 {
                self.shared.wake.notify_one();
            }
        }
        answered.await.context("the writer has ended")?
    }

    /// Ends the thread when everything is written.
    pub(super) fn close(&self) -> Result<()> {
        self.shared.waiting.lock().closed = true;
        self.shared.wake.notify_one();
        let thread = self.thread.lock().take();
        thread.map_or(Ok(()), |thread| thread.join().map_err(|_| anyhow!("the writer has panicked")))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever wants to know whether it went well has called `close`.
        let _ = self.close();
    }
}

fn serve(shared: &Shared, mut writer: impl Writer) {
    loop {
        let (mut events, mut answers) = (Vec::new(), Vec::new());
        {
            let mut waiting = shared.waiting.lock();
            while waiting.jobs.is_empty() {
                if waiting.closed {
                    return;
                }
                shared.wake.wait(&mut waiting);
            }
            let many = waiting.jobs.len().min(GROUP);
            for job in waiting.jobs.drain(..many) {
                events.push(job.events);
                answers.push(job.answer);
            }
        }
        let outcome = writer.write(&events).map_err(|error| format!("{error:#}"));
        for answer in answers {
            // Who does not wait any more has gone away.
            let _ = answer.send(outcome.clone().map_err(anyhow::Error::msg));
        }
    }
}
