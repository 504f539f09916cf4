//! What is needed of JSON text as text: its encoding, its depth, and how to put it on one line.

use serde_json::value::RawValue;

use super::{DEPTH_MAX, Problem, ReadError};

/// The text of `bytes`.
pub(super) fn utf8(bytes: &[u8]) -> Result<&str, ReadError> {
    std::str::from_utf8(bytes)
        .map_err(|error| ReadError::whole(Problem::NotUtf8 { valid: error.valid_up_to() }))
}

/// `bytes` without the white space around it, if that is one JSON value.
pub(super) fn valid(bytes: &[u8]) -> Result<&str, serde_json::Error> {
    serde_json::from_slice::<&RawValue>(bytes).map(RawValue::get)
}

/// Whether the valid JSON `value` nests too deep to stand inside an event.
pub(super) fn too_deep(value: &str) -> bool {
    // The event's own object is one level. Nesting is rare and depth needs brackets, so most values are done after a
    // look at their length, and nearly all after a count that the compiler vectorises.
    let limit = DEPTH_MAX - 1;
    if value.len() <= 2 * limit || value.bytes().filter(|b| matches!(b, b'[' | b'{')).count() <= limit {
        return false;
    }
    let mut depth = 0_usize;
    outside_strings(value, |byte| {
        match byte {
            b'[' | b'{' => depth += 1,
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth <= limit
    })
    .is_some()
}

/// Appends the valid JSON `value` as it is; without its line breaks and indents if it has some.
pub(super) fn put_on_one_line(out: &mut Vec<u8>, value: &str) {
    if !value.bytes().any(|b| matches!(b, b'\n' | b'\r')) {
        out.extend_from_slice(value.as_bytes());
        return;
    }
    let mut rest = value;
    while let Some(at) = outside_strings(rest, |byte| !byte.is_ascii_whitespace()) {
        let (before, after) = rest.split_at(at);
        out.extend_from_slice(before.as_bytes());
        rest = after.trim_ascii_start();
    }
    out.extend_from_slice(rest.as_bytes());
}

/// Appends `text` as a JSON string.
pub(super) fn put_string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("writing a string to memory cannot fail");
}

/// Where in the valid JSON `value`, outside its strings, `goes_on` first says no.
fn outside_strings(value: &str, mut goes_on: impl FnMut(u8) -> bool) -> Option<usize> {
    let mut bytes = value.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        if !goes_on(byte) {
            return Some(at);
        }
        if byte == b'"' {
            while let Some((_, byte)) = bytes.next() {
                match byte {
                    b'"' => break,
                    b'\\' => {
                        bytes.next();
                    }
                    _ => {}
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_is_counted_outside_strings_and_to_the_level() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(!too_deep(&nested(DEPTH_MAX - 1)));
        assert!(too_deep(&nested(DEPTH_MAX)));
        assert!(!too_deep(&format!("[\"{}\", \"\\\"{}\"]", "[".repeat(500), "{".repeat(500))));
        assert!(!too_deep(&format!("[{}0]", "[[]],".repeat(500))));
        serde_json::from_str::<serde_json::Value>(&nested(DEPTH_MAX - 1))
            .expect("what passes can be decoded");
    }

    #[test]
    fn white_space_goes_only_where_there_are_line_breaks_and_never_from_strings() {
        let one_line = |value: &str| {
            let mut out = Vec::new();
            put_on_one_line(&mut out, value);
            String::from_utf8(out).expect("text")
        };
        assert_eq!(one_line(r#"{ "a" : 1 }"#), r#"{ "a" : 1 }"#);
        assert_eq!(one_line("{\r\n  \"a b\" : [1,\t\"x \\\" y\"]\n}"), r#"{"a b":[1,"x \" y"]}"#);
    }
}
