//! What becomes of the events a flaky consumer has given up, and how are they repaired and handled after all?
//!
//! A courier is out of order: of eight parcels it delivers none, and of one the address is wrong. The letters are listed,
//! the address is corrected, a parcel nobody wants is discarded, and the rest is replayed: in order a street, two a second
//! on a clock that the program drives.
//!
//! `cargo run -p dead-letters`

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use tidings::{
    Clock as _, LetterFilter, Letters, ManualClock, Settings, Timestamp, prelude::*, store::MemoryStore,
};

#[tidings::event(name = "parcel.sent")]
struct Parcel {
    number: u64,
    #[event(key)]
    street: String,
    #[event(redact)]
    addressee: String,
    house: i64,
}

#[derive(Clone, Default)]
struct Courier {
    works: Arc<AtomicBool>,
    delivered: Arc<Mutex<Vec<u64>>>,
}

async fn deliver(courier: Courier, parcel: On<Parcel>, _: Cx) -> Handled {
    if !courier.works.load(Ordering::SeqCst) {
        return Err(Failure::permanent(format!("nobody drives to {}", parcel.addressee)));
    }
    if parcel.house < 1 {
        return Err(Failure::permanent(format!("there is no house {}", parcel.house)));
    }
    courier.delivered.lock().map_err(|_| Failure::permanent("torn"))?.push(parcel.number);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let (courier, clock) = (Courier::default(), Arc::new(ManualClock::at(Timestamp::from_millis(0))));
    let handler = deliver.with(courier.clone()).buffered();
    // One worker, so that letters occur in the order of the parcels, also over streets.
    let settings = Settings::load().set("buffered.shared.queue.workers", 1).finish()?;
    let app = App::builder()
        .settings(settings)
        .module(Module::new("post").on(handler))
        .open_store(Arc::new(MemoryStore::default()))
        .clock(clock.clone())
        .build()
        .await?;
    app.start().await?;
    for number in 1..=8 {
        let street = if number % 2 == 0 { "elm" } else { "oak" }.to_owned();
        let house = if number == 5 { -5 } else { 5 };
        app.publish(Parcel { number, street, addressee: format!("Ms {number}"), house }).await?;
    }
    let letters = app.dead_letters();
    let all = LetterFilter::default();
    until(|| total(letters, 8)).await?;
    println!("given up, the addressee not shown:");
    for letter in letters.list(&all, 100).await.map_err(said)? {
        println!(
            "  {} {} {}: {}",
            letter.key.as_deref().unwrap_or("-"),
            letter.reason,
            letter.attempts,
            letter.error
        );
    }
    let elm = LetterFilter { key: Some("elm".into()), ..all.clone() };
    println!("total {}, on elm {}", count(letters, &all).await?, count(letters, &elm).await?);

    let mut wrong = None;
    for letter in letters.list(&all, 100).await.map_err(said)? {
        let found = letters.get(&letter.handler, &letter.entry).await.map_err(said)?;
        let (_, event) = found.context("it was there")?;
        let parcel = event.context("its event is kept")?.decode::<Parcel>().map_err(said)?;
        match parcel.number {
            5 => {
                let payload = r#"{"number":5,"street":"oak","addressee":"Ms 5","house":55}"#;
                letters.edit(&letter.handler, &letter.entry, payload, "the office").await.map_err(said)?;
                wrong = Some(letter);
            }
            8 => {
                let done = letters.discard(&letter.handler, [letter.entry.clone()]).await.map_err(said)?;
                println!("parcel 8 is not wanted: {} discarded", done.done);
            }
            _ => {}
        }
    }
    let wrong = wrong.context("parcel 5 was given up")?;
    let (edited, _) = letters.get(&wrong.handler, &wrong.entry).await.map_err(said)?.context("there")?;
    for edit in &edited.edits {
        println!("parcel 5 was edited by {}", edit.by);
    }

    courier.works.store(true, Ordering::SeqCst);
    let replayed = letters.replay_all(&all, Some(2.0)).await.map_err(said)?;
    println!("replayed, two a second: {}", replayed.done);
    let begun = clock.now();
    for left in (0..7).rev() {
        until(|| total(letters, left)).await?;
        let took = clock.now().since(begun).as_millis();
        println!(
            "  after {took:>4} ms delivered {:?}",
            courier.delivered.lock().map_err(|_| anyhow!("torn"))?
        );
        clock.advance(Duration::from_millis(500));
    }
    println!("total {}", count(letters, &all).await?);
    Ok(())
}

async fn count(letters: &Letters, filter: &LetterFilter) -> Result<u64> {
    letters.count(filter).await.map_err(said)
}

async fn total(letters: &Letters, many: u64) -> Result<bool> {
    Ok(count(letters, &LetterFilter::default()).await? == many)
}

/// Waits for what other threads do, as the clock stands.
async fn until<F: Future<Output = Result<bool>>>(mut is_so: impl FnMut() -> F) -> Result<()> {
    while !is_so().await? {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    Ok(())
}

fn said(failure: Failure) -> anyhow::Error {
    anyhow!("{}", failure.describe())
}
