//! How do retry, breaker and bulkhead behave when a dependency fails?
//!
//! A shop asks a bank for money, twenty times a second. The bank answers well, then ever more slowly, then not at all or
//! with errors, and recovers. What the shop's policy makes of it is printed, and drawn in `flaky.svg`: when the circuit
//! was open, how long calls took, how many ran at once, what was refused. The clock is driven, so that both are always
//! the same.
//!
//! ```text
//!  20 a second ──▶ retry ──▶ circuit ──▶ bulkhead ──▶ timeout ──▶ bank
//! ```
//! `cargo run -p flaky [FILE.svg]`

mod plot;

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use tidings::{
    Bulkhead, Circuit, Clock, Envelope, Failure, Handled, ManualClock, Policy, Retry, Timestamp,
    guard::{Guard, Ran, Surroundings},
};

/// How long it is watched.
const SECONDS: u64 = 45;
/// How long a step of the clock is.
const STEP: Duration = Duration::from_millis(10);
/// How many calls may run at once.
const PERMITS: u32 = 8;
/// How long one may take.
const TIMEOUT: Duration = Duration::from_secs(1);

fn policy() -> Policy {
    Policy::new()
        .retry(Retry::constant(Duration::from_millis(400)).attempts(3).jitter(0.2))
        .circuit(
            Circuit::failing(0.5)
                .of_at_least(10)
                .over_calls(20)
                .probe_after(Duration::from_secs(4))
                .probes(3),
        )
        .bulkhead(Bulkhead::default().permits(PERMITS).queue(8).wait(Duration::from_millis(300)))
        .timeout(TIMEOUT)
}

/// How a call of the bank ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The bank said yes.
    Worked,
    /// It said no.
    Failed,
    /// It said nothing in time.
    TimedOut,
}

/// What was seen; times are milliseconds from the beginning.
#[derive(Default)]
pub struct Seen {
    /// Calls of the bank: when they ended, how long they took, and how they ended.
    pub calls: Vec<(u64, u64, End)>,
    /// Payments that were not let through, and why.
    pub refused: Vec<(u64, &'static str)>,
    /// How payments ended at last: paid, refused, given up.
    pub payments: [u64; 3],
    /// From when on the circuit was in this state.
    pub states: Vec<(u64, &'static str)>,
    /// How many calls ran at once.
    pub in_flight: Vec<(u64, u32)>,
}

#[derive(Clone)]
struct Watch {
    clock: ManualClock,
    running: Arc<AtomicU32>,
    seen: Arc<Mutex<Seen>>,
}

impl Watch {
    fn millis(&self) -> u64 {
        u64::try_from(self.clock.now().as_millis()).unwrap_or(0)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call of the bank; if it is dropped before it has ended, it has taken too long.
struct Call {
    watch: Watch,
    begun: u64,
    end: End,
}

impl Call {
    fn begin(watch: Watch) -> Self {
        watch.running.fetch_add(1, Ordering::Relaxed);
        Self { begun: watch.millis(), watch, end: End::TimedOut }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let now = self.watch.millis();
        self.watch.running.fetch_sub(1, Ordering::Relaxed);
        self.watch.seen().calls.push((now, now - self.begun, self.end));
    }
}

/// The bank: how long it takes at a time, and whether it answers well.
async fn bank(watch: Watch, number: u64) -> Handled {
    let mut call = Call::begin(watch.clone());
    let some = number % 7 * 8;
    let (millis, works) = match watch.millis() {
        // Well, but now and then the line breaks.
        0..10_000 => (40 + some, number % 25 != 13),
        // Ever more slowly.
        now @ 10_000..17_000 => (40 + some + (now - 10_000) / 8, true),
        // Errors, and no answer for every third.
        17_000..27_000 => (if number.is_multiple_of(3) { 5_000 } else { 30 + some }, false),
        _ => (40 + some, true),
    };
    watch.clock.sleep(Duration::from_millis(millis)).await;
    call.end = if works { End::Worked } else { End::Failed };
    if works { Ok(()) } else { Err(Failure::transient("the bank is closed")) }
}

async fn pay(guard: Arc<Guard>, watch: Watch, number: u64) -> Result<()> {
    let payment = Envelope::build("payment.due").id(number.to_string()).source("/shop").finish()?;
    let ran = guard.run(&payment, |_| bank(watch.clone(), number)).await;
    let now = watch.millis();
    let mut seen = watch.seen();
    match ran {
        Ran::Done => seen.payments[0] += 1,
        Ran::Refused(refusal) => {
            seen.payments[1] += 1;
            seen.refused.push((now, refusal.word()));
        }
        _ => seen.payments[2] += 1,
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let file = std::env::args().nth(1).unwrap_or_else(|| "flaky.svg".into());
    let clock = ManualClock::at(Timestamp::from_millis(0));
    let watch = Watch { clock, running: Arc::default(), seen: Arc::default() };
    watch.seen().states.push((0, "closed"));
    let told = watch.clone();
    let notices = move |notice: tidings::guard::Notice| {
        let state = match notice.name() {
            "tidings.circuit.opened" => "open",
            "tidings.circuit.half-opened" => "half-open",
            "tidings.circuit.closed" => "closed",
            _ => return,
        };
        let now = told.millis();
        told.seen().states.push((now, state));
    };
    let around = Surroundings {
        clock: Arc::new(watch.clock.clone()),
        notices: Arc::new(notices),
        seed: 7,
        ..Surroundings::default()
    };
    let guard = Arc::new(Guard::new("shop/pay", policy(), around)?);
    println!("policy: {}", guard.policy());

    let mut paying = Vec::new();
    for step in 0..SECONDS * 100 {
        if step % 5 == 0 {
            paying.push(tokio::spawn(pay(guard.clone(), watch.clone(), step / 5)));
        }
        // Everybody does what is due now, before time goes on.
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        let now = watch.millis();
        let mut seen = watch.seen();
        let running = watch.running.load(Ordering::Relaxed);
        if seen.in_flight.last().is_none_or(|(_, before)| *before != running) {
            seen.in_flight.push((now, running));
        }
        drop(seen);
        watch.clock.advance(STEP);
    }
    // What has not ended by now is not watched any more.
    let mut open = 0;
    for paying in paying {
        match paying.is_finished() {
            true => paying.await??,
            false => {
                paying.abort();
                open += 1;
            }
        }
    }
    let seen = std::mem::take(&mut *watch.seen());
    tell(&seen, open);
    std::fs::write(&file, plot::svg(&seen))?;
    Ok(())
}

fn tell(seen: &Seen, open: usize) {
    println!("circuit:");
    for (at, state) in &seen.states {
        println!("  {:>6.2} s  {state}", *at as f64 / 1_000.0);
    }
    println!("  seconds   calls  worked  failed  timed out  median ms  refused: circuit  bulkhead  at once");
    for from in (0..SECONDS * 1_000).step_by(5_000) {
        let here = |at: u64| (from..from + 5_000).contains(&at);
        let calls: Vec<_> = seen.calls.iter().filter(|(at, ..)| here(*at)).collect();
        let ended = |end| calls.iter().filter(|(.., of)| *of == end).count();
        let mut took: Vec<u64> = calls.iter().map(|(_, took, _)| *took).collect();
        took.sort_unstable();
        let median = took.get(took.len() / 2).map_or_else(|| "-".to_owned(), u64::to_string);
        let refused =
            |why: &str| seen.refused.iter().filter(|(at, of)| here(*at) && of.starts_with(why)).count();
        let most = seen.in_flight.iter().filter(|(at, _)| here(*at)).map(|(_, of)| *of).max().unwrap_or(0);
        println!(
            "  {:>2} to {:<2} {:>7} {:>7} {:>7} {:>10} {median:>10} {:>17} {:>9} {most:>8}",
            from / 1_000,
            from / 1_000 + 5,
            calls.len(),
            ended(End::Worked),
            ended(End::Failed),
            ended(End::TimedOut),
            refused("circuit"),
            refused("bulkhead"),
        );
    }
    let [paid, refused, given_up] = seen.payments;
    println!("payments: {paid} paid, {refused} refused, {given_up} given up, {open} not decided");
}
