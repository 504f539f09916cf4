//! A process that is told to end: it finishes what it has begun, says what was left, and loses nothing.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    time::Duration,
};

use tidings::{Mode, open_store, prelude::*, store::Read};

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    order: u64,
}

const SEEN: View = View::new("seen");

/// Says which test of this binary is to be the child, and where its store is.
const STORE: &str = "TIDINGS_TEST_STORE";

async fn see(placed: On<OrderPlaced>, cx: Cx) -> Handled {
    cx.view(SEEN).add("all", "orders", 1);
    cx.view(SEEN).update::<u64>(&(placed.order % 10).to_string(), |count| *count += 1).await
}

/// The application that is told to end, under load; only a child runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_under_load() {
    let Ok(store) = std::env::var(STORE) else { return };
    let module = Module::new("orders").on(see.durable("see"));
    let app = App::builder().store(store).module(module).build().await.expect("builds");
    let signals = signals();
    let publisher = app.clone();
    let publishing = tokio::spawn(async move {
        for order in 0.. {
            if publisher.publish(OrderPlaced { order }).await.is_err() {
                return order;
            }
            if order == 100 {
                println!("\nat work");
            }
        }
        0
    });
    let drained = app.run_until(signals).await.expect("starts");
    println!("\npublished {} drained: {drained}", publishing.await.expect("no panic"));
}

/// A handler that never ends, and a deadline that is far away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_hangs() {
    let Ok(store) = std::env::var(STORE) else { return };
    let hangs = |_: Envelope, _: Cx| {
        println!("\nat work");
        std::future::pending::<Handled>()
    };
    let module = Module::new("hangs").on(hangs.topic("**").durable("hangs"));
    let app = App::builder()
        .store(store)
        .drain(Duration::from_secs(600))
        .module(module)
        .build()
        .await
        .expect("builds");
    app.bus()
        .subscribe("tidings.shutting_down", |_: &Envelope| println!("\nshutting down"))
        .expect("valid")
        .forever();
    let signals = signals();
    app.start().await.expect("starts");
    app.publish(OrderPlaced { order: 1 }).await.expect("published");
    app.run_until(signals).await.expect("starts");
}

struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(test: &str, store: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(STORE, format!("sqlite:{}", store.display()))
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// Waits for a line that begins with `text`.
    fn hear(&mut self, text: &str) -> String {
        self.lines
            .by_ref()
            .map(|line| line.expect("text"))
            .find(|line| line.starts_with(text))
            .expect("it said so")
    }

    fn signal(&self, name: &str) {
        let told = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(told.expect("`kill` is there").success());
    }

    fn end(mut self) -> ExitStatus {
        self.child.wait().expect("it ends")
    }
}

#[tokio::test]
async fn sigterm_under_load_drains_and_nothing_is_lost() {
    for signal in ["TERM", "INT"] {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("app.db");
        let mut running = Running::start("child_under_load", &path);
        running.hear("at work");
        running.signal(signal);
        let report = running.hear("published");
        assert!(running.end().success());
        let (published, left) = report
            .strip_prefix("published ")
            .and_then(|rest| rest.split_once(" drained: "))
            .unwrap_or_else(|| panic!("{report}"));
        let published: u64 = published.parse().expect("a number");
        // What was read when the signal came, but not begun, is reported, and stays for the next run.
        let unsettled: u64 = left
            .strip_prefix("see: 0 running, ")
            .and_then(|left| left.strip_suffix(" not settled, 0 waiting, 0 parked"))
            .map_or(0, |unsettled| unsettled.parse().expect("a number"));
        assert!(unsettled > 0 || left == "everything was finished", "{report}");

        let store = open_store(&path.display().to_string(), Mode::ReadOnly).await.expect("opens");
        assert_eq!(store.head().await, Ok(published), "what was acknowledged is there, and no more");
        // What had not been handled is handled by the next run; here it is enough that view, checkpoint and report agree.
        let checkpoint = store.checkpoint("see").await.expect("read");
        let settled = checkpoint.watermark + checkpoint.settled.len() as u64;
        let view = tidings::ViewReader::new(store.clone(), SEEN);
        let all: serde_json::Value = view.get("all").await.expect("read").expect("there");
        assert_eq!(all["orders"], settled);
        assert!(settled + unsettled <= published, "{report}, settled {settled}");
        let page = store.read(&Read::newest().limit(1)).await.expect("read");
        assert_eq!(page.events[0].position, published);
    }
}

#[test]
fn a_second_signal_ends_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut running = Running::start("child_that_hangs", &dir.path().join("app.db"));
    running.hear("at work");
    running.signal("TERM");
    running.hear("shutting down");
    running.signal("TERM");
    assert_eq!(running.end().code(), Some(130));
}
