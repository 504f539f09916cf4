//! An application whose bookkeeping fails on every order of 13 and more.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tidings::{Registration, prelude::*};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Booked {
    pub order: String,
    pub cents: u64,
}

#[tidings::event(name = "order.placed", version = 1)]
pub struct OrderPlaced {
    #[event(key)]
    pub order: String,
    #[event(redact)]
    pub card: String,
    pub cents: u64,
}

const BOOKED: View = View::new("booked").indexed(&["cents"]);

async fn book(placed: On<OrderPlaced>, cx: Cx) -> Handled {
    if placed.cents >= 13 {
        return Err(Failure::permanent("no such account"));
    }
    cx.view(BOOKED).put(&placed.order, Booked { order: placed.order.clone(), cents: placed.cents });
    Ok(())
}

/// Publishes orders of so many cents each, the keys being `o1`, `o2`, … (the same key for the same amount), and lets the
/// application handle what it can.
pub fn run(store: &Path, cents: &[u64]) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let app = App::builder()
            .name("shop")
            .store(format!("sqlite:{}", store.display()))
            .module(Module::new("bookkeeping").view(BOOKED).on(book.durable("book")))
            .build()
            .await
            .expect("an application");
        app.start().await.expect("started");
        for (at, cents) in cents.iter().enumerate() {
            let order = format!("o{at}");
            app.publish(OrderPlaced { order, card: "4711-0815".into(), cents: *cents })
                .await
                .expect("published");
        }
        app.settled().await.expect("settled");
        app.shutdown().await;
    });
}

/// The same with a handler in a pool, which fails on every order of `most` cents and more.
#[allow(dead_code, reason = "not every test that has the kit calls it")]
pub fn buffered(store: &Path, cents: &[u64], most: u64) {
    in_memory(store, cents, most, |book| book.buffered());
}

/// The same where `place` puts it.
#[allow(dead_code, reason = "not every test that has the kit calls it")]
pub fn in_memory(store: &Path, cents: &[u64], most: u64, place: impl FnOnce(Registration) -> Registration) {
    let book = move |placed: On<OrderPlaced>, _: Cx| async move {
        match placed.cents >= most {
            true => Err(Failure::permanent(format!("no such account for {}", placed.card))),
            false => Ok(()),
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let app = App::builder()
            .name("shop")
            .store(format!("sqlite:{}", store.display()))
            .module(Module::new("bookkeeping").on(place(book.registration())))
            .build()
            .await
            .expect("an application");
        app.start().await.expect("started");
        for (at, cents) in cents.iter().enumerate() {
            let placed = OrderPlaced { order: format!("o{at}"), card: "4711-0815".into(), cents: *cents };
            app.publish(placed).await.expect("published");
        }
        app.settled().await.expect("settled");
        app.shutdown().await;
    });
}
