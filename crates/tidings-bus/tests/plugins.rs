//! A plugin comes and goes as a whole.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};

use common::{Cancelled, Placed};
use tidings_bus::{Bus, Guard, Owner, Plugin, PluginError, Verdict};
use tidings_core::{Failure, Handled, OrFail};

/// Two listeners and a middleware; then it does as it was told.
struct Audit(fn() -> Handled);

impl Plugin for Audit {
    fn name(&self) -> &str {
        "audit"
    }

    fn install(&self, bus: &Bus, owner: &Owner) -> Handled {
        assert!(bus.plugins().iter().all(|plugin| plugin.name != "audit"), "not installed yet");
        bus.on(|_: &Placed| ()).owned_by(owner);
        bus.subscribe("order.**", |_| ()).permanent()?.owned_by(owner);
        bus.middleware(|_: &Cancelled| Verdict::Cancel).owned_by(owner);
        (self.0)()
    }
}

fn works() -> Handled {
    Ok(())
}

fn fails() -> Handled {
    Err(Failure::permanent("no disk"))
}

fn panics() -> Handled {
    panic!("no disk")
}

fn is_bare(bus: &Bus) -> bool {
    bus.names().is_empty() && bus.middlewares().is_empty() && bus.plugins().is_empty()
}

#[test]
fn it_is_listed_works_and_leaves_nothing_when_it_is_taken_out() {
    let bus = Bus::new();
    bus.install(Audit(works)).expect("free");
    let plugins = bus.plugins();
    assert_eq!((plugins.len(), plugins[0].name.as_str(), plugins[0].subscriptions), (1, "audit", 3));
    assert_eq!((bus.emit(&Placed(1)), bus.emit(&Cancelled(1))), (2, 0));
    assert!(bus.uninstall("audit") && !bus.uninstall("audit"));
    assert!(is_bare(&bus));
    assert_eq!((bus.emit(&Placed(1)), bus.emit(&Cancelled(1))), (0, 0));
    bus.install(Audit(works)).expect("free again");
}

#[test]
fn two_of_one_name_are_refused_and_the_first_stays() {
    let bus = Bus::new();
    bus.install(Audit(works)).expect("free");
    let refused = bus.install(Audit(works)).expect_err("taken");
    assert!(matches!(&refused, PluginError::Taken(name) if name == "audit"));
    assert_eq!((bus.plugins()[0].subscriptions, bus.emit(&Placed(1))), (3, 2));
}

#[test]
fn one_that_fails_or_panics_while_it_is_installed_leaves_nothing_and_its_name_free() {
    let bus = Bus::new();
    let failed = bus.install(Audit(fails)).expect_err("it fails");
    assert_eq!(failed.to_string(), r#"the plugin "audit" could not be installed: no disk"#);
    assert!(is_bare(&bus));
    let panicked = catch_unwind(AssertUnwindSafe(|| bus.install(Audit(panics))));
    assert!(panicked.is_err() && is_bare(&bus));
    bus.install(Audit(works)).expect("free");
}

#[test]
fn removing_all_listeners_is_seen_in_the_list_and_dropping_the_bus_drops_its_plugins() {
    struct Keeps(std::sync::Arc<()>);
    impl Plugin for Keeps {
        fn name(&self) -> &str {
            "keeps"
        }
        fn install(&self, bus: &Bus, owner: &Owner) -> Handled {
            let kept = self.0.clone();
            bus.on(move |_: &Placed| drop(kept.clone())).owned_by(owner);
            Ok(())
        }
    }
    let (bus, kept) = (Bus::new(), std::sync::Arc::new(()));
    bus.install(Keeps(kept.clone())).expect("free");
    assert_eq!(std::sync::Arc::strong_count(&kept), 2);
    drop(bus);
    assert_eq!(std::sync::Arc::strong_count(&kept), 1);
    let bus = Bus::new();
    bus.install(Audit(works)).expect("free");
    assert_eq!((bus.remove_all(), bus.plugins()[0].subscriptions), (2, 1));
    let guard: Guard = bus.on(|_: &Placed| ());
    assert!(bus.uninstall("audit") && guard.is_live());
}
