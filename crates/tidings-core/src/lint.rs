//! Advice on events: names that say too little, fields that look like secrets. Warnings only.

use std::fmt;

/// One piece of advice.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Advice {
    /// The event.
    pub event: String,
    /// The field, where it is about one.
    pub field: Option<String>,
    /// What to consider.
    pub advice: String,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{} · {field}: {}", self.event, self.advice),
            None => write!(f, "{}: {}", self.event, self.advice),
        }
    }
}

/// Past tenses that do not end in `ed`, as far as events commonly use them.
const IRREGULAR: &[&str] = &[
    "sent",
    "paid",
    "sold",
    "bought",
    "built",
    "chosen",
    "done",
    "drawn",
    "found",
    "given",
    "gone",
    "held",
    "kept",
    "left",
    "lost",
    "made",
    "met",
    "put",
    "read",
    "set",
    "shown",
    "spent",
    "split",
    "taken",
    "told",
    "won",
    "written",
    "withdrawn",
    "begun",
    "begin",
    "broken",
    "brought",
    "caught",
    "cut",
    "frozen",
    "hidden",
    "known",
    "laid",
    "lent",
    "let",
    "overdrawn",
    "rebuilt",
    "reset",
    "run",
    "seen",
    "sought",
    "spoken",
    "stolen",
    "thrown",
    "understood",
    "undone",
    "woken",
    "back",
    "complete",
    "start",
    "schedule",
];

/// Last words that say that something happened, but not what.
const VAGUE: &[&str] =
    &["update", "updated", "change", "changed", "event", "modified", "processed", "data", "saved"];

/// Words in field names that usually mean a secret or a person's data.
const SECRET: &[&str] = &[
    "password",
    "passwd",
    "token",
    "secret",
    "ssn",
    "card",
    "cvv",
    "cvc",
    "iban",
    "pin",
    "credential",
    "apikey",
    "api_key",
    "private_key",
    "passport",
];

/// Advice on an event's name and on fields that are not marked `redact` or `personal`.
///
/// ```
/// use tidings_core::lint;
/// let advice = lint::check("order.update", &[("card_number", false)]);
/// assert_eq!(advice.len(), 2);
/// assert!(lint::check("order.placed", &[("card_number", true)]).is_empty());
/// ```
pub fn check(name: &str, fields: &[(&str, bool)]) -> Vec<Advice> {
    let mut all = Vec::new();
    let mut advise = |field: Option<&str>, advice: String| {
        all.push(Advice { event: name.to_owned(), field: field.map(str::to_owned), advice });
    };
    let last = name.rsplit('.').next().unwrap_or(name);
    let word = last.rsplit(['_', '-']).next().unwrap_or(last).to_lowercase();
    if VAGUE.contains(&word.as_str()) {
        advise(
            None,
            format!("`{word}` does not say what happened; name the fact, as in `order.address_corrected`"),
        );
    } else if !word.ends_with("ed") && !IRREGULAR.contains(&word.as_str()) {
        advise(None, format!("an event is a fact that has happened: say it in the past tense, not `{word}`"));
    }
    if !name.contains('.') {
        advise(
            None,
            "a name has at least two parts, such as `order.placed`; the first is the category".into(),
        );
    }
    for (field, protected) in fields {
        let lower = field.to_lowercase();
        let words: Vec<&str> = lower.split(['_', '-', '.']).collect();
        let hit = SECRET
            .iter()
            .find(|secret| words.contains(secret) || (secret.len() > 4 && lower.contains(*secret)));
        if let (Some(secret), false) = (hit, protected) {
            advise(Some(field), format!("looks like a {secret}; mark it `#[event(redact)]` or leave it out"));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_the_past_tense_pass_and_vague_ones_do_not() {
        for good in ["order.placed", "payment.sent", "stock.ran_out_noticed", "parcel.handed_over_confirmed"]
        {
            assert!(check(good, &[]).is_empty(), "{good}");
        }
        for bad in ["order.place", "order.updated", "customer.changed", "order_event", "placed"] {
            assert!(!check(bad, &[]).is_empty(), "{bad}");
        }
    }

    #[test]
    fn unmarked_secrets_are_named() {
        let advice = check(
            "user.registered",
            &[("password", false), ("spinning", false), ("pin", false), ("token", true)],
        );
        let fields: Vec<_> = advice.iter().filter_map(|a| a.field.as_deref()).collect();
        assert_eq!(fields, ["password", "pin"]);
    }
}
