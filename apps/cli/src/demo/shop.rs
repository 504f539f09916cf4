//! The shop: its four modules in one application, and one run of it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow, ensure};
use tidings::{App, Build, Policy, durable::Status, store::AnyStore};
use tokio::sync::{Semaphore, watch};

use super::{
    customers::Customers,
    follow::{Follower, Seen},
    home::SOURCE,
    inventory::inventory,
    orders::orders,
    payments::payments,
    shipping::shipping,
};

/// How many orders may be in the works at once, unless one says otherwise: enough for commits of a few hundred.
pub const PLACES: u64 = 2_048;

/// How often it is told how far the orders have come.
const TELL: Duration = Duration::from_millis(50);

/// How often somebody looks whether an order has been given up.
const LOOK: Duration = Duration::from_millis(100);

/// What a run came to.
pub struct Run {
    /// How long it took, from the first order placed in it to the last one ended.
    pub took: Duration,
    /// What was there before it began.
    pub before: Seen,
    /// What was there at its end.
    pub after: Seen,
    /// How its subscriptions did.
    pub status: Vec<Status>,
}

/// Policy of every handler: the demo is killed from outside again and again, and none of the events that were in hand is
/// to blame. Otherwise the second time it died with one it would be quarantined.
pub fn killed_on_purpose() -> Policy {
    Policy::new().quarantine_after(1_000)
}

/// The application.
///
/// # Errors
/// Never, unless a module is wrong.
pub async fn shop(store: AnyStore) -> Result<App> {
    let app = App::builder()
        .name("shop")
        .source(SOURCE)
        .open_store(store)
        .module(orders())
        .module(inventory())
        .module(payments())
        .module(shipping())
        .build()
        .await?;
    Ok(app)
}

/// Runs the shop until all its orders have come to an end, from wherever it was left, with so many `open` at once; tells
/// `watch` how it goes.
///
/// # Errors
/// When something cannot be stored, or an order was given up.
pub async fn run(
    store: AnyStore,
    customers: Customers,
    open: u64,
    watch: watch::Sender<Seen>,
) -> Result<Run> {
    let app = shop(store.clone()).await?;
    let mut follower = Follower::new(store);
    follower.catch_up().await?;
    let before = follower.seen.clone();
    app.start().await?;
    customers.deliver(&app).await?;

    let begun = Instant::now();
    let places = Arc::new(Semaphore::new(usize::try_from(open)?));
    let following = tokio::spawn(follow(follower, customers.shop.orders, places.clone(), watch));
    let abort = following.abort_handle();
    let work = async {
        customers.place(&app, before.first_missing, &places).await?;
        let after = following.await.map_err(|error| anyhow!(error))??;
        app.settled().await?;
        Ok::<Seen, anyhow::Error>(after)
    };
    let after = tokio::select! {
        after = work => after,
        error = given_up(&app) => Err(error),
    };
    abort.abort();
    let took = begun.elapsed();
    let status = app.status().await?;
    let left = app.shutdown().await;
    let after = after?;
    ensure!(left.is_clean(), "the shop closed with work left: {left}");
    Ok(Run { took, before, after, status })
}

/// Follows the log until every order has ended; each that ends makes room for another.
async fn follow(
    mut follower: Follower,
    orders: u64,
    places: Arc<Semaphore>,
    watch: watch::Sender<Seen>,
) -> Result<Seen> {
    let mut beats = follower.beats();
    let mut told = Instant::now();
    loop {
        beats.borrow_and_update();
        let ended = follower.catch_up().await?;
        places.add_permits(usize::try_from(ended)?);
        if follower.seen.ended >= orders {
            return Ok(follower.seen);
        }
        if told.elapsed() >= TELL {
            watch.send_replace(follower.seen.clone());
            told = Instant::now();
        }
        beats.changed().await?;
    }
}

/// Completes when a subscription has given an event up: then its order will never end by itself.
async fn given_up(app: &App) -> anyhow::Error {
    loop {
        tokio::time::sleep(LOOK).await;
        let status = match app.status().await {
            Ok(status) => status,
            Err(error) => return error.into(),
        };
        if let Some(bad) = status.iter().find(|one| one.parked > 0) {
            return anyhow!("{} gave {} events up; see `tidings dead`", bad.name, bad.dead_lettered);
        }
    }
}
