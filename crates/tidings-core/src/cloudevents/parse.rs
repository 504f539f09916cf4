//! Structured JSON taken apart: one pass over the text, keys and plain strings borrowed from it, the payload untouched.

use std::{borrow::Cow, fmt};

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{
    Incoming, Problem, ReadError,
    draft::{Data, Draft, Standard, Value},
};

/// The member that holds a payload which is not JSON.
const DATA_BASE64: &str = "data_base64";

/// One event.
pub(super) fn event(text: &str) -> Result<Incoming, ReadError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut parser = Parser::default();
    match (&mut parser).deserialize(&mut json).and_then(|()| json.end()) {
        Ok(()) => parser.draft.finish(),
        Err(error) => Err(parser.explain(&error)),
    }
}

/// A batch of events.
pub(super) fn batch(text: &str) -> Result<Vec<Incoming>, ReadError> {
    let mut json = serde_json::Deserializer::from_str(text);
    let mut batch = Batch::default();
    match json.deserialize_seq(&mut batch).and_then(|()| json.end()) {
        Ok(()) => Ok(batch.events),
        Err(error) => Err(batch.explain(&error)),
    }
}

/// What a member of an event's object is.
enum Member {
    Standard(Standard),
    Extension,
    Data,
    DataBase64,
}

impl Member {
    fn named(name: &str) -> Self {
        match (Standard::named(name), name) {
            (Some(standard), _) => Self::Standard(standard),
            (None, "data") => Self::Data,
            (None, DATA_BASE64) => Self::DataBase64,
            (None, _) => Self::Extension,
        }
    }

    /// By which it is known whether it was there already. Extensions are compared when all are there.
    fn bit(&self) -> Option<u16> {
        match self {
            Self::Standard(standard) => Some(1 << *standard as u16),
            Self::Data => Some(1 << Standard::ALL.len()),
            Self::DataBase64 => Some(2 << Standard::ALL.len()),
            Self::Extension => None,
        }
    }
}

/// Collects the members of one object. What it knows when an error comes up says what the error is about.
#[derive(Default)]
struct Parser<'de> {
    draft: Draft<'de>,
    /// The member being read.
    current: Option<Cow<'de, str>>,
    /// Standard attributes and payloads that were there, also as `null`.
    seen: u16,
    problem: Option<Problem>,
}

impl<'de> Parser<'de> {
    fn explain(self, error: &serde_json::Error) -> ReadError {
        let problem = self.problem.unwrap_or_else(|| match &self.current {
            None if error.is_data() => Problem::NotAnObject,
            Some(_) if error.is_data() => Problem::NotText,
            _ => Problem::NotJson(error.to_string()),
        });
        match &self.current {
            Some(field) => ReadError::at(field, problem),
            None => ReadError::whole(problem),
        }
    }

    fn member<A: MapAccess<'de>>(&mut self, name: Cow<'de, str>, map: &mut A) -> Result<(), A::Error> {
        let member = Member::named(&name);
        self.current = Some(name.clone());
        if let Some(bit) = member.bit() {
            if self.seen & bit != 0 {
                return self.refuse(Problem::Twice);
            }
            self.seen |= bit;
        }
        let data = match member {
            Member::Standard(standard) => {
                let text: Option<Str<'de>> = map.next_value()?;
                self.draft.standard[standard as usize] = text.map(|text| text.0);
                return Ok(());
            }
            Member::Extension => {
                let value: &'de RawValue = map.next_value()?;
                self.draft.extensions.push((name, Value::Json(value.get())));
                return Ok(());
            }
            Member::Data => Data::Json(map.next_value::<&'de RawValue>()?.get()),
            Member::DataBase64 => match map.next_value::<Option<Str<'de>>>()? {
                Some(text) => Data::Base64(text.0),
                None => return Ok(()),
            },
        };
        if !matches!(self.draft.data, Data::Absent) {
            self.current = Some(Cow::Borrowed(DATA_BASE64));
            return self.refuse(Problem::TwoPayloads);
        }
        self.draft.data = data;
        Ok(())
    }

    fn refuse<E: serde::de::Error>(&mut self, problem: Problem) -> Result<(), E> {
        self.problem = Some(problem);
        Err(E::custom("refused"))
    }
}

impl<'de> DeserializeSeed<'de> for &mut Parser<'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<(), D::Error> {
        from.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for &mut Parser<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Str(name)) = map.next_key()? {
            self.member(name, &mut map)?;
            self.current = None;
        }
        Ok(())
    }
}

/// Collects the events of one array.
#[derive(Default)]
struct Batch<'de> {
    events: Vec<Incoming>,
    /// Why an event that is JSON is none of CloudEvents.
    wrong: Option<ReadError>,
    /// What was being parsed when the text went wrong.
    stopped: Option<Parser<'de>>,
}

impl Batch<'_> {
    fn explain(self, error: &serde_json::Error) -> ReadError {
        let wrong = self.wrong.or_else(|| self.stopped.map(|parser| parser.explain(error)));
        match wrong {
            Some(wrong) => ReadError { event: Some(self.events.len() + 1), ..wrong },
            None if error.is_data() => ReadError::whole(Problem::NotAnArray),
            None => ReadError::whole(Problem::NotJson(error.to_string())),
        }
    }
}

impl<'de> Visitor<'de> for &mut Batch<'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        loop {
            let mut parser = Parser::default();
            match list.next_element_seed(&mut parser) {
                Ok(None) => return Ok(()),
                Ok(Some(())) => match parser.draft.finish() {
                    Ok(event) => self.events.push(event),
                    Err(wrong) => {
                        self.wrong = Some(wrong);
                        return Err(A::Error::custom("refused"));
                    }
                },
                Err(error) => {
                    self.stopped = Some(parser);
                    return Err(error);
                }
            }
        }
    }
}

/// A string, borrowed where it has no escapes.
struct Str<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Str<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Str<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Str<'de>, E> {
                Ok(Str(Cow::Owned(text.to_owned())))
            }
        }

        from.deserialize_str(Text)
    }
}
