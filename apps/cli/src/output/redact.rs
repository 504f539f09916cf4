//! Fields that must not be shown: what the applications of a store have declared as redacted.
//!
//! An application writes its model into the store when it starts; whoever reads the store finds there which fields of
//! which events are nobody's business. A field is hidden at every depth, so that a record of changed fields, say, does
//! not show it either.

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
};

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tidings::{
    Envelope, MODELS, Model, PayloadForm,
    store::{AnyStore, DocumentQuery},
};

/// What is shown instead.
pub const REDACTED: &str = "[redacted]";

/// Which fields of which events are hidden.
#[derive(Debug, Default)]
pub struct Redactions {
    by_event: HashMap<String, BTreeSet<String>>,
}

/// The models in a store, in order of the applications' names.
pub async fn models(store: &AnyStore) -> anyhow::Result<Vec<Model>> {
    let documents = store.documents(&DocumentQuery::all(MODELS)).await?;
    // A model of a newer version says what we cannot read; what can be read of it is better than nothing.
    Ok(documents.iter().filter_map(|document| serde_json::from_slice(&document.value).ok()).collect())
}

impl Redactions {
    /// What the applications of `store` have declared.
    pub async fn of(store: &AnyStore) -> anyhow::Result<Self> {
        Ok(Self::of_models(&models(store).await?))
    }

    fn of_models(models: &[Model]) -> Self {
        let mut by_event: HashMap<String, BTreeSet<String>> = HashMap::new();
        for event in models.iter().flat_map(|model| &model.events) {
            let hidden = event.fields.iter().filter(|(_, redacted)| *redacted).map(|(name, _)| name.clone());
            by_event.entry(event.name.clone()).or_default().extend(hidden);
        }
        by_event.retain(|_, fields| !fields.is_empty());
        Self { by_event }
    }

    /// The event as it may be shown.
    pub fn apply(&self, envelope: Envelope) -> Envelope {
        let Some(hidden) = self.by_event.get(&**envelope.name()) else { return envelope };
        if envelope.form() == PayloadForm::Absent {
            return envelope;
        }
        let shown = match (envelope.form(), envelope.payload()) {
            (PayloadForm::Json, Ok(payload)) => std::str::from_utf8(payload).ok().and_then(|json| {
                let mut shown = String::with_capacity(json.len());
                rewrite(json, hidden, &mut shown).ok().map(|()| shown)
            }),
            _ => None,
        };
        // What cannot be looked into is hidden whole.
        let shown = shown.unwrap_or_else(|| format!("\"{REDACTED}\""));
        envelope.edit().json(shown.into_bytes()).trusted()
    }
}

/// Writes `json` to `shown` without the values of the hidden members, and everything else as it was.
fn rewrite(json: &str, hidden: &BTreeSet<String>, shown: &mut String) -> Result<(), serde_json::Error> {
    let json = json.trim();
    match json.as_bytes().first() {
        Some(b'{') => {
            let Members(members) = serde_json::from_str(json)?;
            shown.push('{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    shown.push(',');
                }
                shown.push_str(&serde_json::to_string(&name)?);
                shown.push(':');
                if hidden.contains(&name) {
                    shown.push_str(&serde_json::to_string(REDACTED)?);
                } else {
                    rewrite(value.get(), hidden, shown)?;
                }
            }
            shown.push('}');
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(json)?;
            shown.push('[');
            for (at, item) in items.into_iter().enumerate() {
                if at > 0 {
                    shown.push(',');
                }
                rewrite(item.get(), hidden, shown)?;
            }
            shown.push(']');
        }
        _ => shown.push_str(json),
    }
    Ok(())
}

/// The members of an object as they stand there, in order and also if a name is there twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        from.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings::ModelEvent;

    fn redactions() -> Redactions {
        let fields = vec![("card".to_owned(), true), ("total".to_owned(), false)];
        let events = vec![ModelEvent { name: "order.paid".into(), version: 1, fields }];
        Redactions::of_models(&[Model { name: "shop".into(), modules: Vec::new(), events, pools: [].into() }])
    }

    fn shown(name: &str, form: PayloadForm, payload: &str) -> String {
        let envelope = Envelope::build(name).payload(form, payload.as_bytes().to_vec()).finish();
        let shown = redactions().apply(envelope.expect("an event"));
        String::from_utf8(shown.payload().expect("a payload").to_vec()).expect("text")
    }

    #[test]
    fn a_declared_field_is_hidden_at_every_depth_and_the_rest_stays_as_it_was_written() {
        let json = r#"{"total":1.50,"card":"4711","changed":[{"card":{"from":1,"to":2}},{}],"z":1,"a":2}"#;
        assert_eq!(
            shown("order.paid", PayloadForm::Json, json),
            r#"{"total":1.50,"card":"[redacted]","changed":[{"card":"[redacted]"},{}],"z":1,"a":2}"#
        );
        assert_eq!(shown("order.placed", PayloadForm::Json, json), json);
    }

    #[test]
    fn a_name_written_with_escapes_is_hidden_too() {
        let json = r#"{"c\u0061rd":"4711"}"#;
        assert_eq!(shown("order.paid", PayloadForm::Json, json), r#"{"card":"[redacted]"}"#);
    }

    #[test]
    fn a_payload_that_cannot_be_looked_into_is_hidden_whole() {
        assert_eq!(shown("order.paid", PayloadForm::Text, "card 4711"), r#""[redacted]""#);
        assert_eq!(shown("order.paid", PayloadForm::Json, "{ card"), r#""[redacted]""#);
    }
}
