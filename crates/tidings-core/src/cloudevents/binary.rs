//! The binary mode of HTTP: attributes as headers, the payload as the body.

use std::{borrow::Cow, fmt::Write as _};

use bytes::Bytes;

use super::{
    Incoming, Place, Problem, ReadError, WriteError,
    content::{form_name, form_of_body},
    draft::{Data, Draft, Standard, Value},
    extension::text_of,
    write::{checked_json, checked_text, extensions, standard},
};
use crate::{Attribute, Envelope, JSON, PayloadForm};

const PREFIX: &str = "ce-";
const CONTENT_TYPE: &str = "content-type";

/// Reads one event from the headers and the body of a message. Headers that are not about the event are passed over.
///
/// A body that is JSON by its content type is checked to be it. A content type of [`STRUCTURED`](super::STRUCTURED) or
/// [`BATCHED`](super::BATCHED) says that the message is not in binary mode: that is for the caller to look at first.
///
/// # Errors
/// The first thing that is wrong, with the attribute it is about.
pub fn read_binary<'h>(
    headers: impl IntoIterator<Item = (&'h str, &'h str)>,
    body: impl Into<Bytes>,
) -> Result<Incoming, ReadError> {
    let mut draft = Draft { data: Data::Body(body.into()), ..Draft::default() };
    for (header, value) in headers {
        let value = value.trim_matches([' ', '\t']);
        if header.eq_ignore_ascii_case(CONTENT_TYPE) {
            put(&mut draft, Standard::DataContentType, Cow::Borrowed(value))?;
            continue;
        }
        let Some((prefix, name)) = header.split_at_checked(PREFIX.len()) else { continue };
        if !prefix.eq_ignore_ascii_case(PREFIX) {
            continue;
        }
        let name = name.to_ascii_lowercase();
        if matches!(&*name, "datacontenttype" | "data" | "data_base64") {
            return Err(ReadError::at(&name, Problem::Misplaced));
        }
        let value = decoded(value).ok_or_else(|| ReadError::at(&name, Problem::Encoding))?;
        match Standard::named(&name) {
            Some(standard) => put(&mut draft, standard, value)?,
            None => draft.extensions.push((Cow::Owned(name), Value::Text(value.into_owned()))),
        }
    }
    draft.finish()
}

/// Writes one event as the headers and the body of a message; with its place, if it is recorded. Names of headers are
/// lower-case.
///
/// # Errors
/// As [`write`](fn@super::write), and a free attribute whose name cannot be part of a header's.
pub fn write_binary(
    envelope: &Envelope,
    place: Option<&Place>,
) -> Result<(Vec<(String, String)>, Bytes), WriteError> {
    let payload = envelope.payload()?;
    match envelope.form() {
        PayloadForm::Json => drop(checked_json("data", payload)?),
        PayloadForm::Text => drop(checked_text(payload)?),
        PayloadForm::Binary | PayloadForm::Absent => {}
    }
    let mut content_type = envelope.content_type().map(|text| &**text).filter(|text| !text.is_empty());
    if envelope.form() == PayloadForm::Json {
        // In JSON no content type means this one; a message has to say it.
        content_type = content_type.or(Some(JSON));
    }
    let told = form_of_body(content_type, payload);
    let form = (told != envelope.form()).then(|| form_name(envelope.form())).flatten();

    let mut headers = Vec::new();
    if let Some(content_type) = content_type {
        if !content_type.bytes().all(|byte| matches!(byte, b' '..=b'~'))
            || content_type.trim() != content_type
        {
            return Err(WriteError::HeaderValue);
        }
        headers.push((CONTENT_TYPE.to_owned(), content_type.to_owned()));
    }
    for (standard, text) in standard(envelope) {
        if standard != Standard::DataContentType {
            headers.push((format!("{PREFIX}{}", standard.name()), encoded(&text)));
        }
    }
    for (name, value) in extensions(envelope, place, form)? {
        let fits = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'.');
        if !name.bytes().all(fits) {
            return Err(WriteError::HeaderName(name.into_owned()));
        }
        if let Attribute::Json(text) = &value {
            checked_json(&name, text.as_bytes())?;
        }
        headers.push((format!("{PREFIX}{name}"), encoded(&text_of(&value))));
    }
    Ok((headers, payload.clone()))
}

fn put<'a>(draft: &mut Draft<'a>, standard: Standard, value: Cow<'a, str>) -> Result<(), ReadError> {
    match draft.standard[standard as usize].replace(value) {
        None => Ok(()),
        Some(_) => Err(standard.wrong(Problem::Twice)),
    }
}

/// The text of a header's value: without the quotes older senders put around it, then percent-decoded once.
fn decoded(value: &str) -> Option<Cow<'_, str>> {
    let value = unquoted(value)?;
    if !value.contains('%') {
        return Some(value);
    }
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (pair, tail) = rest.split_first_chunk::<2>()?;
        let digit = |byte: u8| char::from(byte).to_digit(16);
        bytes.push((digit(pair[0])? * 16 + digit(pair[1])?) as u8);
        rest = tail;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// A quoted string of RFC 7230 without its quotes and backslashes; anything else as it is.
fn unquoted(value: &str) -> Option<Cow<'_, str>> {
    let Some(quoted) = value.strip_prefix('"') else { return Some(Cow::Borrowed(value)) };
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    loop {
        match chars.next()? {
            '"' => return chars.next().is_none().then_some(Cow::Owned(text)),
            '\\' => text.push(chars.next()?),
            plain => text.push(plain),
        }
    }
}

/// A text as a header's value: what is not visible ASCII, quotes and percent signs as `%XY`.
fn encoded(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'!'..=b'~' if !matches!(byte, b'"' | b'%') => value.push(char::from(byte)),
            _ => write!(value, "%{byte:02X}").expect("writing to memory cannot fail"),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_encoded_as_the_specification_shows() {
        assert_eq!(encoded("Euro € 😀"), "Euro%20%E2%82%AC%20%F0%9F%98%80");
        assert_eq!(encoded("50% \"off\"\n"), "50%25%20%22off%22%0A");
    }

    #[test]
    fn a_value_is_decoded_once_after_its_quotes_are_gone() {
        for (value, text) in [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("%e2%82%ac", "€"),
            ("%2541", "%41"),
            ("%41B", "AB"),
            ("\"a \\\"b\\\" c%20d\"", "a \"b\" c d"),
            ("\"\"", ""),
            ("", ""),
        ] {
            assert_eq!(decoded(value).as_deref(), Some(text), "{value}");
        }
        for value in ["%C0%A0", "%", "%4", "%+1", "%zz", "\"open", "\"a\"b", "\"a\\"] {
            assert_eq!(decoded(value), None, "{value}");
        }
    }
}
