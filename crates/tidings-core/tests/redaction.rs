//! What is redacted does not leave by way of an error.

use serde::{Deserialize, Serialize};
use tidings_core::{Envelope, Event, EventInfo, Field};

#[derive(Serialize, Deserialize)]
struct Charged {
    card: u64,
}

impl Event for Charged {
    const INFO: &'static EventInfo = &EventInfo {
        name: "card.charged",
        version: 1,
        fields: &[Field { name: "card", key: false, tag: false, redact: true }],
    };
}

#[test]
fn a_payload_that_does_not_fit_is_described_without_its_values() {
    let envelope =
        Envelope::build("card.charged").json(&br#"{"card":"4242 4242"}"#[..]).finish().expect("valid");
    let failure = envelope.decode::<Charged>().err().expect("a text is no number");
    let text = format!("{failure} {failure:?} {}", failure.describe());
    assert!(text.contains("line 1 column"), "{text}");
    assert!(!text.contains("4242"), "{text}");
}
