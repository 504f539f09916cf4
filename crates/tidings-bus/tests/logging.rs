//! What nobody is told is logged. Alone in its process: what is logged where is decided for all threads together.

mod common;

use common::{Diary, Log, Placed};
use tidings_bus::Bus;
use tidings_core::{Failure, Handled};

fn panics(_: &Placed) {
    panic!("no more boxes")
}

#[test]
fn what_nobody_is_told_is_logged() {
    let (bus, log) = (Bus::new(), Diary::default());
    bus.on(panics).forever();
    tracing::subscriber::with_default(Log { diary: log.clone(), level: tracing::Level::ERROR }, || {
        bus.emit(&Placed(1));
        let text = log.take();
        assert!(text.contains("a listener failed") && text.contains("no more boxes"), "{text}");
        assert!(text.contains("event=order.placed") && text.contains("logging.rs"), "{text}");
        let guard = bus.errors(|_| ());
        bus.emit(&Placed(1));
        assert_eq!(log.take(), "");
        drop(guard);
        bus.errors(|_| -> Handled { Err(Failure::permanent("deaf")) }).forever();
        bus.emit(&Placed(1));
        let text = log.take();
        assert!(text.contains("a listener of the error channel failed") && text.contains("deaf"), "{text}");
    });
}
