//! What a handler logs says for which event, wherever it runs. Alone in its process, for it takes over all logging.

use std::{
    io::Write,
    sync::{Arc, Mutex},
};

use tidings::prelude::*;
use tracing_subscriber::fmt::MakeWriter;

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    order: u64,
}

fn pack(_: &OrderPlaced) {
    tracing::info!("packed");
}

async fn send(_: On<OrderPlaced>, _: Cx) -> Handled {
    tokio::task::yield_now().await;
    tracing::info!("sent");
    Ok(())
}

async fn bill(_: On<OrderPlaced>, cx: Cx) -> Handled {
    tokio::task::yield_now().await;
    tracing::info!("billed");
    if cx.attempt() == 1 { Err(Failure::again(std::time::Duration::ZERO, "once more")) } else { Ok(()) }
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no panic under it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test]
async fn what_a_handler_logs_says_for_which_event_it_was_called() {
    let lines = Lines::default();
    let filter = "info,tidings::handle=debug";
    tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(lines.clone()).init();
    let module = Module::new("shop").on(pack.buffered()).on(send.buffered()).on(bill.durable("bill"));
    let app = App::builder().store("memory:").module(module).build().await.expect("an application");
    app.start().await.expect("started");
    let receipt = app.publish(OrderPlaced { order: 7 }).await.expect("published");
    receipt.handled().await;
    receipt.settled().await.expect("the store is there");
    app.shutdown().await;

    let lines = String::from_utf8(lines.0.lock().expect("no panic under it").clone()).expect("it is text");
    let mut logged: Vec<(String, String, u64)> = Vec::new();
    for line in lines.lines() {
        let line: serde_json::Value = serde_json::from_str(line).expect("JSON a line");
        let message = line["fields"]["message"].as_str().unwrap_or_default();
        if ["packed", "sent", "billed"].contains(&message) {
            let span = &line["span"];
            assert_eq!(
                (span["name"].as_str(), span["event"].as_str()),
                (Some("handle"), Some("order.placed"))
            );
            assert_eq!(span["id"].as_str(), Some(receipt.id().as_str()), "{line}");
            let handler = span["handler"].as_str().unwrap_or_default();
            logged.push((message.into(), handler.into(), span["attempt"].as_u64().unwrap_or_default()));
        }
    }
    logged.sort();
    let wanted =
        [("billed", "bill", 1), ("billed", "bill", 2), ("packed", "shop/pack", 1), ("sent", "shop/send", 1)];
    let wanted = wanted.map(|(message, handler, attempt)| (message.to_owned(), handler.to_owned(), attempt));
    assert_eq!(logged.len(), wanted.len(), "{logged:?}");
    for (found, wanted) in logged.iter().zip(&wanted) {
        assert_eq!((&found.0, found.2), (&wanted.0, wanted.2));
        assert!(found.1.ends_with(wanted.1.rsplit('/').next().expect("a name")), "{found:?}");
    }
}
