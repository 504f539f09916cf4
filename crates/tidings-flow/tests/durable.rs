//! Behind a durable subscription: windows are documents in the commit of their events.

mod common;

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use common::{at, ms};
use tidings_core::{
    Clock, Commit, Cx, Envelope, EventTime, Handled, ManualClock, OrFail, Registration, Subscribe, View,
};
use tidings_durable::{Config, Node};
use tidings_flow::{Aggregation, Operator, Window, WindowState, Windowed, Windowing, aggregate::sum};
use tidings_store::{AnyStore, MemoryStore, Read};

fn wait<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime").block_on(test)
}

fn world() -> (ManualClock, AnyStore) {
    let clock = ManualClock::at(at(1_000_000));
    let store = Arc::new(MemoryStore::new(Arc::new(clock.clone())));
    (clock, store)
}

fn node(clock: &ManualClock, store: &AnyStore, registration: Registration) -> Arc<Node> {
    let config = Config { owner: "node".into(), lanes: 1, ..Config::default() };
    let clock: Arc<dyn Clock> = Arc::new(clock.clone());
    let node = Node::new(store.clone(), clock, config, vec![registration], Arc::new(|_: &[Envelope]| {}));
    let node = node.expect("valid");
    node.start();
    node
}

async fn append(store: &AnyStore, event: tidings_core::EnvelopeBuilder) {
    store.apply(Commit::events([event.finish().expect("valid")])).await.expect("applied");
}

/// The payloads of all events of a name, in order.
async fn payloads(store: &AnyStore, name: &str) -> Vec<(String, serde_json::Value)> {
    let page = store.read(&Read::after(0).limit(1_000)).await.expect("the log");
    let named = page.events.into_iter().filter(|event| &**event.envelope.name() == name);
    let payload =
        |envelope: &Envelope| serde_json::from_slice(envelope.payload().expect("a payload")).expect("JSON");
    named
        .map(|event| {
            (event.envelope.key().map(ToString::to_string).unwrap_or_default(), payload(&event.envelope))
        })
        .collect()
}

const WINDOWS: View = View::new("windows");

fn cents(event: &Envelope) -> u64 {
    event.payload().ok().and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default()
}

fn seconds() -> Window<Envelope, impl Aggregation<Envelope, State = i128, Out = i128>> {
    let settings = Windowing::tumbling(ms(1_000)).disorder(ms(300));
    Window::new(settings, sum(cents), tidings_flow::event_time).expect("valid")
}

async fn total(event: Envelope, cx: Cx) -> Handled {
    let key = event.key().cloned().permanent()?;
    let mut window = seconds();
    if let Some(state) = cx.view(WINDOWS).get::<WindowState<(), i128>>(&key).await? {
        window = window.restored(WindowState::clone(&state)).permanent()?;
    }
    let mut out = Vec::new();
    window.push(event, cx.now(), &mut |one| out.push(one));
    for summary in out.into_iter().filter_map(Windowed::summary) {
        let json = serde_json::json!([summary.span.from.as_millis(), summary.value as u64]).to_string();
        cx.publish_envelope(Envelope::build("second.totalled").key(key.clone()).json(json));
    }
    cx.view(WINDOWS).put(&key, window.state());
    Ok(())
}

#[test]
fn windows_that_are_documents_go_on_after_a_restart_as_if_there_had_been_none() {
    wait(async {
        let (clock, store) = world();
        let mut expected: BTreeMap<(String, i64), u64> = BTreeMap::new();
        for part in 0..3_i64 {
            for number in part * 50..(part + 1) * 50 {
                // A little out of order, and two keys.
                let millis = number * 70 - (number % 3) * 100 + 1_000;
                let (key, cents) = (format!("shop-{}", number % 2), number as u64);
                *expected.entry((key.clone(), millis.div_euclid(1_000) * 1_000)).or_default() += cents;
                let time = EventTime::parse(&at(millis).to_string()).expect("a time");
                append(&store, Envelope::build("order.placed").key(key).time(time).json(cents.to_string()))
                    .await;
            }
            let node = node(&clock, &store, total.topic("order.placed").durable("totals"));
            node.settled().await.expect("read");
            node.stop(Duration::from_secs(5)).await;
        }
        let told = payloads(&store, "second.totalled").await;
        assert!(told.len() > 15, "{}", told.len());
        for (key, total) in told {
            let second = total[0].as_i64().expect("a number");
            assert_eq!(expected.get(&(key, second)), total[1].as_u64().as_ref(), "the second {second}");
        }
    });
}
