//! What several tests need: events, and a listener's diary.

#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::{Arc, Mutex};

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

    fn key(&self) -> Option<String> {
        Some(self.order.clone())
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
