//! Every shape of handler, and every way to say where it runs.

use std::{sync::Arc, time::Duration};

use tidings::{
    Cx, Envelope, Event, Failure, Handled, On, OrFail, Place, Policy, Registration, Retry, Start, Subscribe,
    WithDependency,
};

#[tidings::event(name = "order.placed")]
struct OrderPlaced {
    #[event(key)]
    order: u64,
    total: String,
}

#[derive(Clone)]
struct Mailer(Arc<str>);

fn by_reference(placed: &OrderPlaced) {
    let _ = placed.order;
}

fn by_reference_with_result(placed: &OrderPlaced) -> Handled {
    placed.total.parse::<u64>().permanent()?;
    Ok(())
}

fn by_envelope(any: &Envelope) {
    let _ = any.name();
}

fn by_envelope_with_result(any: &Envelope) -> Result<(), Failure> {
    any.key().permanent()?;
    Ok(())
}

async fn typed(placed: On<OrderPlaced>, cx: Cx) -> Handled {
    let cents: u64 = placed.total.parse().permanent()?;
    cx.publish(OrderPlaced { order: placed.order + 1, total: cents.to_string() });
    Ok(())
}

async fn any(envelope: Envelope, _: Cx) -> Handled {
    let _ = envelope.decode::<OrderPlaced>()?;
    Ok(())
}

async fn with_mailer(mailer: Mailer, placed: On<OrderPlaced>, _: Cx) -> Handled {
    let _ = (mailer.0, placed.order);
    Ok(())
}

async fn with_two((mailer, limit): (Mailer, u64), any: Envelope, _: Cx) -> Handled {
    let _ = (mailer, limit, any);
    Ok(())
}

fn register<Shape>(handler: impl Subscribe<Shape>) -> Registration {
    handler.registration()
}

fn main() {
    let mailer = Mailer("smtp".into());
    let total = std::sync::atomic::AtomicU64::new(0);
    let registrations = [
        register(by_reference),
        register(by_reference_with_result),
        register(by_envelope.topic("order.**")),
        register(by_envelope_with_result.topic("order.*").topic("stock.*")),
        register(typed),
        register(any.topic("**")),
        register(with_mailer.with(mailer.clone())),
        register(with_two.with((mailer.clone(), 5)).topic("order.placed")),
        register(move |placed: &OrderPlaced| {
            total.fetch_add(placed.order, std::sync::atomic::Ordering::Relaxed);
        }),
        register(|_: &Envelope| ()),
        register(|placed: On<OrderPlaced>, _: Cx| async move {
            let _ = placed.shared();
            Ok(())
        }),
        register(by_reference.durable("by-reference")),
        register(typed.durable("typed").starting(Start::Now).concurrency(4)),
        register(typed.policy(Policy::new().timeout(Duration::from_secs(1))).durable("policy")),
        register(any.topic("order.**").durable("any").unordered().policy(Policy::new().retry(Retry::none()))),
        register(with_mailer.with(mailer).durable("with-mailer")),
    ];
    assert_eq!(registrations.iter().filter(|one| one.place == Place::Bus).count(), 11);
    assert_eq!(registrations[4].event, Some(OrderPlaced::INFO));
    assert_eq!(registrations[3].patterns().map(|patterns| patterns.len()), Ok(2));
}
