//! A delivery that is put off by its handler does not stand in its own way.

mod kit;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use kit::*;
use tidings::{Idempotency, prelude::*};

#[tokio::test]
async fn what_is_put_off_gives_its_claim_in_the_store_back() {
    for place in ["bus", "buffered", "durable"] {
        let (clock, calls) = (clock(), Arc::new(AtomicU64::new(0)));
        let counted = calls.clone();
        let handler = move |_: On<OrderPlaced>, _: Cx| {
            let first = counted.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                let early = Failure::later(Duration::from_millis(10), "the shop is closed");
                if first { Err(early) } else { Ok(()) }
            }
        };
        let handler = handler.policy(Policy::new().idempotent(Idempotency::by_id().stored()));
        let handler = match place {
            "bus" => handler,
            "buffered" => handler.buffered(),
            _ => handler.durable("opened"),
        };
        let app = started(settings("store = \"memory:\""), &clock, Module::new("shop").on(handler)).await;
        app.publish(placed(1)).await.expect("published");
        let called = || calls.load(Ordering::SeqCst);
        let took = driven_until(&clock, Duration::from_millis(1), || called() == 2).await;
        // A claim that nobody gives back lasts as long as a call may take, and more: 35 s.
        assert!(took < Duration::from_secs(20), "{place}: {took:?}");
        ended(app, &clock).await;
    }
}
