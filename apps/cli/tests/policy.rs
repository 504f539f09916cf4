//! `tidings policy`: policies are listed, shown, and changed in an application that runs in another process.

mod kit;

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use kit::Room;
use serde_json::{Value, json};
use tidings::{Bulkhead, Idempotency, prelude::*};
use tokio::runtime::Runtime;

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    order: u64,
}

async fn work(_: On<OrderPlaced>, _: Cx) -> Handled {
    Ok(())
}

/// An application that runs here: for the binary it is another process.
struct Running {
    runtime: Runtime,
    app: App,
}

impl Running {
    fn start(store: &Path) -> Self {
        let runtime = Runtime::new().expect("a runtime");
        let once = || Policy::new().retry(Retry::none());
        let module = Module::new("shop")
            .on(work.named("greet").policy(once()))
            .on(work.pool("mail").named("mail").policy(once().bulkhead(Bulkhead::pool("db"))))
            .on(work.buffered().named("other").policy(once().bulkhead(Bulkhead::pool("db"))))
            .on(work.durable("reserve").policy(once().idempotent(Idempotency::by_id())));
        let store = format!("sqlite:{}", store.display());
        let app = runtime.block_on(async {
            let app = App::builder().name("shop").store(store).module(module).build().await.expect("builds");
            app.start().await.expect("starts");
            app
        });
        Self { runtime, app }
    }

    fn end(self) {
        let left = self.runtime.block_on(self.app.shutdown());
        assert!(left.is_clean(), "{left}");
    }
}

#[test]
fn policies_of_handlers_in_every_place_are_listed_shown_changed_and_forgotten_with_the_process() {
    let room = Room::new();
    let running = Running::start(&room.path("test.db"));
    let told = Arc::<Mutex<Vec<Value>>>::default();
    let noted = told.clone();
    let note = move |notice: &Envelope| {
        let body = serde_json::from_slice(notice.payload().expect("JSON")).expect("JSON");
        noted.lock().expect("no panic").push(body);
    };
    running.app.bus().subscribe("tidings.policy.changed", note).expect("valid").forever();
    let names: Vec<_> = room.json(&["policy", "list"]).iter().map(|one| one["handler"].clone()).collect();
    assert_eq!(names, ["shop/greet", "shop/mail", "shop/other", "reserve"]);
    let table = room.ok(&["policy", "list"]).out;
    assert!(
        table.contains("pool mail") && table.contains("durable") && table.contains("no retry"),
        "{table}"
    );

    for (name, whole) in [("greet", "shop/greet"), ("shop/mail", "shop/mail"), ("reserve", "reserve")] {
        // What `show` prints is what `set` takes.
        let shown = room.ok(&["policy", "show", name]).out;
        assert!(shown.contains(whole) && shown.contains("[retry]"), "{shown}");
        room.write("policy.toml", format!("timeout = \"7s\"\n{shown}"));
        let set = ["policy", "set", name, "--file", "policy.toml", "--by", "ann"];
        let answer = room.one(&set);
        assert_eq!((&answer["handler"], &answer["application"]), (&json!(whole), &json!("shop")));
        assert_eq!((&answer["came"]["what"], &answer["kept"]), (&json!("changed"), &json!(false)));
        assert_eq!(answer["came"]["before"]["timeout"], Value::Null);
        let policy = running.app.policy(whole).expect("there");
        assert_eq!(policy.timeout, Some(Duration::from_secs(7)));
        assert_eq!(policy.retry, Some(Retry::none()), "what was shown is as it was");
        // The answer comes when it is to be seen.
        assert_eq!(room.one(&["explain", whole])["policy"]["timeout"], "7s");
        assert_eq!(room.one(&["policy", "show", whole])["said"]["timeout"], "7s");
    }
    let told: Vec<Value> = told.lock().expect("no panic").clone();
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(told.iter().all(|notice| notice["by"] == "ann"), "{told:?}");
    let text = room.ok(&["policy", "set", "greet", "deadline = \"1m\""]).out;
    for said in ["was  timeout 7s", "is   deadline 1m", "after a restart"] {
        assert!(text.contains(said), "{said:?} in {text}");
    }
    assert_eq!(running.app.policy("shop/greet"), Some(Policy::new().deadline(Duration::from_secs(60))));
    // Requests do not stay.
    let documents = room.one(&["stats"])["documents"].clone();
    assert_eq!(documents.get("$policies/requests"), None, "{documents}");
    running.end();

    let again = Running::start(&room.path("test.db"));
    assert_eq!(again.app.policy("shop/greet"), Some(Policy::new().retry(Retry::none())));
    assert_eq!(room.one(&["explain", "greet"])["policy"]["timeout"], "30s");
    again.end();
}

#[test]
fn what_cannot_be_is_refused_by_the_process_and_before_it_is_asked() {
    let room = Room::new();
    let running = Running::start(&room.path("test.db"));
    for (name, policy, said) in [
        ("reserve", "idempotency = { by = \"key\" }", "idempotency: what is the same"),
        ("mail", "bulkhead = { pool = \"db\", permits = 3 }", "1 other handlers use it"),
    ] {
        let ran = room.run(&["policy", "set", name, policy]);
        assert_eq!((ran.status, ran.out.as_str()), (1, ""), "{ran:?}");
        assert!(ran.err.contains("shop (") && ran.err.contains(said), "{ran:?}");
        let line = &room.run(&["policy", "set", name, policy, "--json"]).json()[0];
        assert!(line["came"]["faults"][0].as_str().expect("a fault").contains(said), "{line}");
    }
    for (policy, said) in [
        ("timeout = 3", "the policy, line 1: "),
        ("\nretries = 3", "the policy, line 2: "),
        ("timeout = \"0s\"", "timeout: must not be 0"),
    ] {
        room.run(&["policy", "set", "greet", policy]).fails(&[said]);
    }
    room.run(&["policy", "set", "shop/gret", "timeout = \"1s\""])
        .fails(&["\"shop/gret\"", "did you mean shop/greet"]);
    room.run(&["policy", "show", "work"]).fails(&["shop/greet or", "say which"]);
    room.run(&["policy", "set", "greet", "--file", "nothing.toml"]).fails(&["cannot read nothing.toml"]);
    assert_eq!(running.app.policy("shop/greet"), Some(Policy::new().retry(Retry::none())));
    running.end();
}

#[test]
fn when_nobody_runs_the_handler_nothing_is_changed_nor_kept_for_later() {
    let room = Room::new();
    Running::start(&room.path("test.db")).end();
    let ran = room.run(&["policy", "set", "greet", "timeout = \"1s\"", "--within", "1"]);
    ran.fails(&["no process that runs shop/greet has answered within 1s", "nothing was changed"]);
    let running = Running::start(&room.path("test.db"));
    assert_eq!(running.app.policy("shop/greet"), Some(Policy::new().retry(Retry::none())));
    running.end();
}

#[test]
fn handlers_that_come_and_go_are_explained_while_they_are_there() {
    let room = Room::new();
    let running = Running::start(&room.path("test.db"));
    let added = {
        let _inside = running.runtime.enter();
        running.app.add("late", work.pool("late").named("parcel")).expect("a handler")
    };
    // It is written down behind the back of whoever adds it.
    let begun = Instant::now();
    while room.run(&["explain", "parcel"]).status != 0 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is not explained");
    }
    // The answer to a change comes when the model is written, and all that was changed before it.
    room.ok(&["policy", "set", "late/parcel", "timeout = \"3s\""]);
    let parcel = room.one(&["explain", "parcel"]);
    assert_eq!((&parcel["added"], &parcel["policy"]["timeout"]), (&json!(true), &json!("3s")));
    assert!(room.ok(&["explain", "order.placed"]).out.contains("added while the application ran"));
    added.remove();
    room.ok(&["policy", "set", "greet", "timeout = \"3s\""]);
    room.run(&["explain", "parcel"]).fails(&["there is no event and no handler"]);
    assert_eq!(room.one(&["explain", "greet"])["added"], false);
    running.end();
}

#[test]
fn every_process_that_has_the_handler_changes_it_also_the_one_that_stands_by() {
    let room = Room::new();
    let first = Running::start(&room.path("test.db"));
    let second = Running::start(&room.path("test.db"));
    for name in ["shop/greet", "reserve"] {
        let answers = room.json(&["policy", "set", name, "timeout = \"9s\""]);
        let changed = answers.iter().filter(|answer| answer["came"]["what"] == "changed").count();
        assert_eq!((answers.len(), changed), (2, 2), "{answers:?}");
        assert_ne!(answers[0]["process"], answers[1]["process"]);
        for running in [&first, &second] {
            let policy = running.app.policy(name).expect("there");
            assert_eq!(policy.timeout, Some(Duration::from_secs(9)), "{name}");
        }
    }
    first.end();
    assert_eq!(room.json(&["policy", "set", "reserve", "timeout = \"8s\""]).len(), 1);
    second.end();
}
