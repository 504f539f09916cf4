//! An event taken apart: what every mode of CloudEvents comes to before an envelope is made of it.

use std::borrow::Cow;

use bytes::Bytes;

use super::{Problem, ReadError};
use crate::Text;

/// An event taken apart. Nothing of it is checked yet, but that no standard attribute is there twice.
#[derive(Default)]
pub(super) struct Draft<'a> {
    /// By [`Standard`].
    pub(super) standard: [Option<Cow<'a, str>>; Standard::ALL.len()],
    pub(super) extensions: Vec<(Cow<'a, str>, Value<'a>)>,
    pub(super) data: Data<'a>,
}

/// The value of an extension.
pub(super) enum Value<'a> {
    /// JSON text, which is valid.
    Json(&'a str),
    /// The value itself, in a mode in which everything is text.
    Text(String),
}

/// The payload.
#[derive(Default)]
pub(super) enum Data<'a> {
    #[default]
    Absent,
    /// JSON text, which is valid.
    Json(&'a str),
    /// Bytes in base64.
    Base64(Cow<'a, str>),
    /// The body of a message in binary mode.
    Body(Bytes),
}

/// The attributes every event can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standard {
    SpecVersion,
    Id,
    Source,
    Type,
    Subject,
    Time,
    DataContentType,
    DataSchema,
}

impl Standard {
    pub(super) const ALL: [Self; 8] = [
        Self::SpecVersion,
        Self::Id,
        Self::Source,
        Self::Type,
        Self::Subject,
        Self::Time,
        Self::DataContentType,
        Self::DataSchema,
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|standard| standard.name() == name)
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::SpecVersion => "specversion",
            Self::Id => "id",
            Self::Source => "source",
            Self::Type => "type",
            Self::Subject => "subject",
            Self::Time => "time",
            Self::DataContentType => "datacontenttype",
            Self::DataSchema => "dataschema",
        }
    }

    /// That something is wrong with it.
    pub(super) fn wrong(self, problem: Problem) -> ReadError {
        ReadError::at(self.name(), problem)
    }
}

impl<'a> Draft<'a> {
    /// Takes an attribute out, if it is there; it must not be empty then.
    pub(super) fn take(&mut self, standard: Standard) -> Result<Option<Cow<'a, str>>, ReadError> {
        match self.standard[standard as usize].take() {
            Some(text) if text.is_empty() => Err(standard.wrong(Problem::Empty)),
            text => Ok(text),
        }
    }

    /// Takes out an attribute that must be there.
    pub(super) fn take_required(&mut self, standard: Standard) -> Result<Text, ReadError> {
        self.take(standard)?.map(Text::from).ok_or_else(|| standard.wrong(Problem::Missing))
    }
}
