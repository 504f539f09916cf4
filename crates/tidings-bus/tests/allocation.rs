//! Emitting allocates nothing unless a listener needs more than a reference.

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use common::{Placed, Sent};
use tidings_bus::Bus;
use tidings_core::Envelope;

/// How many allocations `work` makes, when it runs for the second time.
fn allocations(mut work: impl FnMut()) -> u64 {
    work();
    allocation_counter::measure(work).count_total
}

#[test]
fn emitting_to_listeners_in_place_allocates_nothing() {
    let (bus, total) = (Bus::new(), Arc::new(AtomicU64::new(0)));
    for _ in 0..10 {
        let total = total.clone();
        bus.on(move |placed: &Placed| {
            total.fetch_add(placed.0, Ordering::Relaxed);
        })
        .forever();
    }
    let weak = Arc::new(());
    bus.on_weak(&weak, |(), _: &Placed| ()).forever();
    bus.listen().when(|placed: &Placed| placed.0 > 1).on(|_| ()).forever();
    let (emitter, shared) = (bus.emitter::<Placed>(), Arc::new(Placed(3)));
    let envelope = Envelope::of::<Placed>(shared.clone()).finish().expect("valid");
    assert_eq!(allocations(|| assert_eq!(bus.emit(&Placed(1)), 11)), 0);
    assert_eq!(allocations(|| assert_eq!(emitter.emit(&Placed(2)), 12)), 0);
    assert_eq!(allocations(|| assert_eq!(bus.emit_shared(&shared), 12)), 0);
    assert_eq!(allocations(|| assert_eq!(bus.emit_envelope(&envelope), 12)), 0);
    assert_eq!(allocations(|| assert_eq!(bus.emit(&Sent { order: String::new(), secret: 1 }), 0)), 0);
}

#[test]
fn a_listener_to_a_pattern_costs_one_envelope_however_many_there_are() {
    let bus = Bus::new();
    bus.subscribe("order.*", |_| ()).expect("valid").forever();
    let one = allocations(|| assert_eq!(bus.emit(&Placed(1)), 1));
    for _ in 0..9 {
        bus.subscribe("**", |_| ()).expect("valid").forever();
    }
    let ten = allocations(|| assert_eq!(bus.emit(&Placed(1)), 10));
    assert!(one > 0);
    assert_eq!(ten, one);
    let envelope = Envelope::of::<Placed>(Placed(1)).finish().expect("valid");
    assert_eq!(allocations(|| assert_eq!(bus.emit_envelope(&envelope), 10)), 0);
}

events! {
    PlacedTwo = "order.placed" version 2;
}

#[test]
fn listeners_to_other_versions_of_an_event_cost_nothing() {
    let bus = Bus::new();
    bus.on(|_: &Placed| ()).forever();
    bus.on(|_: &PlacedTwo| ()).forever();
    assert_eq!(allocations(|| assert_eq!(bus.emit(&Placed(1)), 1)), 0);
    assert_eq!(allocations(|| assert_eq!(bus.emit(&PlacedTwo(1)), 1)), 0);
}
