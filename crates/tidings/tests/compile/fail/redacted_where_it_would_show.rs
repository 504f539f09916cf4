//! Fields that could not be kept back although they are marked so.

#[tidings::event(name = "card.noted")]
struct Key {
    #[event(key, redact)]
    card: String,
}

#[tidings::event(name = "card.noted")]
struct Tag {
    #[event(redact)]
    #[event(tag)]
    card: String,
}

#[tidings::event(name = "card.noted")]
struct Newtype(#[event(redact)] String);

#[tidings::event(name = "card.noted")]
struct Flattened {
    #[event(redact)]
    #[serde(flatten)]
    card: std::collections::BTreeMap<String, String>,
}

#[tidings::event(name = "card.noted")]
#[serde(transparent)]
struct Transparent {
    #[event(redact)]
    card: String,
}

fn main() {}
