//! What nobody is told is logged. Alone in its process: what is logged where is decided for all threads together.

mod common;

use std::fmt;

use common::{Diary, Placed};
use tidings_bus::Bus;
use tidings_core::{Failure, Handled};

fn panics(_: &Placed) {
    panic!("no more boxes")
}

/// Writes down the fields of what is logged at the level of errors.
struct Log(Diary);

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        struct Fields(String);
        impl tracing::field::Visit for Fields {
            fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
                self.0.push_str(&format!("{field}={value:?};"));
            }
        }
        let mut fields = Fields(String::new());
        event.record(&mut fields);
        self.0.write(fields.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn what_nobody_is_told_is_logged() {
    let (bus, log) = (Bus::new(), Diary::default());
    bus.on(panics).forever();
    tracing::subscriber::with_default(Log(log.clone()), || {
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
