//! Two processes on one store: what they share is counted together, and what is claimed is handled by one of them.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdout, Command, Stdio},
};

use tidings::{Clock as _, Idempotency, Rate, SystemClock, prelude::*};
use tokio::sync::Semaphore;

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    order: u64,
}

const STORE: &str = "TIDINGS_TEST_STORE";

const WHAT: &str = "TIDINGS_TEST_WHAT";

/// The processes together, a second.
const LIMIT: u32 = 40;

/// What each process has to handle under the limit.
const PACED: u64 = 80;

/// The events both processes get.
const SAME: u64 = 60;

/// Where calls wait until both processes have everything.
static GATE: Semaphore = Semaphore::const_new(0);

/// Says that an order is handled, and since when.
async fn handle(placed: On<OrderPlaced>, _: Cx) -> Handled {
    let now = SystemClock.now().as_micros();
    drop(GATE.acquire().await);
    println!("\nhandled {} {now}", placed.order);
    Ok(())
}

async fn app(store: &str, policy: Policy) -> App {
    let module = Module::new("shop").on(handle.pool("shop").named("handle").policy(policy));
    App::builder().store(store).module(module).build().await.expect("builds")
}

/// Handles what it is told to; only a child runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let (Ok(store), Ok(what)) = (std::env::var(STORE), std::env::var(WHAT)) else { return };
    let (policy, many) = match what.as_str() {
        "paced" => (Policy::new().rate(Rate::per_second(LIMIT).shared()), PACED),
        _ => (Policy::new().idempotent(Idempotency::by_id().stored()), SAME),
    };
    let app = app(&store, policy).await;
    app.start().await.expect("starts");
    println!("\nready");
    std::io::stdin().read_line(&mut String::new()).expect("told to begin");
    if what == "paced" {
        GATE.add_permits(Semaphore::MAX_PERMITS);
    }
    for order in 0..many {
        // Not through the store, which would take an event with the same id once: both processes have it.
        let event =
            Envelope::of::<OrderPlaced>(OrderPlaced { order }).source("/shop").id(format!("o{order}"));
        app.bus().emit_envelope(&event.finish().expect("an event"));
    }
    println!("\nall there");
    std::io::stdin().read_line(&mut String::new()).expect("told to go on");
    if what != "paced" {
        GATE.add_permits(Semaphore::MAX_PERMITS);
    }
    app.settled().await.expect("settled");
    let figures = app.buffered().figures();
    assert!(app.shutdown().await.is_clean());
    // Its own handling and what another process had handled already.
    println!("\nended {} {}", figures[0].handled, figures[0].skipped);
}

struct Process(Child, Lines<BufReader<ChildStdout>>, Vec<(u64, i64)>);

impl Process {
    fn start(path: &Path, what: &str) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["child", "--exact", "--nocapture", "--test-threads=1"])
            .env(STORE, format!("sqlite:{}", path.display()))
            .env(WHAT, what)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        let mut process = Self(child, lines, Vec::new());
        process.line("ready");
        process
    }

    /// Waits for this line.
    fn line(&mut self, said: &str) {
        while self.next().expect("it says so before it ends") != said {}
    }

    /// The next line; those about orders are kept.
    fn next(&mut self) -> Option<String> {
        let line = self.1.next()?.expect("text");
        if let ["handled", order, at] = line.split(' ').collect::<Vec<_>>()[..] {
            self.2.push((order.parse().expect("a number"), at.parse().expect("a time")));
        }
        Some(line)
    }

    fn go(&mut self) {
        writeln!(self.0.stdin.as_mut().expect("piped"), "go").expect("it listens");
    }

    /// The orders it has handled, and since when; how many it has skipped.
    fn end(mut self) -> Ended {
        let mut skipped = None;
        while let Some(line) = self.next() {
            if let ["ended", count, others] = line.split(' ').collect::<Vec<_>>()[..] {
                assert_eq!(count, self.2.len().to_string());
                skipped = Some(others.parse().expect("a number"));
            }
        }
        assert!(self.0.wait().expect("it ends").success());
        (self.2, skipped.expect("it has ended in order"))
    }
}

type Ended = (Vec<(u64, i64)>, u64);

fn both(what: &str) -> [Ended; 2] {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("shop.db");
    let mut processes = [Process::start(&path, what), Process::start(&path, what)];
    processes.iter_mut().for_each(Process::go);
    processes.iter_mut().for_each(|process| process.line("all there"));
    processes.iter_mut().for_each(Process::go);
    processes.map(Process::end)
}

#[test]
fn a_shared_rate_is_not_exceeded_by_two_processes_together() {
    let ends = both("paced");
    for (handled, _) in &ends {
        let mut orders: Vec<u64> = handled.iter().map(|(order, _)| *order).collect();
        orders.sort_unstable();
        assert_eq!(orders, (0..PACED).collect::<Vec<_>>(), "nothing is lost, and nothing is done twice");
    }
    let mut windows = BTreeMap::<i64, u64>::new();
    for (_, at) in ends.iter().flat_map(|(handled, _)| handled) {
        *windows.entry(at.div_euclid(1_000_000)).or_default() += 1;
    }
    // A start takes its token first: at the end of a window it may be seen in the next. So in any windows in a row are
    // no more than they and the one before them have.
    let all: Vec<(i64, u64)> = windows.into_iter().collect();
    for (first, (begin, _)) in all.iter().enumerate() {
        for (last, (end, _)) in all.iter().enumerate().skip(first) {
            let started: u64 = all[first..=last].iter().map(|(_, many)| many).sum();
            let most = u64::from(LIMIT) * u64::try_from(end - begin + 2).expect("in order");
            assert!(started <= most, "{started} in {} windows: {all:?}", end - begin + 1);
        }
    }
    // One alone would be through in half of the time: they did not count each for itself.
    let span = all.last().expect("some").0 - all[0].0 + 1;
    assert!(span >= i64::try_from(2 * PACED / u64::from(LIMIT)).expect("few"), "{all:?}");
}

#[test]
fn what_both_processes_get_is_handled_by_one_of_them() {
    let ends = both("claimed");
    let mut times = HashMap::<u64, u64>::new();
    for (order, _) in ends.iter().flat_map(|(handled, _)| handled) {
        *times.entry(*order).or_default() += 1;
    }
    assert_eq!(times.len() as u64, SAME, "each is handled");
    assert!(times.values().all(|many| *many == 1), "and once: {times:?}");
    for (handled, skipped) in &ends {
        assert_eq!(handled.len() as u64 + skipped, SAME, "each process knows what became of each");
    }
}
