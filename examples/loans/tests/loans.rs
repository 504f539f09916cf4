//! The built program on the real log: killed at random moments and started again until it is through, its totals have
//! to be those that were published, and those that a few lines of straightforward code count.

use std::{
    collections::{BTreeMap, HashSet},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use flate2::{Compression, read::MultiGzDecoder, write::GzEncoder};
use serde_json::{Value, json};
use tempfile::TempDir;
use tidings::{
    Commit, DocumentChange, DocumentKey, DocumentWrite, EventTime, Mode, open_store,
    store::{AnyStore, Read},
};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data/loans.ndjson.gz");

/// How often the program is killed.
const KILLS: u64 = 24;

/// Events of the log, each of which is first stored and then handled.
const EVENTS: u64 = 262_200;

/// Published totals of this log.
const PUBLISHED: [(&str, u64); 17] = [
    ("A_SUBMITTED", 13_087),
    ("A_PARTLYSUBMITTED", 13_087),
    ("A_PREACCEPTED", 7_367),
    ("A_ACCEPTED", 5_113),
    ("A_FINALIZED", 5_015),
    ("A_APPROVED", 2_246),
    ("A_REGISTERED", 2_246),
    ("A_ACTIVATED", 2_246),
    ("A_DECLINED", 7_635),
    ("A_CANCELLED", 2_807),
    ("O_SELECTED", 7_030),
    ("O_CREATED", 7_030),
    ("O_SENT", 7_030),
    ("O_SENT_BACK", 3_454),
    ("O_CANCELLED", 3_655),
    ("O_ACCEPTED", 2_243),
    ("O_DECLINED", 802),
];

/// The log, or a word about its absence.
fn data(what: &str) -> Option<&'static Path> {
    let file = Path::new(DATA);
    if file.exists() {
        return Some(file);
    }
    let why = "shared/data/loans.ndjson.gz is not beside the repository";
    eprintln!("SKIPPED: {what} — {why}");
    if let Some(list) = std::env::var_os("TIDINGS_SKIPS") {
        let file = std::fs::OpenOptions::new().append(true).create(true).open(list);
        writeln!(file.expect("the list of skips"), "{what} — {why}").expect("the list of skips");
    }
    None
}

fn loans(file: &Path, store: &Path, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_loans"));
    command.arg(file).arg("--store").arg(store).args(more).stdin(Stdio::null());
    command
}

fn succeeded(mut command: Command) -> Output {
    let output = command.output().expect("the program starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

async fn open(store: &Path, mode: Mode) -> AnyStore {
    open_store(&store.display().to_string(), mode).await.expect("a store")
}

/// Draws evenly (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

/// Killed when the test gives it up.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// How far the program has come: events stored and events handled.
async fn progress(store: &AnyStore) -> u64 {
    let stored = store.head().await.expect("the store");
    stored + store.checkpoint("loans").await.expect("the store").watermark
}

/// The store of a run that was killed at random moments and then finished.
fn survived(file: &Path) -> &'static (TempDir, PathBuf) {
    static SURVIVED: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    SURVIVED.get_or_init(|| {
        let seed = std::env::var("TIDINGS_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
        eprintln!("TIDINGS_SEED={seed}");
        let folder = tempfile::tempdir().expect("a folder");
        let store = folder.path().join("loans.db");
        wait(kill_again_and_again(file, &store, &mut Dice(seed)));
        (folder, store)
    })
}

async fn kill_again_and_again(file: &Path, store: &Path, dice: &mut Dice) {
    // Someone has to make the file before it can be watched.
    open(store, Mode::Create).await.close().await.expect("closed");
    let watched = open(store, Mode::ReadOnly).await;
    let mut beats = watched.beats();
    // Not in the last part: there has to be something left to interrupt.
    let mut points: Vec<u64> = (0..KILLS).map(|_| 1 + dice.below(2 * EVENTS * 9 / 10)).collect();
    points.sort_unstable();
    let mut killed = Vec::new();
    for point in points {
        let mut program = Running(
            loans(file, store, &[])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("the program starts"),
        );
        while progress(&watched).await < point {
            let ended = program.0.try_wait().expect("a process");
            assert!(ended.is_none(), "it ended by itself ({ended:?}) before {point}; killed at {killed:?}");
            beats.changed().await.expect("the store is open");
        }
        // A commit takes some milliseconds: any moment of it may be hit.
        let (late, begun) = (Duration::from_micros(dice.below(30_000)), Instant::now());
        while begun.elapsed() < late {
            std::hint::spin_loop();
        }
        let ended = program.0.try_wait().expect("a process");
        assert!(ended.is_none(), "it ended by itself ({ended:?}) at {point}; killed at {killed:?}");
        drop(program);
        killed.push(progress(&watched).await);
    }
    watched.close().await.expect("closed");
    eprintln!("killed at {killed:?} of {}", 2 * EVENTS);
    let between = |from: u64, to: u64| killed.iter().any(|at| (from..to).contains(at));
    assert!(between(1, EVENTS) && between(EVENTS, 2 * EVENTS), "it was killed in both phases");
}

/// What the report has to say, counted from the file by code that shares nothing with the program's.
fn counted(file: &Path) -> Value {
    struct Loan {
        first: i64,
        last: i64,
        amount: u64,
        state: String,
        outcome: &'static str,
    }
    let lines = BufReader::new(MultiGzDecoder::new(std::fs::File::open(file).expect("the log"))).lines();
    let mut activities: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    let mut loans: BTreeMap<String, Loan> = BTreeMap::new();
    let mut events = 0;
    for line in lines {
        let event: Value = serde_json::from_str(&line.expect("a line")).expect("JSON");
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let (activity, step) = (text(&event["data"]["activity"]), text(&event["data"]["lifecycle"]));
        let at = EventTime::parse(event["time"].as_str().expect("a time")).expect("a time").at().as_micros();
        let loan = loans.entry(text(&event["subject"])).or_insert(Loan {
            first: at,
            last: at,
            amount: 0,
            state: String::new(),
            outcome: "open",
        });
        loan.last = at;
        if let Some(amount) = event["data"]["amount_req"].as_str() {
            loan.amount = amount.parse().expect("a number");
        }
        loan.outcome = match activity.as_str() {
            "A_APPROVED" => "approved",
            "A_DECLINED" => "declined",
            "A_CANCELLED" => "cancelled",
            _ => loan.outcome,
        };
        if activity.starts_with("A_") {
            loan.state.clone_from(&activity);
        }
        *activities.entry(activity).or_default().entry(step).or_default() += 1;
        events += 1;
    }
    let mut states: BTreeMap<&str, u64> = BTreeMap::new();
    loans.values().for_each(|loan| *states.entry(&loan.state).or_default() += 1);
    let outcomes = ["approved", "declined", "cancelled", "open"].map(|outcome| {
        let found: Vec<_> = loans.values().filter(|loan| loan.outcome == outcome).collect();
        let mut took: Vec<_> = found.iter().map(|loan| loan.last - loan.first).collect();
        took.sort_unstable();
        let euros: u64 = found.iter().map(|loan| loan.amount).sum();
        let days = (took[took.len() / 2] as f64 / 86_400e6 * 1_000.0).round() / 1_000.0;
        json!({ "outcome": outcome, "applications": found.len(), "euros": euros, "median_days": days })
    });
    json!({
        "events": events,
        "applications": loans.len(),
        "activities": activities,
        "states": states,
        "outcomes": outcomes,
    })
}

#[test]
fn killed_at_random_moments_it_ends_with_the_same_totals() {
    let Some(file) = data("loans: killed at random moments") else { return };
    let store = &survived(file).1;
    let mut report = report(&succeeded(loans(file, store, &["--json"])));

    assert_eq!((&report["events"], &report["applications"]), (&json!(EVENTS), &json!(13_087)));
    for (activity, events) in PUBLISHED {
        assert_eq!(report["activities"][activity], json!({ "COMPLETE": events }), "{activity}");
    }
    let longest = report.as_object_mut().expect("an object").remove("longest");
    assert_eq!(longest.and_then(|ten| ten.as_array().map(Vec::len)), Some(10));
    assert_eq!(report, counted(file));

    wait(async {
        let store = open(store, Mode::ReadOnly).await;
        let (mut ids, mut from) = (HashSet::new(), 0);
        loop {
            let page = store.read(&Read::after(from).limit(4_000)).await.expect("the log");
            for event in &page.events {
                assert!(ids.insert(event.envelope.id().clone()), "{} is there twice", event.envelope.id());
            }
            from = page.next;
            if page.end {
                break;
            }
        }
        assert_eq!(ids.len() as u64, EVENTS);
    });
}

#[test]
fn what_it_prints_is_what_is_expected_and_a_second_run_adds_nothing() {
    let Some(file) = data("loans: the expected output") else { return };
    let store = &survived(file).1;
    succeeded(loans(file, store, &[]));
    let head = || wait(async { open(store, Mode::ReadOnly).await.head().await.expect("the store") });
    let before = head();
    let output = succeeded(loans(file, store, &[]));
    assert_eq!(head(), before);
    let expected = include_str!("../expected.txt");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "compare with expected.txt");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("ingested 0 events") && said.contains("handled 0 events"), "{said}");
}

/// Made up: two applications, six events.
fn small(folder: &Path) -> PathBuf {
    let file = folder.join("small.ndjson.gz");
    let mut gz = GzEncoder::new(std::fs::File::create(&file).expect("a file"), Compression::fast());
    let steps = [
        ("7", "A_SUBMITTED", "2011-10-01T00:00:00+02:00"),
        ("8", "A_SUBMITTED", "2011-10-01T00:00:01+02:00"),
        ("7", "A_PREACCEPTED", "2011-10-01T00:00:02+02:00"),
        ("7", "W_Afhandelen leads", "2011-10-03T00:00:02+02:00"),
        ("8", "A_DECLINED", "2011-10-01T12:00:01+02:00"),
        ("7", "A_APPROVED", "2011-10-03T00:00:03+02:00"),
    ];
    for (number, (subject, activity, time)) in steps.iter().enumerate() {
        let mut data = json!({ "activity": activity, "lifecycle": "COMPLETE" });
        if *activity == "A_SUBMITTED" {
            data["amount_req"] = json!("5000");
        }
        let event = json!({
            "specversion": "1.0", "id": format!("e{number}"), "source": "/test", "subject": subject,
            "type": format!("loan.{}.complete", activity.to_lowercase().replace(' ', "_")), "time": time,
            "data": data,
        });
        writeln!(gz, "{event}").expect("written");
    }
    gz.finish().expect("written");
    file
}

#[test]
fn waiting_is_the_longest_time_without_an_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = small(folder.path());
    let report = report(&succeeded(loans(&file, &folder.path().join("loans.db"), &["--json"])));
    assert_eq!(
        report["longest"],
        json!([
            { "application": "7", "days": 2.0, "after": "A_PREACCEPTED", "outcome": "approved", "euros": 5000,
              "state": "A_APPROVED" },
            { "application": "8", "days": 0.5, "after": "A_SUBMITTED", "outcome": "declined", "euros": 5000,
              "state": "A_DECLINED" },
        ])
    );
}

#[test]
fn ids_keep_events_single_also_when_nobody_remembers_how_far_the_file_was_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, store) = (small(folder.path()), folder.path().join("loans.db"));
    let first = report(&succeeded(loans(&file, &store, &["--json"])));
    wait(async {
        let store = open(&store, Mode::Existing).await;
        let forget = DocumentWrite {
            key: DocumentKey::new("files", "small.ndjson.gz"),
            change: DocumentChange::Delete,
            indexed: [].into(),
            expected: None,
        };
        store.apply(Commit { documents: vec![forget], ..Commit::default() }).await.expect("applied");
        store.close().await.expect("closed");
    });
    let output = succeeded(loans(&file, &store, &["--json"]));
    assert_eq!(report(&output), first);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("ingested 0 events") && said.contains("6 were there already"), "{said}");
}

#[test]
fn a_line_that_is_no_event_is_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("bad.ndjson.gz");
    let mut gz = GzEncoder::new(std::fs::File::create(&file).expect("a file"), Compression::fast());
    gz.write_all(b"{\"specversion\":\"1.0\"}\n").expect("written");
    gz.finish().expect("written");
    let output = loans(&file, &folder.path().join("loans.db"), &[]).output().expect("the program starts");
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 1"), "{output:?}");
}
