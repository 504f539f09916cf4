//! From an event taken apart to a checked envelope.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;

use super::{
    ATTRIBUTES_BYTES_MAX, Incoming, Place, Problem, ReadError,
    content::{form_named, form_of_body, form_of_data},
    draft::{Data, Draft, Standard, Value},
    extension::{FORM, Own, text_of},
    json,
};
use crate::{Attribute, Envelope, EnvelopeBuilder, EnvelopeError, EventTime, PayloadForm, Text};

type Free<'a> = Vec<(Cow<'a, str>, Attribute)>;

impl Draft<'_> {
    /// The event, checked.
    pub(super) fn finish(mut self) -> Result<Incoming, ReadError> {
        let version = self.take_required(Standard::SpecVersion)?;
        if &*version != "1.0" {
            let cut = version.chars().take(16).collect();
            return Err(Standard::SpecVersion.wrong(Problem::SpecVersion(cut)));
        }
        let mut envelope = Envelope::build(self.take_required(Standard::Type)?)
            .id(self.take_required(Standard::Id)?)
            .source(self.take_required(Standard::Source)?);
        if let Some(subject) = self.take(Standard::Subject)? {
            envelope = envelope.subject(subject);
        }
        if let Some(time) = self.take(Standard::Time)? {
            let time = EventTime::parse(&time).map_err(|error| Standard::Time.wrong(Problem::Time(error)))?;
            envelope = envelope.time(time);
        }
        let (content_type, schema) =
            (self.take(Standard::DataContentType)?, self.take(Standard::DataSchema)?);
        let size: usize = [&content_type, &schema].into_iter().flatten().map(|text| text.len()).sum();

        // The modes differ in what a value can be: in binary mode everything is text.
        let typed = !matches!(self.data, Data::Body(_));
        let mut free = free_attributes(self.extensions, size)?;
        let (mut envelope, stream) = take_own(envelope, &mut free, typed);
        let place = Place::take(stream.as_ref(), &mut free);
        let (form, bytes) = payload(self.data, content_type.as_deref(), &mut free)?;
        envelope = envelope.payload(form, bytes);
        if let Some(content_type) = content_type {
            envelope = envelope.content_type(content_type);
        }
        if let Some(schema) = schema {
            envelope = envelope.data_schema(schema);
        }
        for (name, value) in free {
            envelope = envelope.attribute(name, value);
        }
        let envelope = in_stream(envelope, stream, place.is_some()).map_err(named)?;
        Ok(Incoming { envelope, place })
    }
}

/// The extensions as attributes. `size` is that of the attributes which count against the same limit.
fn free_attributes<'a>(
    mut extensions: Vec<(Cow<'a, str>, Value<'a>)>,
    mut size: usize,
) -> Result<Free<'a>, ReadError> {
    extensions.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut free = Free::with_capacity(extensions.len());
    let mut last: Option<Cow<'_, str>> = None;
    for (name, value) in extensions {
        if name.is_empty() {
            return Err(ReadError::whole(Problem::Nameless));
        }
        if last.as_ref() == Some(&name) {
            return Err(ReadError::at(&name, Problem::Twice));
        }
        last = Some(name.clone());
        let value = match value {
            Value::Json("null") => continue,
            Value::Json(text) => attribute(text).map_err(|problem| ReadError::at(&name, problem))?,
            Value::Text(text) => Attribute::Text(text.into()),
        };
        size += name.len() + text_of(&value).len();
        free.push((name, value));
    }
    if size > ATTRIBUTES_BYTES_MAX { Err(ReadError::whole(Problem::TooMuch)) } else { Ok(free) }
}

/// The attribute a JSON value other than `null` is.
fn attribute(json: &str) -> Result<Attribute, Problem> {
    Ok(match json.as_bytes().first() {
        Some(b'"') => Attribute::Text(string(json)?.into()),
        Some(b't') => Attribute::Bool(true),
        Some(b'f') => Attribute::Bool(false),
        Some(b'{' | b'[') if json::too_deep(json) => return Err(Problem::TooDeep),
        // `-0` is a number that is no i64: kept as it is.
        _ => match json.parse().ok().filter(|_| json != "-0") {
            Some(number) => Attribute::Integer(number),
            None => Attribute::Json(json.into()),
        },
    })
}

fn string(json: &str) -> Result<String, Problem> {
    serde_json::from_str(json).map_err(|error| Problem::NotJson(error.to_string()))
}

/// Puts into the envelope what is ours among the free attributes, but for the stream, and leaves the others. One that
/// means what ours would and says it otherwise is put in and left.
fn take_own(
    mut envelope: EnvelopeBuilder,
    free: &mut Free<'_>,
    typed: bool,
) -> (EnvelopeBuilder, Option<Text>) {
    let mut found = Vec::new();
    free.retain(|(name, value)| {
        let Some(own) = Own::read(name, value) else { return true };
        let ours = own.value();
        let same = if typed { ours == *value } else { text_of(&ours) == text_of(value) };
        found.push(own);
        !same
    });
    let mut stream = None;
    for own in found {
        match own {
            Own::Stream(name) => stream = Some(name),
            own => envelope = own.put(envelope),
        }
    }
    (envelope, stream)
}

fn payload(
    data: Data<'_>,
    content_type: Option<&str>,
    free: &mut Free<'_>,
) -> Result<(PayloadForm, Bytes), ReadError> {
    let wrong = |problem| ReadError::at("data", problem);
    Ok(match data {
        Data::Absent => (PayloadForm::Absent, Bytes::new()),
        Data::Base64(text) => {
            let bytes = STANDARD.decode(&*text).map_err(|_| ReadError::at("data_base64", Problem::Base64))?;
            (PayloadForm::Binary, bytes.into())
        }
        Data::Json(text) if json::too_deep(text) => return Err(wrong(Problem::TooDeep)),
        Data::Json(text) => {
            let is_string = text.starts_with('"');
            let form = form(free, form_of_data(content_type, is_string), |form| {
                is_string && form != PayloadForm::Binary
            });
            let bytes = match form {
                PayloadForm::Text => string(text).map_err(wrong)?.into(),
                _ => Bytes::copy_from_slice(text.as_bytes()),
            };
            (form, bytes)
        }
        Data::Body(body) => {
            let form = form(free, form_of_body(content_type, &body), |form| match form {
                PayloadForm::Json => json::valid(&body).is_ok(),
                PayloadForm::Text => std::str::from_utf8(&body).is_ok(),
                PayloadForm::Binary => true,
                PayloadForm::Absent => false,
            });
            if form != PayloadForm::Json {
                return Ok((form, body));
            }
            let text = json::valid(&body).map_err(|error| wrong(Problem::NotJson(error.to_string())))?;
            if json::too_deep(text) {
                return Err(wrong(Problem::TooDeep));
            }
            (form, body.slice_ref(text.as_bytes()))
        }
    })
}

/// The form the content type tells, or another that the extension for it names and that can be.
fn form(free: &mut Free<'_>, told: PayloadForm, possible: impl Fn(PayloadForm) -> bool) -> PayloadForm {
    let named = free.iter().position(|(name, _)| name == FORM).and_then(|index| {
        let form = form_named(&text_of(&free[index].1))?;
        (form != told && possible(form)).then_some((index, form))
    });
    match named {
        Some((index, form)) => {
            free.remove(index);
            form
        }
        None => told,
    }
}

/// The envelope in its stream. A recorded event names its stream always; that does not make the default one its own.
fn in_stream(
    envelope: EnvelopeBuilder,
    stream: Option<Text>,
    recorded: bool,
) -> Result<Envelope, EnvelopeError> {
    match stream {
        None => envelope.finish(),
        Some(stream) if !recorded => envelope.stream(stream).finish(),
        Some(stream) => {
            let envelope = envelope.finish()?;
            if envelope.stream() == *stream { Ok(envelope) } else { envelope.edit().stream(stream).finish() }
        }
    }
}

/// The envelope's complaint, with the attribute's name in CloudEvents.
fn named(error: EnvelopeError) -> ReadError {
    let name = |field| match field {
        "key" => "partitionkey",
        "stream" => "streamname",
        "correlation" => "correlationid",
        "causation" => "causationid",
        same => same,
    };
    match error {
        EnvelopeError::Name(error) => Standard::Type.wrong(Problem::Name(error)),
        EnvelopeError::Empty(field) => ReadError::at(name(field), Problem::Empty),
        EnvelopeError::TooLong { field, size, limit } => {
            ReadError::at(name(field), Problem::TooLong { size, limit })
        }
        EnvelopeError::Payload(reason) => ReadError::at("data", Problem::NotJson(reason)),
    }
}
