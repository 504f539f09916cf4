//! The header of an event on disk: everything of an envelope but name, stream, event time and payload, in few bytes.
//!
//! `[checksum u32 LE] [flags] [source id] [id] …`: a flag a field, nothing written for what is the default. The format is
//! frozen: a change is a new format number, and `tests/format.rs` holds it against a golden file.

use tidings_core::{Attribute, Envelope, EventTime, PayloadForm, Priority, Text, Timestamp, category};
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::varint::{Bytes, put, put_signed, put_text};

const ID_UUID: u64 = 1;
const KEY: u64 = 1 << 1;
/// The key is what follows `{category}-` in the stream.
const KEY_OF_STREAM: u64 = 1 << 2;
const TAGS: u64 = 1 << 3;
const CORRELATION: u64 = 1 << 4;
const CORRELATION_UUID: u64 = 1 << 5;
const CAUSATION: u64 = 1 << 6;
const CAUSATION_UUID: u64 = 1 << 7;
const CAUSATION_IS_CORRELATION: u64 = 1 << 8;
const HOPS: u64 = 1 << 9;
const VERSION: u64 = 1 << 10;
const FORM_SHIFT: u64 = 11;
const RARE: u64 = 1 << 13;
const PRIORITY_SHIFT: u64 = 14;
const SUBJECT: u64 = 1 << 16;
const SUBJECT_IS_KEY: u64 = 1 << 17;
const STREAM: u64 = 1 << 18;
const STREAM_IS_RECORDED: u64 = 1 << 19;
const CONTENT_TYPE: u64 = 1 << 20;
const TIME_OFFSET: u64 = 1 << 21;
const TIME_TEXT: u64 = 1 << 22;

const RARE_EXPIRY: u64 = 1;
const RARE_USER: u64 = 1 << 1;
const RARE_TENANT: u64 = 1 << 2;
const RARE_PARENT: u64 = 1 << 3;
const RARE_PARENT_SHORT: u64 = 1 << 4;
const RARE_STATE: u64 = 1 << 5;
const RARE_SCHEMA: u64 = 1 << 6;
const RARE_ATTRIBUTES: u64 = 1 << 7;

/// Bytes the checksum takes at the beginning.
pub(crate) const CHECKSUM: usize = 4;

/// The suffix of `stream` when it is `{category of name}-{suffix}`.
pub(crate) fn suffix<'a>(stream: &'a str, name: &str) -> Option<&'a str> {
    stream.strip_prefix(category(name))?.strip_prefix('-')
}

/// Writes the header of `event`, which is in `stream`, with room for the checksum.
pub(crate) fn encode(out: &mut Vec<u8>, event: &Envelope, stream: &str, source_id: i64) {
    out.clear();
    out.extend_from_slice(&[0; CHECKSUM]);
    let mut flags = 0;
    let set = |flag: u64, on: bool| if on { flag } else { 0 };
    let id = uuid_bytes(event.id());
    flags |= set(ID_UUID, id.is_some());
    let key = event.key();
    let key_of_stream = key.is_some_and(|key| suffix(stream, event.name()) == Some(&**key));
    flags |= set(KEY, key.is_some()) | set(KEY_OF_STREAM, key_of_stream);
    flags |= set(TAGS, !event.tags().is_empty());
    let correlation = event.correlation().map(|text| (text, uuid_bytes(text)));
    flags |= set(CORRELATION, correlation.is_some());
    flags |= set(CORRELATION_UUID, correlation.is_some_and(|(_, uuid)| uuid.is_some()));
    let same = event.causation().is_some() && event.causation() == event.correlation();
    let causation = event.causation().filter(|_| !same).map(|text| (text, uuid_bytes(text)));
    flags |= set(CAUSATION, causation.is_some()) | set(CAUSATION_IS_CORRELATION, same);
    flags |= set(CAUSATION_UUID, causation.is_some_and(|(_, uuid)| uuid.is_some()));
    flags |= set(HOPS, event.hops() != 0) | set(VERSION, event.schema_version() != 1);
    flags |= form_number(event.form()) << FORM_SHIFT;
    flags |= priority_number(event.priority()) << PRIORITY_SHIFT;
    let subject = event.own_subject();
    let subject_is_key = subject.is_some() && subject == key;
    flags |= set(SUBJECT, subject.is_some()) | set(SUBJECT_IS_KEY, subject_is_key);
    let own_stream = event.own_stream();
    let stream_is_recorded = own_stream.is_some_and(|own| **own == *stream);
    flags |= set(STREAM, own_stream.is_some()) | set(STREAM_IS_RECORDED, stream_is_recorded);
    flags |= set(CONTENT_TYPE, event.content_type().is_some());
    let time = event.time().map(EventTime::parts);
    flags |= set(TIME_OFFSET, time.is_some_and(|time| time.form.is_some()));
    flags |= set(TIME_TEXT, time.is_some_and(|time| time.text.is_some()));
    let rare = rare_flags(event);
    flags |= set(RARE, rare != 0);

    put(out, flags);
    put(out, source_id as u64);
    put_id(out, event.id(), id);
    if let Some(key) = key.filter(|_| !key_of_stream) {
        put_text(out, key);
    }
    if !event.tags().is_empty() {
        put(out, event.tags().len() as u64);
        event.tags().iter().for_each(|tag| put_text(out, tag));
    }
    for (text, uuid) in [correlation, causation].into_iter().flatten() {
        put_id(out, text, uuid);
    }
    if event.hops() != 0 {
        put(out, u64::from(event.hops()));
    }
    if event.schema_version() != 1 {
        put(out, u64::from(event.schema_version()));
    }
    if let Some(subject) = subject.filter(|_| !subject_is_key) {
        put_text(out, subject);
    }
    if let Some(own) = own_stream.filter(|_| !stream_is_recorded) {
        put_text(out, own);
    }
    if let Some(content_type) = event.content_type() {
        put_text(out, content_type);
    }
    if let Some(time) = time {
        if let Some((minutes, digits)) = time.form {
            put_signed(out, i64::from(minutes));
            out.push(digits);
        }
        if let Some(text) = time.text {
            put_text(out, text);
        }
    }
    if rare != 0 {
        encode_rare(out, event, rare);
    }
}

fn rare_flags(event: &Envelope) -> u64 {
    let set = |flag: u64, on: bool| if on { flag } else { 0 };
    let parent = event.trace_parent();
    set(RARE_EXPIRY, event.expiry().is_some())
        | set(RARE_USER, event.user().is_some())
        | set(RARE_TENANT, event.tenant().is_some())
        | set(RARE_PARENT, parent.is_some())
        | set(RARE_PARENT_SHORT, parent.is_some_and(|parent| parent_bytes(parent).is_some()))
        | set(RARE_STATE, event.trace_state().is_some())
        | set(RARE_SCHEMA, event.data_schema().is_some())
        | set(RARE_ATTRIBUTES, event.attributes().next().is_some())
}

fn encode_rare(out: &mut Vec<u8>, event: &Envelope, flags: u64) {
    put(out, flags);
    if let Some(at) = event.expiry() {
        put_signed(out, at.as_micros());
    }
    for text in [event.user(), event.tenant()].into_iter().flatten() {
        put_text(out, text);
    }
    if let Some(parent) = event.trace_parent() {
        match parent_bytes(parent) {
            Some(bytes) => out.extend_from_slice(&bytes),
            None => put_text(out, parent),
        }
    }
    for text in [event.trace_state(), event.data_schema()].into_iter().flatten() {
        put_text(out, text);
    }
    if flags & RARE_ATTRIBUTES != 0 {
        put(out, event.attributes().count() as u64);
        for (name, value) in event.attributes() {
            put_text(out, name);
            match value {
                Attribute::Bool(value) => out.push(u8::from(*value)),
                Attribute::Integer(value) => {
                    out.push(2);
                    put_signed(out, *value);
                }
                Attribute::Text(text) => {
                    out.push(3);
                    put_text(out, text);
                }
                Attribute::Json(text) => {
                    out.push(4);
                    put_text(out, text);
                }
            }
        }
    }
}

fn put_id(out: &mut Vec<u8>, text: &str, uuid: Option<[u8; 16]>) {
    match uuid {
        Some(bytes) => out.extend_from_slice(&bytes),
        None => put_text(out, text),
    }
}

/// What the rows around a header say about the event.
pub(crate) struct Around<'a> {
    pub(crate) name: &'a Text,
    pub(crate) stream: &'a Text,
    /// What follows the first `-` of the stream, kept so that its events share it.
    pub(crate) key: Option<&'a Text>,
    pub(crate) time: Option<i64>,
}

/// The id of the source a header names.
pub(crate) fn source_id(header: &[u8]) -> Option<i64> {
    let mut bytes = Bytes(header.get(CHECKSUM..)?);
    bytes.number()?;
    i64::try_from(bytes.number()?).ok()
}

/// The envelope of a header, a payload and what is around them.
pub(crate) fn decode(
    header: &[u8],
    payload: bytes::Bytes,
    around: &Around<'_>,
    source: Text,
) -> Option<Envelope> {
    let mut bytes = Bytes(header.get(CHECKSUM..)?);
    let flags = bytes.number()?;
    bytes.number()?;
    decode_fields(bytes, flags, source, payload, around)
}

fn decode_fields(
    mut bytes: Bytes<'_>,
    flags: u64,
    source: Text,
    payload: bytes::Bytes,
    around: &Around<'_>,
) -> Option<Envelope> {
    let has = |flag: u64| flags & flag != 0;
    let mut event = Envelope::build(around.name.clone()).source(source);
    event = if has(ID_UUID) { event.uuid(bytes.array()?) } else { event.id(bytes.text()?) };
    let mut key = None;
    if has(KEY) {
        let text = if has(KEY_OF_STREAM) {
            let text = suffix(around.stream, around.name)?;
            // Both end where the stream ends: of the same length they are the same.
            around
                .key
                .filter(|shared| shared.len() == text.len())
                .map_or_else(|| Text::from(text), Text::clone)
        } else {
            Text::from(bytes.text()?)
        };
        key = Some(text.clone());
        event = event.key(text);
    }
    if has(TAGS) {
        let many = usize::try_from(bytes.number()?).ok().filter(|many| *many <= bytes.0.len())?;
        let mut read = 0;
        let tags = std::iter::from_fn(|| {
            let text = (read < many).then(|| bytes.text()).flatten()?;
            read += 1;
            Some(Text::from(text))
        });
        event = event.tags(tags);
        if read < many {
            return None;
        }
    }
    let mut correlation = None;
    if has(CORRELATION) {
        let text = take_id(&mut bytes, has(CORRELATION_UUID))?;
        correlation = Some(text.clone());
        event = event.correlation(text);
    }
    if has(CAUSATION) {
        event = event.causation(take_id(&mut bytes, has(CAUSATION_UUID))?);
    } else if has(CAUSATION_IS_CORRELATION) {
        event = event.causation(correlation?);
    }
    if has(HOPS) {
        event = event.hops(u16::try_from(bytes.number()?).ok()?);
    }
    if has(VERSION) {
        event = event.schema_version(u32::try_from(bytes.number()?).ok()?);
    }
    match (flags >> PRIORITY_SHIFT) & 3 {
        0 => {}
        1 => event = event.priority(Priority::Low),
        2 => event = event.priority(Priority::Critical),
        _ => return None,
    }
    if has(SUBJECT) {
        event = event.subject(if has(SUBJECT_IS_KEY) { key? } else { Text::from(bytes.text()?) });
    }
    if has(STREAM) {
        event = event.stream(if has(STREAM_IS_RECORDED) {
            around.stream.clone()
        } else {
            Text::from(bytes.text()?)
        });
    }
    if has(CONTENT_TYPE) {
        event = event.content_type(bytes.text()?);
    }
    if let Some(micros) = around.time {
        let form = if has(TIME_OFFSET) {
            Some((i16::try_from(bytes.signed()?).ok()?, bytes.array::<1>()?[0]))
        } else {
            None
        };
        let text = if has(TIME_TEXT) { Some(Text::from(bytes.text()?)) } else { None };
        event = event.time(EventTime::from_parts(micros, form, text));
    }
    if has(RARE) {
        event = decode_rare(event, &mut bytes)?;
    }
    let form = match (flags >> FORM_SHIFT) & 3 {
        0 => PayloadForm::Json,
        1 => PayloadForm::Absent,
        2 => PayloadForm::Text,
        _ => PayloadForm::Binary,
    };
    bytes.0.is_empty().then(|| event.payload(form, payload).trusted())
}

fn decode_rare(
    mut event: tidings_core::EnvelopeBuilder,
    bytes: &mut Bytes<'_>,
) -> Option<tidings_core::EnvelopeBuilder> {
    let flags = bytes.number()?;
    let has = |flag: u64| flags & flag != 0;
    if has(RARE_EXPIRY) {
        event = event.expiry(Timestamp::from_micros(bytes.signed()?));
    }
    if has(RARE_USER) {
        event = event.user(bytes.text()?);
    }
    if has(RARE_TENANT) {
        event = event.tenant(bytes.text()?);
    }
    if has(RARE_PARENT) {
        event = if has(RARE_PARENT_SHORT) {
            event.trace_parent(parent_text(&bytes.array::<26>()?))
        } else {
            event.trace_parent(bytes.text()?)
        };
    }
    if has(RARE_STATE) {
        event = event.trace_state(bytes.text()?);
    }
    if has(RARE_SCHEMA) {
        event = event.data_schema(bytes.text()?);
    }
    if has(RARE_ATTRIBUTES) {
        for _ in 0..bytes.number()? {
            let name = bytes.text()?;
            let value = match bytes.array::<1>()?[0] {
                0 => Attribute::Bool(false),
                1 => Attribute::Bool(true),
                2 => Attribute::Integer(bytes.signed()?),
                3 => Attribute::Text(bytes.text()?.into()),
                4 => Attribute::Json(bytes.text()?.into()),
                _ => return None,
            };
            event = event.attribute(name, value);
        }
    }
    Some(event)
}

fn take_id(bytes: &mut Bytes<'_>, uuid: bool) -> Option<Text> {
    if uuid { Some(uuid_text(&bytes.array()?)) } else { bytes.text().map(Text::from) }
}

fn form_number(form: PayloadForm) -> u64 {
    match form {
        PayloadForm::Json => 0,
        PayloadForm::Absent => 1,
        PayloadForm::Text => 2,
        PayloadForm::Binary => 3,
    }
}

fn priority_number(priority: Priority) -> u64 {
    match priority {
        Priority::Normal => 0,
        Priority::Low => 1,
        Priority::Critical => 2,
    }
}

/// A hash of what an event is, wherever it is recorded.
pub(crate) fn content_hash(
    header: &[u8],
    payload: &[u8],
    stream_id: i64,
    name_id: i64,
    time: Option<i64>,
) -> u64 {
    let body = xxh3_64(header.get(CHECKSUM..).unwrap_or_default());
    let whole = xxh3_64_with_seed(payload, body);
    let mut rest = [0_u8; 24];
    rest[..8].copy_from_slice(&stream_id.to_le_bytes());
    rest[8..16].copy_from_slice(&name_id.to_le_bytes());
    rest[16..].copy_from_slice(&time.unwrap_or(i64::MIN).to_le_bytes());
    xxh3_64_with_seed(&rest, whole)
}

/// The checksum of a recorded event: of its content and of its place.
pub(crate) fn checksum(content: u64, position: i64, version: i64, recorded: i64) -> [u8; CHECKSUM] {
    let mut place = [0_u8; 24];
    place[..8].copy_from_slice(&position.to_le_bytes());
    place[8..16].copy_from_slice(&version.to_le_bytes());
    place[16..].copy_from_slice(&recorded.to_le_bytes());
    (xxh3_64_with_seed(&place, content) as u32).to_le_bytes()
}

/// What each byte is as a lower-case hexadecimal digit; `NO_DIGIT` for what is none.
const DIGIT: [u8; 256] = {
    let mut table = [NO_DIGIT; 256];
    let mut digit = 0;
    while digit < 16 {
        table[DIGITS[digit] as usize] = digit as u8;
        digit += 1;
    }
    table
};
const NO_DIGIT: u8 = 0xff;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Where the two digits of each byte stand in a text with dashes before the given bytes.
const fn places<const N: usize>(dashes: &[usize]) -> [usize; N] {
    let mut places = [0; N];
    let (mut place, mut passed) = (0, 0);
    while place < N {
        if passed < dashes.len() && dashes[passed] == place {
            passed += 1;
        }
        places[place] = 2 * place + passed;
        place += 1;
    }
    places
}

/// Lower-case hexadecimal digits with dashes between `places`, `L` bytes long, as bytes.
fn hex_bytes<const N: usize, const L: usize>(text: &str, places: &[usize; N]) -> Option<[u8; N]> {
    let text: &[u8; L] = text.as_bytes().try_into().ok()?;
    let mut out = [0; N];
    let (mut seen, mut dashes) = (0, 0);
    for (byte, at) in out.iter_mut().zip(places) {
        if *at > seen {
            dashes += usize::from(text[seen] == b'-');
        }
        let (high, low) = (DIGIT[usize::from(text[*at])], DIGIT[usize::from(text[*at + 1])]);
        if high == NO_DIGIT || low == NO_DIGIT {
            return None;
        }
        *byte = (high << 4) | low;
        seen = *at + 2;
    }
    (dashes == L - 2 * N).then_some(out)
}

fn hex_text<const N: usize, const L: usize>(bytes: &[u8; N], places: &[usize; N]) -> Text {
    let mut out = [b'-'; L];
    for (byte, at) in bytes.iter().zip(places) {
        out[*at] = DIGITS[usize::from(byte >> 4)];
        out[*at + 1] = DIGITS[usize::from(byte & 15)];
    }
    std::str::from_utf8(&out).map_or_else(|_| Text::default(), Text::from)
}

const UUID_PLACES: [usize; 16] = places(&[4, 6, 8, 10]);
const UUID_LENGTH: usize = 36;
const PARENT_PLACES: [usize; 26] = places(&[1, 17, 25]);
const PARENT_LENGTH: usize = 55;

/// The bytes of a UUID in canonical lower-case text.
pub(crate) fn uuid_bytes(text: &str) -> Option<[u8; 16]> {
    hex_bytes::<16, UUID_LENGTH>(text, &UUID_PLACES)
}

fn uuid_text(bytes: &[u8; 16]) -> Text {
    hex_text::<16, UUID_LENGTH>(bytes, &UUID_PLACES)
}

/// The bytes of a W3C `traceparent` in its usual form: version, trace id, parent id, flags.
fn parent_bytes(text: &str) -> Option<[u8; 26]> {
    hex_bytes::<26, PARENT_LENGTH>(text, &PARENT_PLACES)
}

fn parent_text(bytes: &[u8; 26]) -> Text {
    hex_text::<26, PARENT_LENGTH>(bytes, &PARENT_PLACES)
}

#[cfg(test)]
mod tests;
