//! What several tests need: events, and a listener's diary.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    fmt,
    sync::{Arc, Mutex},
};

use serde::{Deserialize, Serialize};
use tidings_bus::{Bus, ListenerFailed};
use tidings_core::{Event, EventInfo};

/// Declares event types that are one public number.
#[macro_export]
macro_rules! events {
    ($($event:ident = $name:literal version $version:literal;)*) => {$(
        #[doc = $name]
        #[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $event(pub u64);

        impl tidings_core::Event for $event {
            const INFO: &'static tidings_core::EventInfo =
                &tidings_core::EventInfo { name: $name, version: $version, fields: &[] };
        }
    )*};
}

events! {
    Placed = "order.placed" version 1;
    Cancelled = "order.cancelled" version 1;
    Alarmed = "operator.alarmed" version 1;
}

/// An event with a key, tags and a field that JSON does not carry.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    pub order: String,
    #[serde(skip)]
    pub secret: u64,
}

impl Event for Sent {
    const INFO: &'static EventInfo = &EventInfo { name: "order.sent", version: 3, fields: &[] };

    fn key(&self) -> Option<tidings_core::Text> {
        Some(tidings_core::Text::from(&self.order))
    }

    fn tags(&self) -> Vec<tidings_core::Text> {
        vec![format!("order:{}", self.order).into()]
    }
}

/// What listeners wrote down, in order.
#[derive(Clone, Default)]
pub struct Diary(Arc<Mutex<Vec<String>>>);

impl Diary {
    pub fn write(&self, entry: impl ToString) {
        self.0.lock().expect("no panic while writing").push(entry.to_string());
    }

    /// What was written since the last time, each entry after a space.
    pub fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().expect("no panic while writing")).join(" ")
    }
}

/// Everything the error channel of a bus is told.
#[derive(Clone, Default)]
pub struct Failures(Arc<Mutex<Vec<ListenerFailed>>>);

impl Failures {
    pub fn of(bus: &Bus) -> Self {
        let failures = Self::default();
        let all = failures.clone();
        bus.errors(move |failed| all.0.lock().expect("no panic while writing").push(failed.clone()))
            .forever();
        failures
    }

    pub fn take(&self) -> Vec<ListenerFailed> {
        std::mem::take(&mut *self.0.lock().expect("no panic while writing"))
    }
}

/// Writes down the fields of what is logged at one level.
pub struct Log {
    pub diary: Diary,
    pub level: tracing::Level,
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == self.level
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
        self.diary.write(fields.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}
