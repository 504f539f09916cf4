//! Handlers that change the same document at once: no change is lost, and nobody uses an attempt for it.

mod kit;

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use kit::*;
use tidings::{Retry, View, prelude::*};

const COUNTS: View = View::new("counts");
const EVENTS: u64 = 60;

#[tokio::test(flavor = "multi_thread")]
async fn handlers_that_change_one_document_at_once_lose_no_change_and_use_no_attempt() {
    for place in ["bus", "buffered", "durable"] {
        let most = Arc::new(AtomicU32::new(0));
        let noted = most.clone();
        let handler = move |_: On<OrderPlaced>, cx: Cx| {
            noted.fetch_max(cx.attempt(), Ordering::SeqCst);
            async move {
                let counts = cx.view(COUNTS);
                let all = counts.get::<u64>("all").await?.map_or(0, |all| *all);
                // Others come between the read and the write.
                tokio::task::yield_now().await;
                counts.put("all", all + 1);
                Ok(())
            }
        };
        let handler = handler.policy(Policy::new().retry(Retry::none())).unordered();
        let handler = match place {
            "bus" => handler,
            "buffered" => handler.buffered().unordered(),
            _ => handler.durable("counted").unordered(),
        };
        let module = Module::new("shop").on(handler).view(COUNTS);
        let app = App::builder().store("memory:").module(module).build().await.expect("an application");
        app.start().await.expect("started");
        for order in 0..EVENTS {
            app.publish(placed(order)).await.expect("published");
        }
        let all = || async { app.view(COUNTS).expect("a store").get::<u64>("all").await.expect("read") };
        let begun = std::time::Instant::now();
        while all().await != Some(EVENTS) {
            assert!(begun.elapsed().as_secs() < 60, "{place}: {:?}", all().await);
            tokio::task::yield_now().await;
        }
        app.settled().await.expect("settled");
        assert_eq!(most.load(Ordering::SeqCst), 1, "{place}");
        assert!(app.shutdown().await.is_clean(), "{place}");
    }
}
