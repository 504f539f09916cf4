//! Modules: they come by name, and when they go, everything of theirs goes and nothing else.

mod common;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use common::{Diary, Placed};
use tidings_bus::{Bus, Module, ModuleError};
use tidings_core::{Failure, OrFail};

/// A module with one listener and a note at its end.
fn plain(bus: &Bus, name: &'static str, diary: &Diary) -> Module {
    let (entry, end) = (diary.clone(), diary.clone());
    let registered = bus.modules().register(name, |module| {
        bus.on(move |placed: &Placed| entry.write(format!("{name}:{}", placed.0))).owned_by(module);
        module.on_shutdown(move || end.write(format!("{name}:end")));
        Ok(())
    });
    registered.expect("the name is free")
}

#[test]
fn they_are_registered_found_listed_and_unregistered_by_name() {
    let (bus, diary) = (Bus::new(), Diary::default());
    plain(&bus, "stock", &diary);
    plain(&bus, "audit", &diary);
    assert_eq!(bus.modules().names(), ["stock", "audit"].map(tidings_core::Text::from));
    assert_eq!(&**bus.modules().get("audit").expect("it is there").name(), "audit");
    assert!(bus.modules().get("mail").is_none());
    assert_eq!(bus.emit(&Placed(1)), 2);
    assert!(bus.modules().unregister("stock") && !bus.modules().unregister("stock"));
    assert_eq!((bus.emit(&Placed(2)), bus.modules().names()), (1, vec!["audit".into()]));
    assert_eq!(diary.take(), "stock:1 audit:1 stock:end audit:2");
}

#[test]
fn a_name_that_is_taken_is_refused_before_anything_is_set_up() {
    let (bus, diary) = (Bus::new(), Diary::default());
    plain(&bus, "stock", &diary);
    let refused =
        bus.modules().register("stock", |_| -> tidings_core::Handled { unreachable!("not set up") });
    assert!(matches!(refused, Err(ModuleError::Taken(name)) if &*name == "stock"));
    assert_eq!(bus.emit(&Placed(1)), 1);
    bus.modules().unregister("stock");
    plain(&bus, "stock", &diary);
    assert_eq!((bus.emit(&Placed(2)), diary.take().as_str()), (1, "stock:1 stock:end stock:2"));
}

#[test]
fn of_threads_that_register_a_name_at_once_one_succeeds() {
    let (bus, start, set_up) = (Bus::new(), Barrier::new(4), AtomicUsize::new(0));
    let register = || {
        start.wait();
        bus.modules().register("stock", |_| Ok(set_up.fetch_add(1, Ordering::SeqCst))).is_ok()
    };
    let succeeded = thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(register)).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|registered| *registered).count()
    });
    assert_eq!((succeeded, set_up.load(Ordering::SeqCst)), (1, 1));
}

#[test]
fn one_that_cannot_be_set_up_leaves_nothing_and_frees_its_name() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let end = diary.clone();
    let failed = bus.modules().register("stock", |module| {
        bus.on(|_: &Placed| ()).owned_by(module);
        module.on_shutdown(move || end.write("end"));
        assert!(bus.modules().get("stock").is_none() && !bus.modules().unregister("stock"), "not yet");
        bus.subscribe("order.**x", |_| ()).permanent()?.owned_by(module);
        Ok(())
    });
    assert!(matches!(failed, Err(ModuleError::Setup(_))));
    assert_eq!((bus.names().len(), diary.take().as_str()), (0, "end"));
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        bus.modules().register("stock", |module| -> tidings_core::Handled {
            bus.on(|_: &Placed| ()).owned_by(module);
            panic!("no stock")
        })
    }));
    assert!(panicked.is_err() && bus.names().is_empty());
    plain(&bus, "stock", &diary);
}

#[test]
fn its_clean_up_removes_its_own_subscriptions_and_no_others() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let shop = bus.namespace("shop").expect("valid");
    let others = [bus.on(|_: &Placed| ()), shop.on(|_: &Placed| ())];
    let module = bus.modules().register("stock", |module| {
        bus.on(|_: &Placed| ()).owned_by(module);
        shop.on(|_: &Placed| ()).owned_by(module);
        bus.subscribe("order.**", |_| ()).permanent()?.owned_by(module);
        Ok(())
    });
    let module = module.expect("free");
    plain(&bus, "audit", &diary);
    assert_eq!((module.count(), bus.emit(&Placed(1)), shop.emit(&Placed(1))), (3, 4, 2));
    bus.modules().unregister("stock");
    assert_eq!((module.count(), bus.emit(&Placed(2)), shop.emit(&Placed(2))), (0, 2, 1));
    assert!(others.iter().all(tidings_bus::Guard::is_live));
}

#[test]
fn what_it_is_given_during_its_clean_up_ends_at_once() {
    /// Subscribes when it is dropped.
    struct Late(Bus, Module);
    impl Drop for Late {
        fn drop(&mut self) {
            self.0.on(|_: &Placed| ()).owned_by(&self.1);
        }
    }
    let (bus, diary) = (Bus::new(), Diary::default());
    let entry = diary.clone();
    let registered = bus.modules().register("stock", |module| {
        let late = Late(bus.clone(), module.clone());
        bus.on(move |_: &Placed| drop(late.0.names())).owned_by(module);
        let (again, own) = (bus.clone(), module.clone());
        module.on_shutdown(move || {
            again.on(|_: &Placed| ()).owned_by(&own);
            let found = again.modules().get("stock").is_some() || again.modules().unregister("stock");
            entry.write(format!("found:{found}"));
        });
        Ok(())
    });
    // Kept, so that nothing ends only because nobody holds the module any more.
    let module = registered.expect("free");
    assert_eq!(bus.emit(&Placed(1)), 1);
    assert!(bus.modules().unregister("stock"));
    assert_eq!((bus.emit(&Placed(2)), bus.names().len(), module.count()), (0, 0, 0));
    assert_eq!(diary.take(), "found:false");
}

#[test]
fn a_listener_can_unregister_its_own_module_and_register_the_next() {
    fn never(_: &Placed) {
        unreachable!("it has ended")
    }
    let (bus, diary) = (Bus::new(), Diary::default());
    let (inner, entry) = (bus.clone(), diary.clone());
    let registered = bus.modules().register("stock", |module| {
        let late = module.clone();
        bus.on(move |placed: &Placed| {
            assert!(inner.modules().unregister("stock"));
            inner.on(|_: &Placed| ()).owned_by(&late);
            plain(&inner, "stock", &entry);
            entry.write(format!("first:{}", placed.0));
        })
        .owned_by(module);
        bus.on(never).owned_by(module);
        Ok(())
    });
    drop(registered.expect("free"));
    assert_eq!((bus.emit(&Placed(1)), bus.emit(&Placed(2))), (1, 1));
    assert_eq!(diary.take(), "first:1 stock:2");
}

#[test]
fn it_keeps_a_state_that_is_dropped_with_it() {
    let (bus, counted) = (Bus::new(), Arc::new(AtomicUsize::new(7)));
    let state = counted.clone();
    let registered = bus.modules().register("stock", |module| {
        assert!(module.state::<Arc<AtomicUsize>>().is_none(), "not yet");
        Ok(state)
    });
    drop(registered.expect("free"));
    let module = bus.modules().get("stock").expect("it is there");
    assert_eq!(module.state::<Arc<AtomicUsize>>().expect("its state").load(Ordering::SeqCst), 7);
    assert!(module.state::<String>().is_none());
    drop(module);
    assert_eq!(Arc::strong_count(&counted), 2);
    bus.modules().unregister("stock");
    assert_eq!(Arc::strong_count(&counted), 1);
}

#[test]
fn its_end_comes_once_the_latest_wish_first_and_in_spite_of_a_panic() {
    fn panics() {
        panic!("shutdown")
    }
    let (bus, diary) = (Bus::new(), Diary::default());
    let (first, last, inner) = (diary.clone(), diary.clone(), bus.clone());
    let registered = bus.modules().register("stock", |module| {
        bus.on(|_: &Placed| ()).owned_by(module);
        module.on_shutdown(move || first.write(format!("first:{}", inner.emit(&Placed(1)))));
        module.on_shutdown(panics);
        module.on_shutdown(move || last.write("last"));
        Ok(())
    });
    registered.expect("free");
    assert!(bus.modules().unregister("stock"));
    assert_eq!(diary.take(), "last first:0");
    drop(bus);
    assert_eq!(diary.take(), "");
}

#[test]
fn with_the_bus_all_modules_end_the_latest_first() {
    let (bus, diary) = (Bus::new(), Diary::default());
    let kept = [plain(&bus, "one", &diary), plain(&bus, "two", &diary)];
    drop(bus);
    assert_eq!(diary.take(), "two:end one:end");
    assert_eq!(kept[0].count(), 0);
}

#[test]
fn why_it_cannot_be_set_up_is_the_source_of_the_error() {
    let bus = Bus::new();
    let failed = bus.modules().register("stock", |_| Err::<(), _>(Failure::permanent("no stock")));
    let error = failed.expect_err("it fails");
    let source = std::error::Error::source(&error).expect("a source");
    assert_eq!(source.to_string(), "no stock");
}
