//! Envelopes as structured JSON, each on one line.

use std::borrow::Cow;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    ATTRIBUTES_BYTES_MAX, Place, WriteError,
    content::{form_name, form_of_data},
    draft::Standard,
    extension::{FORM, Own, text_of},
    json,
};
use crate::{Attribute, Envelope, PayloadForm};

/// Writes one event in structured JSON, on one line and without a line end; with its place, if it is recorded.
///
/// # Errors
/// What cannot be written so that it can be read back: a payload that is not what its form says, or a free attribute
/// with a name that is taken.
pub fn write(envelope: &Envelope, place: Option<&Place>) -> Result<Vec<u8>, WriteError> {
    let payload = envelope.payload().map_or(0, |payload| payload.len());
    let mut out = Vec::with_capacity(256 + payload);
    write_into(&mut out, envelope, place)?;
    Ok(out)
}

/// Appends one event to `out`, as [`write`](fn@write) does. On an error `out` is as it was.
///
/// # Errors
/// As [`write`](fn@write).
pub fn write_into(out: &mut Vec<u8>, envelope: &Envelope, place: Option<&Place>) -> Result<(), WriteError> {
    let start = out.len();
    object(out, envelope, place).inspect_err(|_| out.truncate(start))
}

/// Writes a batch of events, each on its line.
///
/// # Errors
/// As [`write`](fn@write), for the first event that cannot be written, with its number.
pub fn write_batch<'a>(
    events: impl IntoIterator<Item = (&'a Envelope, Option<&'a Place>)>,
) -> Result<Vec<u8>, WriteError> {
    let mut out = vec![b'['];
    for (index, (envelope, place)) in events.into_iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b",\n");
        }
        write_into(&mut out, envelope, place)
            .map_err(|error| WriteError::InBatch { event: index + 1, error: Box::new(error) })?;
    }
    out.push(b']');
    Ok(out)
}

/// The standard attributes of an event, and the text they have.
pub(super) fn standard(envelope: &Envelope) -> impl Iterator<Item = (Standard, Cow<'_, str>)> {
    // An empty content type or schema says nothing, and CloudEvents has no way to write it.
    [
        (Standard::SpecVersion, Some(Cow::Borrowed("1.0"))),
        (Standard::Id, Some(Cow::Borrowed(&**envelope.id()))),
        (Standard::Source, Some(Cow::Borrowed(&**envelope.source()))),
        (Standard::Type, Some(Cow::Borrowed(&**envelope.name()))),
        (Standard::Subject, envelope.own_subject().map(|text| Cow::Borrowed(&**text))),
        (Standard::Time, envelope.time().map(|time| Cow::Owned(time.to_string()))),
        (Standard::DataContentType, envelope.content_type().map(|text| Cow::Borrowed(&**text))),
        (Standard::DataSchema, envelope.data_schema().map(|text| Cow::Borrowed(&**text))),
    ]
    .into_iter()
    .filter_map(|(standard, text)| Some((standard, text.filter(|text| !text.is_empty())?)))
}

/// The extensions of an event: ours, then the free attributes whose names we do not write ourselves.
pub(super) fn extensions<'e>(
    envelope: &'e Envelope,
    place: Option<&Place>,
    form: Option<&'static str>,
) -> Result<Vec<(Cow<'e, str>, Attribute)>, WriteError> {
    let mut all = Vec::new();
    for own in Own::all_of(envelope) {
        if place.is_some() && matches!(own, Own::Stream(_)) {
            continue;
        }
        // A stranger may have said the same in other words; then the words are kept.
        let spelled = envelope
            .attribute(own.name())
            .filter(|value| Own::read(own.name(), value).is_some_and(|read| read == own));
        all.push((Cow::Borrowed(own.name()), spelled.cloned().unwrap_or_else(|| own.value())));
    }
    if let Some(place) = place {
        all.extend(place.extensions().map(|(name, value)| (Cow::Borrowed(name), value)));
    }
    if let Some(form) = form {
        all.push((Cow::Borrowed(FORM), Attribute::Text(form.into())));
    }
    let ours = all.len();
    for (name, value) in envelope.attributes() {
        if name.is_empty() {
            return Err(WriteError::Nameless);
        }
        if Standard::named(name).is_some() || matches!(&**name, "data" | "data_base64") {
            return Err(WriteError::Reserved(name.to_string()));
        }
        if !all[..ours].iter().any(|(taken, _)| *taken == **name) {
            all.push((Cow::Borrowed(name), value.clone()));
        }
    }
    let mut size: usize = all.iter().map(|(name, value)| name.len() + text_of(value).len()).sum();
    size += [envelope.content_type(), envelope.data_schema()]
        .into_iter()
        .flatten()
        .map(|text| text.len())
        .sum::<usize>();
    if size > ATTRIBUTES_BYTES_MAX { Err(WriteError::TooMuch) } else { Ok(all) }
}

/// JSON text that will be read back, of the payload or a free attribute.
pub(super) fn checked_json<'j>(field: &str, text: &'j [u8]) -> Result<&'j str, WriteError> {
    let text = json::valid(text)
        .map_err(|error| WriteError::NotJson { field: field.to_owned(), reason: error.to_string() })?;
    if json::too_deep(text) { Err(WriteError::TooDeep(field.to_owned())) } else { Ok(text) }
}

/// The text of a payload that is marked as text.
pub(super) fn checked_text(payload: &[u8]) -> Result<&str, WriteError> {
    std::str::from_utf8(payload).map_err(|_| WriteError::NotUtf8)
}

fn object(out: &mut Vec<u8>, envelope: &Envelope, place: Option<&Place>) -> Result<(), WriteError> {
    let payload: &[u8] = envelope.payload()?;
    let content_type = envelope.content_type().map(|text| &**text).filter(|text| !text.is_empty());
    let json = match envelope.form() {
        PayloadForm::Json => checked_json("data", payload)?,
        _ => "",
    };
    let told = match envelope.form() {
        form @ (PayloadForm::Absent | PayloadForm::Binary) => form,
        PayloadForm::Text => form_of_data(content_type, true),
        PayloadForm::Json => form_of_data(content_type, json.starts_with('"')),
    };
    let form = (told != envelope.form()).then(|| form_name(envelope.form())).flatten();

    let mut comma = b'{';
    let mut name = |out: &mut Vec<u8>, name: &str| {
        out.push(std::mem::replace(&mut comma, b','));
        json::put_string(out, name);
        out.push(b':');
    };
    for (standard, text) in standard(envelope) {
        name(out, standard.name());
        json::put_string(out, &text);
    }
    for (extension, value) in extensions(envelope, place, form)? {
        name(out, &extension);
        match &value {
            Attribute::Text(text) => json::put_string(out, text),
            Attribute::Bool(_) | Attribute::Integer(_) => {
                out.extend_from_slice(text_of(&value).as_bytes());
            }
            Attribute::Json(text) => {
                json::put_on_one_line(out, checked_json(&extension, text.as_bytes())?);
            }
        }
    }
    match envelope.form() {
        PayloadForm::Absent => {}
        PayloadForm::Json => {
            name(out, "data");
            json::put_on_one_line(out, json);
        }
        PayloadForm::Text => {
            name(out, "data");
            json::put_string(out, checked_text(payload)?);
        }
        PayloadForm::Binary => {
            name(out, "data_base64");
            out.push(b'"');
            let start = out.len();
            out.resize(start + base64::encoded_len(payload.len(), true).unwrap_or_default(), 0);
            STANDARD.encode_slice(payload, &mut out[start..]).expect("the room is as long as the text");
            out.push(b'"');
        }
    }
    out.push(b'}');
    Ok(())
}
