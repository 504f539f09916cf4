//! What happens when more comes in than can be handled?
//!
//! A clinic sends messages: alarms are critical, appointments normal, newsletters low. The gateway takes three messages
//! in the time in which six come in, so that the bounded queue before it is full most of the time. The same load meets
//! three ways of being full. Time is driven: the gateway takes a message when the program lets it, so that what is
//! printed is always the same.
//!
//! ```text
//!  1 alarm ───────┐  critical ─┐
//!  2 appointments ┼─▶ normal ──┼─▶ 3:2:1, in order by patient ─▶ gateway: 3 messages
//!  3 newsletters ─┘  low ──────┘   a round, room for 24
//! ```
//! `cargo run -p pipeline`

use std::{
    future::{IntoFuture as _, poll_fn},
    pin::Pin,
    sync::{Arc, Mutex},
    task::Poll,
    time::Duration,
};

use anyhow::Result;
use tidings::{
    ManualClock, Priority, PublishError, Receipt, Timestamp,
    buffered::{Admission, Config, Ended, Overflow, PoolConfig, QueueConfig},
    prelude::*,
};
use tokio::sync::Semaphore;

const ROUNDS: usize = 40;
const LEVELS: [(Priority, &str); 3] =
    [(Priority::Critical, "critical"), (Priority::Normal, "normal"), (Priority::Low, "low")];
/// What comes in a round, by level.
const COMING: [usize; 6] = [2, 1, 2, 0, 1, 2];

/// A message is to be sent.
#[event(name = "message.due")]
struct MessageDue {
    #[event(key)]
    patient: String,
    level: usize,
    number: u64,
}

/// The slow part: it takes a message for every permit.
#[derive(Clone)]
struct Gateway {
    permits: Arc<Semaphore>,
    sent: Arc<Mutex<Sent>>,
}

#[derive(Default)]
struct Sent {
    begun: usize,
    messages: Vec<(String, usize, u64)>,
}

impl Gateway {
    async fn send(self, due: On<MessageDue>) -> Handled {
        self.note(|sent| sent.begun += 1);
        self.permits.acquire().await.transient()?.forget();
        self.note(|sent| sent.messages.push((due.patient.clone(), due.level, due.number)));
        Ok(())
    }

    fn note(&self, note: impl FnOnce(&mut Sent)) {
        note(&mut self.sent.lock().expect("nobody panics with it"));
    }

    fn sent<T>(&self, look: impl FnOnce(&Sent) -> T) -> T {
        look(&self.sent.lock().expect("nobody panics with it"))
    }

    /// Lets it take one message, and waits until it has the next in its hands, so that nothing is left to chance.
    async fn take_one(&self, app: &App) {
        let before = self.sent(|sent| sent.messages.len());
        self.permits.add_permits(1);
        loop {
            let (done, idle) = self.sent(|sent| (sent.messages.len(), sent.begun == sent.messages.len()));
            let empty = app.buffered().figures()[0].queue.events == 0;
            if done > before && (!idle || empty) {
                return;
            }
            tokio::task::yield_now().await;
        }
    }
}

/// What became of the messages of one level.
#[derive(Default)]
struct Counts {
    published: u64,
    waited: u64,
    made_room: u64,
    refused: u64,
    sent: u64,
    dropped: u64,
}

async fn show(overflow: Overflow) -> Result<()> {
    println!("when it is full: {overflow}");
    let gateway = Gateway { permits: Arc::new(Semaphore::new(0)), sent: Arc::default() };
    let sender = gateway.clone();
    let send = move |due: On<MessageDue>, _: Cx| sender.clone().send(due);
    let queue = QueueConfig { workers: 1, concurrency: 1, events_max: 24, ..QueueConfig::default() };
    let pool = PoolConfig { queue, overflow, ..PoolConfig::default() };
    let app = App::builder()
        .clock(Arc::new(ManualClock::at(Timestamp::from_millis(0))))
        .buffered(Config { shared: pool, ..Config::default() })
        .module(Module::new("clinic").on(send.buffered()))
        .build()
        .await?;
    app.start().await?;

    let mut counts: [Counts; 3] = Default::default();
    let mut receipts = Vec::new();
    let mut number = 0;
    for round in 0..ROUNDS {
        for nth in 0..COMING.len() {
            // Another one comes first in each round.
            let level = COMING[(nth + round) % COMING.len()];
            number += 1;
            let patient = format!("{level}-{}", number % 5);
            counts[level].published += 1;
            match publish(&app, &gateway, MessageDue { patient, level, number }).await {
                Ok(receipt) => {
                    match receipt.admission() {
                        Admission::Waited => counts[level].waited += 1,
                        Admission::DroppedOldest(_) => counts[level].made_room += 1,
                        _ => {}
                    }
                    receipts.push((level, receipt));
                }
                Err(PublishError::Full(_)) => counts[level].refused += 1,
                Err(error) => return Err(error.into()),
            }
            // From the first on, it has one message in its hands.
            while gateway.sent(|sent| sent.begun) == 0 {
                tokio::task::yield_now().await;
            }
        }
        for _ in 0..3 {
            gateway.take_one(&app).await;
        }
    }
    let under_load = gateway.sent(|sent| sent.messages.clone());
    // The load is over; what waits is worked off.
    gateway.permits.add_permits(1_000);
    for (level, receipt) in receipts {
        for outcome in receipt.handled().await {
            match outcome.ended {
                Ended::Handled => counts[level].sent += 1,
                Ended::Dropped(_) => counts[level].dropped += 1,
                other => anyhow::bail!("{other:?}"),
            }
        }
    }

    println!("  level     published    sent  waited  refused  made room  dropped");
    for ((_, name), of) in LEVELS.iter().zip(&counts) {
        println!(
            "  {name:<8} {:>10} {:>7} {:>7} {:>8} {:>10} {:>8}",
            of.published, of.sent, of.waited, of.refused, of.made_room, of.dropped
        );
        anyhow::ensure!(of.published == of.sent + of.refused + of.dropped, "every message is accounted for");
    }
    let of_level = |level| under_load.iter().filter(|(_, of, _)| *of == level).count();
    println!("  sent while it was full: {}, {} and {}", of_level(0), of_level(1), of_level(2));
    println!("  longest time without a low one: {} messages", longest_without_low(&under_load));
    println!("  order kept by patient: {}", if in_order(&gateway) { "yes" } else { "no" });
    println!("  left at the end: {}", app.shutdown().await);
    Ok(())
}

/// Publishes; where it has to wait for room, the gateway goes on meanwhile.
async fn publish(app: &App, gateway: &Gateway, due: MessageDue) -> Result<Receipt, PublishError> {
    let priority = LEVELS[due.level].0;
    let mut publishing = app.publish(due).priority(priority).into_future();
    match poll_fn(|cx| Poll::Ready(Pin::new(&mut publishing).poll(cx))).await {
        Poll::Ready(published) => published,
        Poll::Pending => {
            gateway.take_one(app).await;
            publishing.await
        }
    }
}

fn longest_without_low(sent: &[(String, usize, u64)]) -> usize {
    sent.split(|(_, level, _)| *level == 2).map(<[_]>::len).max().unwrap_or(0)
}

fn in_order(gateway: &Gateway) -> bool {
    let sent = gateway.sent(|sent| sent.messages.clone());
    let numbers = |patient: &str| {
        sent.iter().filter(|(of, ..)| of == patient).map(|(.., number)| *number).collect::<Vec<_>>()
    };
    sent.iter().all(|(patient, ..)| numbers(patient).is_sorted())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    show(Overflow::Wait(Duration::from_secs(60))).await?;
    show(Overflow::Refuse).await?;
    show(Overflow::DropOldest).await
}
