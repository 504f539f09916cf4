use bytes::Bytes;

use super::*;

fn there_and_back(event: &Envelope, stream: &str) -> (Envelope, Vec<u8>) {
    let mut header = Vec::new();
    encode(&mut header, event, stream, 9);
    let (name, stream) = (event.name().clone(), Text::from(stream));
    let key = stream.split_once('-').map(|(_, key)| Text::from(key));
    let time = event.time().map(|time| time.at().as_micros());
    let around = Around { name: &name, stream: &stream, key: key.as_ref(), time };
    let source = event.source().clone();
    let payload = event.payload().expect("a payload");
    assert_eq!(source_id(&header), Some(9));
    let decoded = decode(&header, payload.clone(), &around, source);
    (decoded.expect("a header"), header)
}

fn assert_same(event: &Envelope, back: &Envelope) {
    assert!(back.same_content(event), "{event:?} came back as {back:?}");
    assert_eq!((back.id(), back.source()), (event.id(), event.source()));
    assert_eq!((back.own_subject(), back.own_stream()), (event.own_subject(), event.own_stream()));
}

const UUID: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

fn every_field() -> Vec<Envelope> {
    let build = || Envelope::build("order.placed").id(UUID);
    let time = |text| EventTime::parse(text).expect("a time");
    let envelopes = [
        build(),
        build().id("7"),
        build().id("01890A5D-AC96-774B-BCCE-B302099A8057"),
        build().key("4711"),
        build().key("other"),
        build().key("4711").subject("4711"),
        build().key("4711").subject("s"),
        build().subject("s"),
        build().stream("order-4711"),
        build().stream("elsewhere").key("4711"),
        build().tag("a", 1).tag("a", 1).tag("b", "é"),
        build().correlation(UUID).causation(UUID),
        build().correlation("c").causation(UUID),
        build().correlation(UUID).causation("d"),
        build().causation("d"),
        build().hops(300).schema_version(70_000),
        build().priority(Priority::Low),
        build().priority(Priority::Critical).content_type("text/plain"),
        build().payload(PayloadForm::Text, Bytes::from_static(b"hello")),
        build().payload(PayloadForm::Binary, Bytes::from_static(&[0, 255])),
        build().json(Bytes::from_static(b"{}")),
        build().time(Timestamp::from_micros(-1)),
        build().time(time("2011-10-01T00:38:44.546+02:00")),
        build().time(time("2011-10-01T00:38:44.123456789Z")),
        build().expiry(Timestamp::MAX).user("u").tenant("t").trace_state("a=b").data_schema("s"),
        build().trace_parent("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        build().trace_parent("00-0AF7"),
        build()
            .attribute("yes", Attribute::Bool(true))
            .attribute("no", Attribute::Bool(false))
            .attribute("number", Attribute::Integer(i64::MIN))
            .attribute("text", Attribute::Text("x".into()))
            .attribute("json", Attribute::Json("[1]".into())),
    ];
    envelopes.into_iter().map(|event| event.finish().expect("an envelope")).collect()
}

#[test]
fn every_field_comes_back() {
    for event in every_field() {
        assert_same(&event, &there_and_back(&event, "order-4711").0);
        assert_same(&event, &there_and_back(&event, "elsewhere").0);
    }
}

#[test]
fn what_is_usual_takes_few_bytes() {
    let event = Envelope::build("order.placed").id(UUID).key("4711").finish().expect("an envelope");
    let (_, header) = there_and_back(&event, "order-4711");
    assert_eq!(header.len(), CHECKSUM + 2 + 1 + 16, "checksum, flags, source, id");
}

#[test]
fn a_header_cut_anywhere_is_refused() {
    for event in every_field() {
        let (_, header) = there_and_back(&event, "order-4711");
        let (name, stream) = (event.name().clone(), Text::from("order-4711"));
        let around = Around { name: &name, stream: &stream, key: None, time: event.time().map(|_| 0) };
        for end in 0..header.len() {
            let cut = decode(&header[..end], Bytes::new(), &around, "/s".into());
            assert!(cut.is_none(), "{event:?} cut at {end}");
        }
    }
}

#[test]
fn the_checksum_covers_content_and_place() {
    let content = |payload: &[u8], stream, name, time| content_hash(b"sum.rest", payload, stream, name, time);
    let whole = content(b"p", 1, 2, Some(3));
    for other in [
        content(b"q", 1, 2, Some(3)),
        content(b"p", 2, 2, Some(3)),
        content(b"p", 1, 1, Some(3)),
        content(b"p", 1, 2, None),
    ] {
        assert_ne!(whole, other);
    }
    let sum = checksum(whole, 1, 1, 1);
    for other in [
        checksum(whole, 2, 1, 1),
        checksum(whole, 1, 2, 1),
        checksum(whole, 1, 1, 2),
        checksum(whole + 1, 1, 1, 1),
    ] {
        assert_ne!(sum, other);
    }
}

#[test]
fn only_canonical_texts_are_kept_as_bytes() {
    assert_eq!(uuid_bytes(UUID).map(|bytes| uuid_text(&bytes)).as_deref(), Some(UUID));
    for other in [
        "01890A5D-ac96-774b-bcce-b302099a8057",
        "01890a5dxac96-774b-bcce-b302099a8057",
        "01890a5d-ac96-774b-bccexb302099a8057",
        "01890a5d-ac96-774b-bcce-b302099a805",
        "01890a5d-ac96-774b-bcce-b302099a80577",
        "01890a5d-ac96-774b-bcce-b302099a805g",
        "01890a5dac96774bbcceb302099a8057----",
        "\u{e9}1890a5d-ac96-774b-bcce-b302099a805",
    ] {
        assert_eq!(uuid_bytes(other), None, "{other}");
    }
}
