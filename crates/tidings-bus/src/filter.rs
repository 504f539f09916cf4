//! Filters: conditions on events that are data, so that they can stand in a file or travel.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::Value;
use tidings_core::{Attribute, Envelope, Failure, Handled, Kind, Pattern, PayloadForm};

/// How deep filters may be nested when they are read; it bounds the stack that deciding needs.
pub const FILTER_DEPTH_MAX: usize = 32;

/// How many conditions a filter may have when it is read; it bounds the time that deciding takes.
pub const FILTER_CONDITIONS_MAX: usize = 256;

/// A condition on an event that can be written down.
///
/// A *field* is either a place in the payload, as a JSON pointer that begins with `/`, or the name of an attribute of
/// the envelope: `id`, `name`, `source`, `stream`, `subject`, `key`, `tags`, `schema_version`, `time`, `correlation`,
/// `causation`, `user`, `tenant`, `content_type`, or a free one. A field that is not there meets no condition but
/// `not` of one. Numbers compare with numbers and texts, letter by letter, with texts.
///
/// ```
/// use tidings_bus::Filter;
/// use tidings_core::Envelope;
///
/// let filter: Filter = serde_json::from_str(
///     r#"{"all": [{"at_least": {"field": "/total_cents", "value": 1000}}, {"not": {"is": {"field": "tenant", "value": "test"}}}]}"#,
/// )?;
/// let order = |cents: u32| Envelope::build("order.placed").json(format!(r#"{{"total_cents":{cents}}}"#)).finish();
/// assert!(filter.matches(&order(1_000)?).expect("JSON"));
/// assert!(!filter.matches(&order(999)?).expect("JSON"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(remote = "Self", rename_all = "snake_case", deny_unknown_fields)]
pub enum Filter {
    /// Every one of these; with none, always.
    All(Vec<Filter>),
    /// At least one of these; with none, never.
    Any(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// The event's name matches.
    Topic(Pattern),
    /// The field is there, and not null.
    Exists {
        /// Which field.
        field: String,
    },
    /// The field equals the value.
    Is {
        /// Which field.
        field: String,
        /// What it has to be.
        value: Value,
    },
    /// The field equals one of the values.
    OneOf {
        /// Which field.
        field: String,
        /// What it may be.
        values: Vec<Value>,
    },
    /// The field is greater than the value.
    Above {
        /// Which field.
        field: String,
        /// What it has to exceed.
        value: Value,
    },
    /// The field is the value or greater.
    AtLeast {
        /// Which field.
        field: String,
        /// The least it may be.
        value: Value,
    },
    /// The field is the value or less.
    AtMost {
        /// Which field.
        field: String,
        /// The most it may be.
        value: Value,
    },
    /// The field is less than the value.
    Below {
        /// Which field.
        field: String,
        /// What it has to stay under.
        value: Value,
    },
    /// The field is a text that begins so.
    StartsWith {
        /// Which field.
        field: String,
        /// The beginning.
        text: String,
    },
    /// The field is a text that ends so.
    EndsWith {
        /// Which field.
        field: String,
        /// The end.
        text: String,
    },
    /// The field is a text with this in it, or a list with this among its items.
    Contains {
        /// Which field.
        field: String,
        /// The part or item.
        value: Value,
    },
}

impl Filter {
    /// Whether an event meets the condition.
    ///
    /// # Errors
    /// A permanent failure when the condition asks about the payload, and that is no JSON.
    pub fn matches(&self, envelope: &Envelope) -> Handled<bool> {
        let json = std::cell::OnceCell::new();
        self.passes(envelope, &|| json.get_or_init(|| read(envelope)).as_ref().map_err(Failure::clone))
    }

    /// The same with a payload that has perhaps been read already.
    pub(crate) fn passes<'a>(
        &self,
        envelope: &'a Envelope,
        json: &dyn Fn() -> Result<&'a Value, Failure>,
    ) -> Handled<bool> {
        let value = |field: &str| match field.strip_prefix('/') {
            Some(_) => Ok(json()?.pointer(field).map(Cow::Borrowed)),
            None => Ok(attribute(envelope, field).map(Cow::Owned)),
        };
        let holds = |field: &str, holds: &dyn Fn(&Value) -> bool| {
            Ok::<_, Failure>(value(field)?.is_some_and(|value| !value.is_null() && holds(&value)))
        };
        let compares = |field: &str, with: &Value, wanted: fn(std::cmp::Ordering) -> bool| {
            holds(field, &|value| compare(value, with).is_some_and(wanted))
        };
        match self {
            Self::All(filters) => {
                filters.iter().try_fold(true, |all, filter| Ok(all && filter.passes(envelope, json)?))
            }
            Self::Any(filters) => {
                filters.iter().try_fold(false, |any, filter| Ok(any || filter.passes(envelope, json)?))
            }
            Self::Not(filter) => Ok(!filter.passes(envelope, json)?),
            Self::Topic(pattern) => Ok(pattern.matches(envelope.name())),
            Self::Exists { field } => holds(field, &|_| true),
            Self::Is { field, value } => holds(field, &|have| equal(have, value)),
            Self::OneOf { field, values } => {
                holds(field, &|have| values.iter().any(|value| equal(have, value)))
            }
            Self::Above { field, value } => compares(field, value, std::cmp::Ordering::is_gt),
            Self::AtLeast { field, value } => compares(field, value, std::cmp::Ordering::is_ge),
            Self::AtMost { field, value } => compares(field, value, std::cmp::Ordering::is_le),
            Self::Below { field, value } => compares(field, value, std::cmp::Ordering::is_lt),
            Self::StartsWith { field, text } => {
                holds(field, &|have| have.as_str().is_some_and(|t| t.starts_with(text)))
            }
            Self::EndsWith { field, text } => {
                holds(field, &|have| have.as_str().is_some_and(|t| t.ends_with(text)))
            }
            Self::Contains { field, value } => holds(field, &|have| contains(have, value)),
        }
    }

    /// How deep it is nested and how many conditions it has.
    fn size(&self) -> (usize, usize) {
        let sum = |filters: &[Self]| {
            filters.iter().map(Self::size).fold((0, 0), |(depth, count), (d, c)| (depth.max(d), count + c))
        };
        let (depth, count) = match self {
            Self::All(filters) | Self::Any(filters) => sum(filters),
            Self::Not(filter) => filter.size(),
            Self::OneOf { values, .. } => (0, values.len()),
            _ => (0, 0),
        };
        (depth + 1, count + 1)
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, to)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let filter = Self::deserialize(from)?;
        let (depth, conditions) = filter.size();
        if depth > FILTER_DEPTH_MAX {
            return Err(D::Error::custom(format!("a filter nested deeper than {FILTER_DEPTH_MAX}")));
        }
        if conditions > FILTER_CONDITIONS_MAX {
            return Err(D::Error::custom(format!(
                "a filter with more than {FILTER_CONDITIONS_MAX} conditions"
            )));
        }
        Ok(filter)
    }
}

/// The payload as JSON; an absent one is null.
pub(crate) fn read(envelope: &Envelope) -> Handled<Value> {
    if envelope.form() == PayloadForm::Absent {
        return Ok(Value::Null);
    }
    let bytes = envelope.payload().map_err(|error| Failure::of(Kind::Permanent, error))?;
    serde_json::from_slice(bytes).map_err(|error| Failure::of(Kind::Permanent, error))
}

fn attribute(envelope: &Envelope, name: &str) -> Option<Value> {
    let text = |text: Option<&tidings_core::Text>| text.map(|text| Value::from(&**text));
    match name {
        "id" => text(Some(envelope.id())),
        "name" => text(Some(envelope.name())),
        "source" => text(Some(envelope.source())),
        "stream" => Some(Value::from(envelope.stream())),
        "subject" => envelope.subject().map(Value::from),
        "key" => text(envelope.key()),
        "tags" => Some(envelope.tags().iter().map(|tag| Value::from(&**tag)).collect()),
        "schema_version" => Some(Value::from(envelope.schema_version())),
        "time" => envelope.time().map(|time| Value::from(time.to_string())),
        "correlation" => text(envelope.correlation()),
        "causation" => text(envelope.causation()),
        "user" => text(envelope.user()),
        "tenant" => text(envelope.tenant()),
        "content_type" => text(envelope.content_type()),
        free => envelope.attribute(free).map(|attribute| match attribute {
            Attribute::Bool(value) => Value::from(*value),
            Attribute::Integer(value) => Value::from(*value),
            Attribute::Text(value) => Value::from(&**value),
            Attribute::Json(json) => serde_json::from_str(json).unwrap_or_else(|_| Value::from(&**json)),
        }),
    }
}

/// Equal as values: 1 and 1.0 are.
fn equal(one: &Value, other: &Value) -> bool {
    one == other || compare(one, other).is_some_and(std::cmp::Ordering::is_eq)
}

fn compare(one: &Value, other: &Value) -> Option<std::cmp::Ordering> {
    match (one, other) {
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        (Value::Number(one), Value::Number(other)) => match (one.as_i128(), other.as_i128()) {
            // Whole numbers exactly: above 2^53 neighbours are the same float.
            (Some(one), Some(other)) => Some(one.cmp(&other)),
            _ => one.as_f64()?.partial_cmp(&other.as_f64()?),
        },
        _ => None,
    }
}

fn contains(have: &Value, value: &Value) -> bool {
    match (have, value) {
        (Value::String(have), Value::String(part)) => have.contains(part.as_str()),
        (Value::Array(items), item) => items.iter().any(|have| equal(have, item)),
        _ => false,
    }
}
