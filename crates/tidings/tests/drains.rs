//! An application of every kind of handler is told to end under load: what was accepted is handled. Judged by a process
//! that only reads what the others have left.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, OpenOptions},
    io::{BufRead, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use tidings::{
    Mode, Tenant,
    buffered::{Config, Overflow, PoolConfig, QueueConfig},
    flow::{Batch, Flow},
    open_store,
    prelude::*,
    store::Read,
};

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    customer: u64,
    order: u64,
}

/// Published by the handlers in pools, for others in pools and on the bus, and by those of batches.
#[tidings::event(name = "order.packed")]
struct OrderPacked {
    #[event(key)]
    order: u64,
}

/// Published by a handler of batches, for another one.
#[tidings::event(name = "order.shelved")]
struct OrderShelved {
    #[event(key)]
    order: u64,
}

const ORDERS: View = View::new("orders");

/// How many customers there are.
const CUSTOMERS: u64 = 7;

/// Where a child works; whoever has none is no child.
const ROOM: &str = "TIDINGS_TEST_ROOM";

fn room() -> Option<PathBuf> {
    std::env::var_os(ROOM).map(PathBuf::from)
}

fn url(room: &Path) -> String {
    format!("sqlite:{}", room.join("shop.db").display())
}

/// Lines that are written at once, so that they outlive the process.
#[derive(Clone)]
struct Notes(Arc<Mutex<File>>);

impl Notes {
    fn open(room: &Path, name: &str) -> Self {
        let file = OpenOptions::new().append(true).create(true).open(room.join(name)).expect("a file");
        Self(Arc::new(Mutex::new(file)))
    }

    fn write(&self, number: u64) {
        writeln!(self.0.lock().expect("nobody panicked"), "{number}").expect("written");
    }

    fn read(room: &Path, name: &str) -> Vec<u64> {
        let text = std::fs::read_to_string(room.join(name)).unwrap_or_default();
        text.lines().map(|line| line.parse().expect("a number")).collect()
    }
}

/// Counts orders durably, each once in effect, and in order.
async fn count(placed: On<OrderPlaced>, cx: Cx) -> Handled {
    let orders = cx.view(ORDERS);
    orders.update::<Vec<u64>>(&placed.customer.to_string(), |orders| orders.push(placed.order)).await
}

async fn app(room: &Path) -> App {
    let packed = Notes::open(room, "packed");
    let pack = move |placed: On<OrderPlaced>, cx: Cx| {
        let packed = packed.clone();
        async move {
            tokio::task::yield_now().await;
            if placed.order % 50 == 17 && cx.attempt() == 1 {
                return Err(Failure::again(Duration::from_millis(5), "out of paper"));
            }
            packed.write(placed.order);
            cx.publish(OrderPacked { order: placed.order });
            Ok(())
        }
    };
    let labelled = Notes::open(room, "labelled");
    let label = move |packed: &OrderPacked| labelled.write(packed.order);
    let greeted = Notes::open(room, "greeted");
    let greet = move |placed: On<OrderPlaced>, _: Cx| {
        let greeted = greeted.clone();
        async move {
            tokio::task::yield_now().await;
            greeted.write(placed.order);
            Ok(())
        }
    };
    let thanked = Notes::open(room, "thanked");
    let thank = move |packed: &OrderPacked| thanked.write(packed.order);
    // Of batches: one in a pool, which fails for some and publishes what another one on the bus takes.
    let (shelved, listed) = (Notes::open(room, "shelved"), Notes::open(room, "listed"));
    let shelve = move |batch: Batched<Delivered<On<OrderPacked>>>| {
        let shelved = shelved.clone();
        async move {
            tokio::task::yield_now().await;
            let is_sick =
                |one: &Delivered<On<OrderPacked>>| one.event.order % 40 == 13 && one.cx.attempt() == 1;
            let sick: Vec<usize> = (0..batch.len()).filter(|at| is_sick(&batch[*at])).collect();
            for one in batch.items.iter().filter(|one| !is_sick(one)) {
                shelved.write(one.event.order);
                one.cx.publish(OrderShelved { order: one.event.order });
            }
            match sick.is_empty() {
                true => Ok(()),
                false => Err(Failed::<()>::at(sick, Failure::again(Duration::from_millis(5), "no shelf"))),
            }
        }
    };
    let list = move |batch: Batched<Delivered<On<OrderShelved>>>| {
        batch.iter().for_each(|one| listed.write(one.event.order));
        async {}
    };
    let booked = Notes::open(room, "booked");
    let module = Module::new("shop")
        .on(count.durable("count"))
        .on(pack.buffered().named("pack"))
        .on(label.pool("labels").named("label"))
        .on(greet.named("greet"))
        .on(thank.named("thank"))
        .on(shelve
            .in_batches(Batching::new().items(10).age(Duration::from_millis(50)))
            .pool("shelves")
            .named("shelve"))
        .on(list.in_batches_by_key(Batching::new().items(10).age(Duration::from_secs(3_600))).named("list"))
        .view(ORDERS)
        .flow("books", "order.placed", move |clock| {
            let booked = booked.clone();
            let batch = Batch::<Envelope>::new(Batching::new().items(25))?;
            Flow::of(batch).clock(clock).start(move |batch| {
                for placed in batch.iter().filter_map(|event| event.decode::<OrderPlaced>().ok()) {
                    booked.write(placed.order);
                }
                async {}
            })
        });
    // Small, so that publishers wait for room all the time.
    let pool = PoolConfig {
        queue: QueueConfig { events_max: 40, ..QueueConfig::default() },
        overflow: Overflow::Wait(Duration::from_secs(60)),
        ..PoolConfig::default()
    };
    let buffered = Config { shared: pool, ..Config::default() };
    App::builder().store(url(room)).buffered(buffered).module(module).build().await.expect("builds")
}

/// Publishes from many sides until it is told to end, and notes what was acknowledged; only a child runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_under_load() {
    let Some(room) = room() else { return };
    let app = app(&room).await;
    let acknowledged = Notes::open(&room, "acknowledged");
    app.start().await.expect("starts");
    let signals = signals();
    let publishers: Vec<_> = (0..CUSTOMERS)
        .map(|customer| {
            let (app, acknowledged) = (app.clone(), acknowledged.clone());
            tokio::spawn(async move {
                for nth in 0.. {
                    let order = nth * CUSTOMERS + customer;
                    if app.publish(OrderPlaced { customer, order }).await.is_err() {
                        return;
                    }
                    acknowledged.write(order);
                    if order == 50 * CUSTOMERS {
                        println!("\nat work");
                    }
                }
            })
        })
        .collect();
    let drained = app.run_until(signals).await.expect("starts");
    for publisher in publishers {
        publisher.await.expect("no panic");
    }
    println!("\ndrained: {}", serde_json::to_string(&drained).expect("JSON"));
}

/// Finishes what the one before has left; only a child runs it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_finishes() {
    let Some(room) = room() else { return };
    let app = app(&room).await;
    app.start().await.expect("starts");
    app.settled().await.expect("read");
    println!("\ndrained: {}", serde_json::to_string(&app.shutdown().await).expect("JSON"));
}

/// Judges by what is in the folder; only a child runs it.
#[tokio::test]
async fn child_that_judges() {
    let Some(room) = room() else { return };
    let acknowledged: BTreeSet<u64> = Notes::read(&room, "acknowledged").into_iter().collect();
    assert!(acknowledged.len() > 300, "{}", acknowledged.len());
    let store = open_store(&url(&room), Mode::ReadOnly).await.expect("opens");

    let mut logged: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let (mut in_log, mut packed_in_log) = (BTreeSet::new(), BTreeSet::new());
    let mut shelved_in_log = BTreeSet::new();
    let mut after = 0;
    loop {
        let page = store.read(&Read::after(after).limit(1_000)).await.expect("read");
        for event in &page.events {
            match &**event.envelope.name() {
                "order.placed" => {
                    let placed = event.envelope.decode::<OrderPlaced>().expect("an order");
                    assert!(in_log.insert(placed.order), "{} is there twice", placed.order);
                    logged.entry(placed.customer).or_default().push(placed.order);
                }
                "order.packed" => {
                    let packed = event.envelope.decode::<OrderPacked>().expect("a packed order");
                    assert!(packed_in_log.insert(packed.order), "{} was packed twice", packed.order);
                }
                name => {
                    assert_eq!(name, "order.shelved");
                    let shelved = event.envelope.decode::<OrderShelved>().expect("a shelved order");
                    assert!(shelved_in_log.insert(shelved.order), "{} was shelved twice", shelved.order);
                }
            }
        }
        after = page.next;
        if page.end {
            break;
        }
    }
    assert_eq!(in_log, acknowledged, "what was acknowledged is in the log, and nothing else");

    // Durable: once in effect, and in the order of each key, whichever run handled it.
    for (customer, orders) in logged {
        let key = tidings::DocumentKey::new("orders", customer.to_string().as_str());
        let found = store.document(&Tenant::default(), &key).await.expect("read").expect("there");
        assert_eq!(serde_json::from_slice::<Vec<u64>>(&found.value).expect("orders"), orders, "{customer}");
    }
    // In memory: all that was accepted was handled before the first run ended, once.
    for name in ["packed", "greeted", "booked", "labelled", "thanked", "shelved", "listed"] {
        let handled = Notes::read(&room, name);
        let once: BTreeSet<u64> = handled.iter().copied().collect();
        assert_eq!(once.len(), handled.len(), "{name} twice");
        let lost: Vec<_> = acknowledged.difference(&once).collect();
        assert!(lost.is_empty(), "{name} lost {lost:?} of {}", acknowledged.len());
    }
    assert_eq!((&packed_in_log, &shelved_in_log), (&acknowledged, &acknowledged));
    let packed = Notes::read(&room, "packed");
    for customer in 0..CUSTOMERS {
        let of: Vec<_> = packed.iter().filter(|order| *order % CUSTOMERS == customer).collect();
        assert!(of.is_sorted(), "a pool kept the order of each key");
    }
    println!("\njudged");
}

struct Running {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Running {
    fn start(test: &str, room: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args([test, "--exact", "--nocapture", "--test-threads=1"])
            .env(ROOM, room)
            .stdout(Stdio::piped())
            .spawn()
            .expect("starts");
        let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
        Self { child, lines }
    }

    /// Waits for a line that begins with `text`, and answers the rest of it.
    fn hear(&mut self, text: &str) -> String {
        let mut lines = self.lines.by_ref().map(|line| line.expect("text"));
        let found = lines.find_map(|line| line.strip_prefix(text).map(str::to_owned));
        found.unwrap_or_else(|| panic!("it did not say {text:?}"))
    }

    fn signal(&self, name: &str) {
        let told = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(told.expect("`kill` is there").success());
    }

    fn succeeds(mut self) {
        // So that it never waits for a reader.
        self.lines.by_ref().for_each(drop);
        assert!(self.child.wait().expect("it ends").success());
    }
}

#[test]
fn what_a_mixed_application_accepted_before_sigterm_is_handled() {
    for _ in 0..3 {
        let folder = tempfile::tempdir().expect("a folder");
        let mut running = Running::start("child_under_load", folder.path());
        running.hear("at work");
        running.signal("TERM");
        let left: serde_json::Value =
            serde_json::from_str(&running.hear("drained: ")).expect("JSON of what was left");
        running.succeeds();
        assert_eq!((&left["bus_calls"], &left["pools"]), (&0.into(), &serde_json::json!([])), "{left}");
        assert!(left.get("flows").is_none(), "{left}");

        let mut finishing = Running::start("child_that_finishes", folder.path());
        assert_eq!(
            finishing.hear("drained: "),
            r#"{"bus_calls":0,"pools":[],"subscriptions":[],"troubles":[]}"#
        );
        finishing.succeeds();

        let mut judge = Running::start("child_that_judges", folder.path());
        judge.hear("judged");
        judge.succeeds();
    }
}
