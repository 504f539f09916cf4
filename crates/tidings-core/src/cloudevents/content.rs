//! What a content type says about the form of a payload, and what to do where it says another than the envelope.

use crate::{JSON, PayloadForm};

/// The form of `data` in structured JSON; `string` says that it is a JSON string.
pub(super) fn form_of_data(content_type: Option<&str>, string: bool) -> PayloadForm {
    if string && !content_type.is_none_or(is_json) { PayloadForm::Text } else { PayloadForm::Json }
}

/// The form of the body of a message in binary mode.
pub(super) fn form_of_body(content_type: Option<&str>, body: &[u8]) -> PayloadForm {
    match content_type {
        _ if body.is_empty() => PayloadForm::Absent,
        Some(content_type) if is_json(content_type) => PayloadForm::Json,
        Some(content_type) if is_text(content_type) && std::str::from_utf8(body).is_ok() => PayloadForm::Text,
        _ => PayloadForm::Binary,
    }
}

/// The form's name in the extension `payloadform`.
pub(super) fn form_name(form: PayloadForm) -> Option<&'static str> {
    match form {
        PayloadForm::Json => Some("json"),
        PayloadForm::Text => Some("text"),
        PayloadForm::Binary => Some("binary"),
        PayloadForm::Absent => None,
    }
}

/// The form with this name in the extension `payloadform`.
pub(super) fn form_named(name: &str) -> Option<PayloadForm> {
    [PayloadForm::Json, PayloadForm::Text, PayloadForm::Binary]
        .into_iter()
        .find(|form| form_name(*form) == Some(name))
}

/// Whether it is `*/json` or `*/*+json`, whatever its parameters.
fn is_json(content_type: &str) -> bool {
    content_type == JSON || subtype_is(content_type, "json")
}

/// Whether it is text in UTF-8 as far as the type tells: `text/*`, `*/xml` or `*/*+xml`.
fn is_text(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default();
    let text = essence.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("text/"));
    let charset = parts.filter_map(|part| part.split_once('=')).find_map(|(name, value)| {
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    });
    (text || subtype_is(content_type, "xml"))
        && charset.is_none_or(|charset| {
            ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known))
        })
}

/// Whether the subtype is `wanted` or ends with `+wanted`.
fn subtype_is(content_type: &str, wanted: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let Some((_, subtype)) = essence.split_once('/') else { return false };
    let last = subtype.rsplit('+').next().unwrap_or_default();
    last.eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_told_by_the_subtype() {
        for json in [
            "application/json",
            "text/JSON",
            "application/problem+json",
            "a/b+c+json",
            "a/json; charset=utf-8",
        ] {
            assert!(is_json(json), "{json}");
        }
        for other in ["application/xml", "json", "application/jsonp", "application/json-seq", "json/xml", ""]
        {
            assert!(!is_json(other), "{other}");
        }
    }

    #[test]
    fn text_is_told_by_the_type_and_its_charset() {
        for text in [
            "text/plain",
            "TEXT/html; charset=\"UTF-8\"",
            "application/xml",
            "image/svg+xml;charset=us-ascii",
        ] {
            assert!(is_text(text), "{text}");
        }
        for other in ["application/octet-stream", "text/plain; charset=latin1", "texts/plain", ""] {
            assert!(!is_text(other), "{other}");
        }
    }
}
