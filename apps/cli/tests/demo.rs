//! The demo from outside: that it balances, also when it is killed; that it is taken up again; and above all that its
//! prover finds what is planted, each kind of fault by its own check.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::OnceLock,
};

use serde_json::{Value, json};
use tempfile::TempDir;
use tidings::{
    Commit, DocumentChange, DocumentKey, DocumentWrite, DueChange, DueRow, Envelope, Mode, Timestamp,
    open_store,
    store::{AnyStore, Read},
};

const SOURCE: &str = "/tidings/demo";

/// How many orders the demo has in which faults are planted.
const ORDERS: u64 = 300;

fn tidings(arguments: &[&str], store: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.args(arguments).arg("--store").arg(store).env_remove("TIDINGS_STORE").stdin(Stdio::null());
    command
}

fn run(arguments: &[&str], store: &Path) -> Output {
    tidings(arguments, store).output().expect("the binary starts")
}

fn words(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    format!("{out}{err}")
}

/// The object a demo ends with.
fn last_line(output: &Output) -> Value {
    let stdout = String::from_utf8_lossy(&output.stdout);
    let line = stdout.lines().last().unwrap_or_else(|| panic!("nothing on stdout: {}", words(output)));
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"))
}

fn balanced(output: &Output, orders: u64) -> Value {
    let report = last_line(output);
    assert!(output.status.success(), "{}", words(output));
    assert_eq!((&report["balanced"], &report["orders"]), (&json!(true), &json!(orders)), "{report}");
    let outcomes = report["outcomes"].as_object().expect("outcomes");
    assert_eq!(outcomes.values().filter_map(Value::as_u64).sum::<u64>(), orders, "{report}");
    report
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a folder")
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

#[test]
fn five_hundred_orders_balance_and_the_last_line_says_so() {
    let folder = folder();
    let output = run(&["demo", "--orders", "500", "--json", "--seed", "7"], &folder.path().join("demo.db"));
    let report = balanced(&output, 500);
    for outcome in ["shipped", "payment_failed", "out_of_stock"] {
        assert!(report["outcomes"][outcome].as_u64() > Some(0), "no {outcome}: {report}");
    }
    for figure in ["events", "commits", "events_per_second", "orders_per_second", "seconds", "retries"] {
        assert!(report[figure].as_f64() > Some(0.0), "no {figure}: {report}");
    }
    let latency = |name: &str| report["latency_ms"][name].as_f64().expect("a latency");
    assert!(latency("p50") > 0.0 && latency("p50") <= latency("p99") && latency("p99") <= latency("max"));
}

#[test]
fn without_a_store_it_makes_one_and_removes_it() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.args(["demo", "--orders", "50", "--json"]).env_remove("TIDINGS_STORE");
    let report = balanced(&command.output().expect("the binary starts"), 50);
    let url = report["store"].as_str().expect("a store");
    let path = url.strip_prefix("sqlite:").expect("a file");
    assert!(!Path::new(path).exists() && !Path::new(path).parent().is_some_and(Path::exists), "{path}");
}

#[test]
fn it_balances_although_it_is_killed_again_and_again() {
    let folder = folder();
    let store = folder.path().join("demo.db");
    let output = run(&["demo", "--crash", "--kills", "5", "--orders", "2000", "--json"], &store);
    let report = balanced(&output, 2_000);
    assert_eq!(report["kills"].as_array().map(Vec::len), Some(5), "{report}");
}

#[test]
fn a_demo_that_was_killed_is_taken_up_again_and_a_finished_one_is_only_proved() {
    let folder = folder();
    let store = folder.path().join("demo.db");
    let mut child = tidings(&["demo", "--orders", "3000", "--seed", "1"], &store)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("the binary starts");
    wait(async {
        let reading = loop {
            match open_store(&store.display().to_string(), Mode::ReadOnly).await {
                Ok(reading) => break reading,
                Err(error) => {
                    assert!(child.try_wait().expect("a child").is_none(), "it ended by itself: {error}");
                    tokio::task::yield_now().await;
                }
            }
        };
        let mut beats = reading.beats();
        while reading.head().await.expect("the store") < 4_000 {
            beats.changed().await.expect("the store is open");
        }
    });
    child.kill().expect("killed");
    child.wait().expect("ended");

    let other = run(&["demo", "--orders", "500"], &store);
    assert!(!other.status.success(), "another number of orders is refused: {}", words(&other));
    assert!(words(&other).contains("--orders 3000"), "{}", words(&other));

    let report = balanced(&run(&["demo", "--json"], &store), 3_000);
    assert_eq!(report["seed"], 1);
    let again = balanced(&run(&["demo", "--orders", "3000", "--json"], &store), 3_000);
    assert_eq!((&report["events"], &report["commits"]), (&again["events"], &again["commits"]));
}

#[test]
fn a_store_of_something_else_is_left_alone() {
    let folder = folder();
    let path = folder.path().join("orders.db");
    let head = |mode| {
        wait(async {
            let store = open_store(&path.display().to_string(), mode).await.expect("a store");
            if mode == Mode::Create {
                let event = Envelope::build("order.placed").source("/mine").key("1").finish().expect("valid");
                store.apply(Commit::events([event])).await.expect("applied");
            }
            let head = store.head().await.expect("the store");
            store.close().await.expect("closed");
            head
        })
    };
    assert_eq!(head(Mode::Create), 1);
    for arguments in [&["demo"][..], &["demo", "--crash"], &["demo", "--prove"]] {
        let output = run(arguments, &path);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(words(&output).contains("not a demo's store"), "{}", words(&output));
    }
    assert_eq!(head(Mode::ReadOnly), 1, "nothing was added");

    let output = run(&["demo"], Path::new("memory:"));
    assert!(!output.status.success() && words(&output).contains("memory"), "{}", words(&output));
}

#[test]
fn too_few_orders_for_so_many_kills_are_refused() {
    let folder = folder();
    let output = run(&["demo", "--crash", "--orders", "900"], &folder.path().join("demo.db"));
    assert!(!output.status.success() && words(&output).contains("at least 1000"), "{}", words(&output));
}

/// A finished demo; each plant gets a copy of it.
fn finished() -> &'static (TempDir, PathBuf) {
    static FINISHED: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    FINISHED.get_or_init(|| {
        let folder = folder();
        let store = folder.path().join("demo.db");
        let orders = ORDERS.to_string();
        balanced(&run(&["demo", "--orders", &orders, "--seed", "11", "--json"], &store), ORDERS);
        (folder, store)
    })
}

/// Plants something in a copy and wants the prover to say all of `words`.
fn planted(said: &[&str], plant: impl AsyncFnOnce(&AnyStore)) {
    let folder = folder();
    let store = folder.path().join("demo.db");
    std::fs::copy(&finished().1, &store).expect("copied");
    wait(async {
        let open = open_store(&store.display().to_string(), Mode::Existing).await.expect("a store");
        plant(&open).await;
        open.close().await.expect("closed");
    });
    let output = run(&["demo", "--prove"], &store);
    let heard = words(&output);
    assert_eq!(output.status.code(), Some(1), "the prover noticed nothing: {heard}");
    assert!(heard.contains("NOT BALANCED"), "{heard}");
    for word in said {
        assert!(heard.contains(word), "{word:?} is not in: {heard}");
    }
}

fn event(name: &str, key: &str, payload: Value) -> tidings::EnvelopeBuilder {
    Envelope::build(name).source(SOURCE).key(key).json(payload.to_string())
}

/// The first event of this name.
async fn first(store: &AnyStore, name: &str) -> Envelope {
    let mut from = 0;
    loop {
        let page = store.read(&Read::after(from)).await.expect("the log");
        if let Some(found) = page.events.iter().find(|event| &**event.envelope.name() == name) {
            return found.envelope.clone();
        }
        assert!(!page.end, "no {name}");
        from = page.next;
    }
}

async fn append(store: &AnyStore, event: tidings::EnvelopeBuilder) {
    let event = event.finish().expect("valid");
    store.apply(Commit::events([event])).await.expect("applied");
}

async fn write(store: &AnyStore, view: &str, id: &str, change: DocumentChange, indexed: &[&str]) {
    let indexed = indexed.iter().map(|field| tidings::Text::from(*field)).collect();
    let write = DocumentWrite { key: DocumentKey::new(view, id), change, indexed, expected: None };
    store.apply(Commit { documents: vec![write], ..Commit::default() }).await.expect("applied");
}

fn put(value: Value) -> DocumentChange {
    DocumentChange::Put(value.to_string().into())
}

#[test]
fn the_finished_demo_in_which_faults_are_planted_is_proved() {
    let output = run(&["demo", "--prove"], &finished().1);
    assert!(output.status.success() && words(&output).contains("BALANCED"), "{}", words(&output));
}

#[test]
fn goods_out_of_nowhere_are_found() {
    planted(
        &["✗ stock", "view shelves, mug-red", "✗ pending", "inventory has not handled"],
        async |store| {
            append(store, event("stock.received", "mug-red", json!({ "item": "mug-red", "quantity": 5 })))
                .await;
        },
    );
}

#[test]
fn a_reservation_made_twice_is_found() {
    planted(&["✗ orders", "completed, reserved", "✗ stock", "is not", "shipped"], async |store| {
        let shipped = first(store, "order.completed").await.key().expect("a key").to_string();
        let reserved = of_order(store, "stock.reserved", &shipped).await;
        // The same fact once more, under another id, right where a handler would have put it a second time.
        let again = reserved.edit().id("again");
        append(store, again).await;
    });
}

/// The event of this name and key.
async fn of_order(store: &AnyStore, name: &str, key: &str) -> Envelope {
    let page = store.read(&Read::stream(format!("{}-{key}", name.split('.').next().unwrap_or(name)))).await;
    let events = page.expect("the stream").events;
    let found = events.into_iter().find(|event| &**event.envelope.name() == name);
    found.unwrap_or_else(|| panic!("no {name} of {key}")).envelope
}

#[test]
fn money_taken_twice_is_found() {
    planted(&["✗ money", "paid for goods shipped worth", "view till, total"], async |store| {
        let charged = first(store, "payment.charged").await;
        append(store, charged.edit().id("again")).await;
    });
}

#[test]
fn an_order_nobody_placed_is_found() {
    planted(&["✗ orders", "order 301 is not one of 300", "view orders, 301"], async |store| {
        let line = json!({ "item": "mug-red", "quantity": 1, "price_cents": 495 });
        let placed = json!({ "order": 301, "customer": 1, "line": line });
        append(store, event("order.placed", "301", placed)).await;
    });
}

#[test]
fn an_event_of_somebody_else_is_found() {
    planted(&["✗ log", "rocket.launched is no event of the shop"], async |store| {
        append(store, event("rocket.launched", "1", json!({ "order": 1 }))).await;
    });
}

#[test]
fn an_event_in_the_wrong_chain_is_found() {
    planted(
        &["✗ chains", "was caused by an event of order", "does not belong to the chain"],
        async |store| {
            let completed = first(store, "order.completed").await;
            let number: u64 = completed.key().expect("a key").parse().expect("a number");
            let other = if number == 1 { 2 } else { 1 };
            let elsewhere = event("order.completed", &other.to_string(), json!({ "order": other }));
            append(store, elsewhere.caused_by(&completed)).await;
        },
    );
    planted(&["✗ chains", "which did not come before it"], async |store| {
        let completed = first(store, "order.completed").await;
        append(store, completed.edit().id("again").causation("nobody")).await;
    });
}

#[test]
fn a_view_that_says_something_else_is_found_whichever_it_is() {
    let shelf = json!({ "received": 1, "reserved": 0, "released": 0 });
    planted(&["✗ stock", "view shelves, mug-red: the log says"], async |store| {
        write(store, "shelves", "mug-red", put(shelf), &[]).await;
    });
    planted(&["✗ stock", "view parcels, lamp-blue: the log says"], async |store| {
        write(store, "parcels", "lamp-blue", put(json!({ "parcels": 1, "units": 1 })), &[]).await;
    });
    planted(&["✗ money", "view till, total: the log says"], async |store| {
        write(store, "till", "total", put(json!({ "charged": 1, "charged_cents": 1 })), &[]).await;
    });
    planted(&["✗ orders", "view orders, 17", "the view nothing"], async |store| {
        write(store, "orders", "17", DocumentChange::Delete, &["status"]).await;
    });
    planted(&["✗ orders", "view orders, 999: the log knows nothing of"], async |store| {
        write(store, "orders", "999", put(json!({ "status": "shipped" })), &["status"]).await;
    });
}

#[test]
fn what_is_left_to_do_is_found() {
    planted(&["✗ pending", "1 events wait in $schedule"], async |store| {
        let row = DueRow {
            queue: "$schedule".into(),
            id: "later".into(),
            due: Timestamp::from_millis(4_000_000_000_000),
            body: "{}".into(),
        };
        let commit = Commit { due: vec![DueChange::Put(row)], ..Commit::default() };
        store.apply(commit).await.expect("applied");
    });
}

#[test]
fn a_key_that_waits_and_a_dead_letter_are_found() {
    planted(&["✗ pending", "payments has 1 orders that wait"], async |store| {
        write(store, "$blocked/payments", "1", put(json!({})), &[]).await;
    });
    planted(&["✗ dead letters", "shipping has 1 dead letters"], async |store| {
        write(store, "$dead/shipping", "1", put(json!({})), &[]).await;
    });
}

#[test]
fn a_demo_that_does_not_balance_says_so_and_fails() {
    let folder = folder();
    let store = folder.path().join("demo.db");
    std::fs::copy(&finished().1, &store).expect("copied");
    wait(async {
        let open = open_store(&store.display().to_string(), Mode::Existing).await.expect("a store");
        write(&open, "till", "total", DocumentChange::Delete, &[]).await;
        open.close().await.expect("closed");
    });
    let output = run(&["demo", "--json"], &store);
    let report = last_line(&output);
    assert_eq!((output.status.code(), &report["balanced"]), (Some(1), &json!(false)), "{report}");
}

#[test]
fn a_file_that_was_changed_from_outside_is_found() {
    let folder = folder();
    let store = folder.path().join("demo.db");
    let mut bytes = std::fs::read(&finished().1).expect("read");
    // Wherever an order's line is written, in the log and in the views, a letter of it goes wrong.
    let word = b"price_cents";
    let places: Vec<usize> =
        (0..bytes.len() - word.len()).filter(|at| bytes[*at..].starts_with(word)).collect();
    assert!(!places.is_empty(), "lines are not to be found in the file");
    for at in places {
        bytes[at] = b'q';
    }
    std::fs::write(&store, bytes).expect("written");
    let output = run(&["demo", "--prove"], &store);
    assert_eq!(output.status.code(), Some(1), "the prover noticed nothing: {}", words(&output));
}
