//! The format on disk: a store written by each released format stays readable, what is written now is what was written
//! then, a person can read it with a SQLite shell, and an event takes few bytes.

mod support;

use std::{path::Path, sync::Arc};

use support::{assert_sound, folder, open, runtime, whole_log};
use tidings_core::{
    Append, Attribute, BlobChange, CheckpointMove, Commit, DocumentChange, DocumentKey, DocumentWrite,
    DueChange, DueRow, Envelope, EventTime, ManualClock, PayloadForm, Priority, Tenant, Text, Timestamp,
};
use tidings_sqlite::{Options, SqliteStore};
use tidings_store::{DocumentQuery, Filter, Lease, Read, Store as _, Tenants};

fn fixture() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/format-1.sqlite")
}

const CLOCK: i64 = 1_700_000_000_000;

fn envelope(number: u64) -> Envelope {
    let build =
        |name: &str| Envelope::build(name).id(format!("01890a5d-ac96-774b-bcce-b302099a80{number:02}"));
    let usual = build("order.placed").key("4711").tag("customer", 7).json(br#"{"total":3}"#.as_slice());
    let event = match number {
        0 => usual,
        1 => usual
            .correlation("01890a5d-ac96-774b-bcce-b302099a8000")
            .causation("01890a5d-ac96-774b-bcce-b302099a8000"),
        2 => usual.id("plain").source("/shop").subject("about").stream("elsewhere").schema_version(3).hops(2),
        3 => usual
            .time(EventTime::parse("2011-10-01T00:38:44.546+02:00").expect("a time"))
            .priority(Priority::Critical)
            .content_type("application/json; charset=utf-8"),
        4 => build("order.attached")
            .key("other")
            .stream("order-4711")
            .payload(PayloadForm::Binary, vec![0, 159, 255]),
        5 => build("order-line.noted").payload(PayloadForm::Text, b"gr\xc3\xbc\xc3\x9fe".as_slice()),
        _ => build("order.closed")
            .expiry(Timestamp::from_millis(CLOCK + 1))
            .user("ann")
            .tenant("acme")
            .trace_parent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
            .trace_state("a=b")
            .data_schema("https://example.org/schema")
            .attribute("whole", Attribute::Integer(-7))
            .attribute("yes", Attribute::Bool(true))
            .attribute("word", Attribute::Text("x".into()))
            .attribute("list", Attribute::Json("[1,2]".into())),
    };
    event.finish().expect("an envelope")
}

const EVENTS: u64 = 7;

fn document(id: &str) -> DocumentWrite {
    DocumentWrite {
        key: DocumentKey::new("orders", id),
        change: DocumentChange::Put(br#"{"state":"open"}"#.as_slice().into()),
        indexed: [Text::from("state")].into(),
        expected: None,
    }
}

/// Everything the store keeps, once. Of what it writes only ids of stores and lock files are made up anew.
async fn write(store: &SqliteStore) {
    let acme = Tenant("acme".into());
    for number in 0..EVENTS {
        store.apply(Commit::events([envelope(number)])).await.expect("applies");
    }
    let of_acme = Append::to("acme", vec![envelope(0), envelope(1)]);
    store.apply(Commit { tenant: acme, ..Commit::append(of_acme) }).await.expect("applies");
    let commit = Commit {
        documents: vec![document("a"), document("b")],
        checkpoints: vec![CheckpointMove {
            name: "reader".into(),
            expected_revision: 0,
            watermark: 3,
            settled: vec![5, 300],
        }],
        due: vec![DueChange::Put(DueRow {
            queue: "later".into(),
            id: "one".into(),
            due: Timestamp::from_millis(CLOCK),
            body: br#"{"n":1}"#.as_slice().into(),
        })],
        blobs: vec![BlobChange::Put { key: "large".into(), bytes: vec![1, 2, 3].into() }],
        ..Commit::default()
    };
    store.apply(commit).await.expect("applies");
    let granted = store.lease("l", "ann", std::time::Duration::from_secs(1)).await.expect("asks");
    assert_eq!(granted, Lease::Granted { epoch: 1 });
}

async fn assert_everything_there(store: &SqliteStore) {
    assert_sound(store).await;
    let log = whole_log(store).await;
    assert_eq!(log.len() as u64, EVENTS + 2);
    let expected = (0..EVENTS).chain(0..2).map(envelope);
    for (found, expected) in log.iter().zip(expected) {
        assert!(found.envelope.same_content(&expected), "{found:?} is not {expected:?}");
        assert_eq!(found.envelope.id(), expected.id());
        assert_eq!(found.recorded, Timestamp::from_millis(CLOCK));
    }
    // By every index.
    let filters = [
        (Filter { tags: vec!["customer:7".into()], ..Filter::default() }, 4),
        (Filter { key: Some("4711".into()), ..Filter::default() }, 4),
        (Filter { key: Some("other".into()), ..Filter::default() }, 1),
        (Filter { category: Some("order".into()), ..Filter::default() }, 6),
        (Filter { category: Some("elsewhere".into()), ..Filter::default() }, 1),
        (Filter::names(["order.placed".parse().expect("a pattern")]), 4),
        (Filter { happened: Some((Timestamp::MIN, Timestamp::from_millis(CLOCK))), ..Filter::default() }, 1),
    ];
    for (filter, many) in filters {
        let page = store.read(&Read::after(0).filter(filter.clone())).await.expect("reads");
        assert_eq!(page.events.len(), many, "{filter:?}");
    }
    let field = Some(("state".into(), "open".into()));
    let documents =
        store.documents(&DocumentQuery { field, ..DocumentQuery::all("orders") }).await.expect("reads");
    let ids: Vec<_> = documents.iter().map(|document| (&*document.key.id, document.version)).collect();
    assert_eq!(ids, [("a", 1), ("b", 1)]);
    let checkpoint = store.checkpoint("reader").await.expect("reads");
    assert_eq!((checkpoint.revision, checkpoint.watermark, checkpoint.settled), (1, 3, vec![5, 300]));
    let due = store.due(&Tenants::All, "later", Timestamp::MAX, 9).await.expect("reads");
    assert_eq!((&*due[0].1.id, &*due[0].1.body), ("one", br#"{"n":1}"#.as_slice()));
    let blob = store.blob(&Tenant::default(), "large").await.expect("reads");
    assert_eq!(blob.as_deref(), Some([1, 2, 3].as_slice()));
    // The ids are known.
    for number in 0..EVENTS {
        let applied = store.apply(Commit::events([envelope(number)])).await.expect("applies");
        assert_eq!((applied.repeated, applied.first), (true, number + 1));
    }
}

fn options() -> Options {
    let clock = ManualClock::at(Timestamp::from_millis(CLOCK));
    Options { clock: Arc::new(clock), ..Options::default() }
}

#[test]
fn a_store_of_format_1_is_read_and_written_on() {
    let (_kept, path) = folder();
    std::fs::copy(fixture(), &path).expect("copies");
    runtime().block_on(async {
        let store = SqliteStore::open(&path, options()).expect("opens");
        assert_everything_there(&store).await;
        // The lock file of the process that made it is not here, so its lease is free.
        let lease = store.lease("l", "bob", std::time::Duration::from_secs(1)).await.expect("asks");
        assert_eq!(lease, Lease::Granted { epoch: 2 });
        let applied = store.apply(support::placed("new", "4711")).await.expect("applies");
        assert_eq!((applied.first, applied.version), (EVENTS + 3, 5));
        assert_sound(&store).await;
    });
}

/// Every row of every table, but for what is made up anew.
fn rows(path: &Path) -> Vec<String> {
    let conn = rusqlite::Connection::open(path).expect("opens");
    let list = |sql: &str| -> Vec<String> {
        let mut statement = conn.prepare(sql).expect("prepares");
        let rows = statement.query_map([], |row| row.get(0)).expect("runs");
        rows.map(|row| row.expect("a text")).collect()
    };
    let mut found = list("SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY name");
    for table in list("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name") {
        let columns = list(&format!("SELECT name FROM pragma_table_info('{table}')"));
        let columns: Vec<_> =
            columns.iter().filter(|column| *column != "node").map(|c| format!("quote({c})")).collect();
        let row = columns.join(" || ',' || ");
        let but = if table == "meta" { "WHERE name != 'store'" } else { "" };
        let rows = list(&format!("SELECT '{table}: ' || {row} FROM {table} {but} ORDER BY 1"));
        found.extend(rows);
    }
    for pragma in ["application_id", "user_version", "page_size"] {
        found.extend(list(&format!("SELECT '{pragma}: ' || {pragma} FROM pragma_{pragma}")));
    }
    found
}

/// Fails when what is written changes: then it is a new format, with a number and a fixture of its own. The fixture was
/// written by this very test; `TIDINGS_WRITE_FIXTURE` set to a path writes one there.
#[test]
fn what_is_written_is_format_1_to_the_byte() {
    let (_kept, path) = folder();
    runtime().block_on(async {
        let store = SqliteStore::open(&path, options()).expect("a store");
        write(&store).await;
        assert_everything_there(&store).await;
        store.close().await.expect("closes");
    });
    if let Some(to) = std::env::var_os("TIDINGS_WRITE_FIXTURE") {
        std::fs::copy(&path, to).expect("copies");
    }
    let (_kept, copy) = folder();
    std::fs::copy(fixture(), &copy).expect("copies");
    let (written, fixed) = (rows(&path), rows(&copy));
    for (written, fixed) in written.iter().zip(&fixed) {
        assert_eq!(written, fixed);
    }
    assert_eq!(written.len(), fixed.len());
}

#[test]
fn a_person_can_read_the_log_with_a_shell() {
    let (_kept, path) = folder();
    std::fs::copy(fixture(), &path).expect("copies");
    let conn = rusqlite::Connection::open(&path).expect("opens");
    let row: (i64, String, String, String, i64, String, Option<String>, String) = conn
        .query_row("SELECT * FROM log WHERE position = 4", [], |row| {
            Ok((
                row.get(0)?,
                row.get(1)?,
                row.get(2)?,
                row.get(3)?,
                row.get(4)?,
                row.get(5)?,
                row.get(6)?,
                row.get(7)?,
            ))
        })
        .expect("a row");
    let text = str::to_owned;
    let expected = (
        4,
        text("2023-11-14T22:13:20.000Z"),
        text(""),
        text("order-4711"),
        3,
        text("order.placed"),
        Some(text("2011-09-30T22:38:44.546Z")),
        text(r#"{"total":3}"#),
    );
    assert_eq!(row, expected);
    let due: String =
        conn.query_row("SELECT due || ' ' || body FROM waiting", [], |row| row.get(0)).expect("a row");
    assert_eq!(due, r#"2023-11-14T22:13:20.000Z {"n":1}"#);
}

/// The most bytes on disk for a byte of payload and metadata as JSON.
const RATIO_MAX: f64 = 1.30;

#[test]
fn an_event_with_all_its_indexes_takes_little_more_than_its_json() {
    let (_kept, path) = folder();
    let store = open(&path);
    let mut json = 0;
    runtime().block_on(async {
        for batch in 0..40_u64 {
            let events: Vec<_> = (0..500).map(|number| usual(batch * 500 + number)).collect();
            json += events.iter().map(json_bytes).sum::<usize>();
            store.apply(Commit::events(events)).await.expect("applies");
        }
        store.close().await.expect("closes");
    });
    let bytes = std::fs::metadata(&path).expect("is there").len();
    let ratio = bytes as f64 / json as f64;
    println!("{} bytes of JSON an event, {} on disk: {ratio:.2}", json / 20_000, bytes / 20_000);
    assert!(ratio <= RATIO_MAX, "{ratio}");
}

fn usual(number: u64) -> Envelope {
    let payload = format!(
        r#"{{"order":"{number:08}","customer":"c{:05}","total_cents":{},"currency":"EUR","lines":[{{"sku":"A-{:04}","count":2}}]}}"#,
        number % 3_000,
        number % 99_999,
        number % 9_999
    );
    let name = ["order.placed", "order.paid", "payment.received", "shipment.sent"][number as usize % 4];
    let cause = tidings_core::id::next();
    let event = Envelope::build(name)
        .source("/shop")
        .key(format!("{:06}", number % 2_500))
        .tag("customer", format!("c{:05}", number % 3_000))
        .time(Timestamp::from_micros(1_700_000_000_000_000 + number as i64 * 777))
        .correlation(cause.clone())
        .causation(cause)
        .json(payload.into_bytes());
    event.finish().expect("an envelope")
}

/// What the event takes as a CloudEvent in JSON.
fn json_bytes(event: &Envelope) -> usize {
    let texts = [
        ("id", event.id().to_string()),
        ("source", event.source().to_string()),
        ("type", event.name().to_string()),
        ("subject", event.subject().unwrap_or_default().to_owned()),
        ("time", event.time().map(ToString::to_string).unwrap_or_default()),
        ("correlationid", event.correlation().map(ToString::to_string).unwrap_or_default()),
        ("causationid", event.causation().map(ToString::to_string).unwrap_or_default()),
        ("tags", event.tags().join(",")),
    ];
    let mut object: serde_json::Map<String, serde_json::Value> =
        texts.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
    let data = serde_json::from_slice(event.payload().expect("a payload")).expect("JSON");
    object.insert("data".into(), data);
    object.insert("specversion".into(), "1.0".into());
    serde_json::to_string(&object).expect("JSON").len()
}
