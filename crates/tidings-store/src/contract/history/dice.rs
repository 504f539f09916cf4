//! Chance from a seed, and events made by chance.

use bytes::Bytes;
use tidings_core::{Attribute, Envelope, EnvelopeBuilder, EventTime, PayloadForm, Priority, Text, Timestamp};

use crate::contract::kit::{SOURCE, made};

/// SplitMix64: small, and the same for a seed on every machine and in every release.
#[derive(Debug, Clone)]
pub(in crate::contract) struct Dice(u64);

/// Names of events; few, so that patterns and conditions meet.
pub(super) const NAMES: [&str; 5] =
    ["order.placed", "order.shipped", "order.line.added", "user.renamed", "audit"];

/// Keys of events.
pub(super) const KEYS: [&str; 4] = ["1", "2", "3", "x-y"];

/// Tags of events.
pub(super) const TAGS: [&str; 4] = ["customer:7", "customer:8", "shop:north", "vip:true"];

impl Dice {
    pub(in crate::contract) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `n`, which is not 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        self.roll() % n
    }

    /// True in `percent` of a hundred cases.
    pub(super) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A place in a list of `len`, which is not empty.
    pub(super) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    /// One of `list`, which is not empty.
    pub(in crate::contract) fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.index(list.len())]
    }

    /// A whole number from -`n` to `n`.
    pub(super) fn around(&mut self, n: u64) -> i64 {
        let n = i64::try_from(n).unwrap_or(i64::MAX / 2);
        i64::try_from(self.below(2 * n.unsigned_abs() + 1)).unwrap_or(0) - n
    }

    /// Up to `most` of `list`, perhaps one twice.
    pub(super) fn some(&mut self, list: &[&str], most: u64) -> Vec<Text> {
        (0..self.below(most + 1)).map(|_| Text::from(self.pick(list))).collect()
    }

    /// An event of a history: few names, keys and tags.
    pub(super) fn event(&mut self, id: &str, around: Timestamp) -> Envelope {
        if self.chance(10) {
            return self.envelope(id);
        }
        let mut event =
            Envelope::build(self.pick(&NAMES)).id(id).source(self.pick(&[SOURCE, SOURCE, SOURCE, "/b"]));
        if self.chance(60) {
            event = event.key(self.pick(&KEYS));
        }
        if self.chance(60) {
            let seconds = self.around(60);
            event = event.time(Timestamp::from_micros(around.as_micros() + seconds * 1_000_000));
        }
        let number = self.below(5);
        made(event.tags(self.some(&TAGS, 3)).json(format!(r#"{{"n":{number}}}"#)))
    }

    fn word(&mut self) -> String {
        const LETTERS: [char; 12] = ['a', 'b', 'Z', '0', '-', ':', '%', '_', '\'', 'ü', '🦀', ' '];
        (0..1 + self.below(12)).map(|_| self.pick(&LETTERS)).collect()
    }

    /// An event with any part in any form.
    pub(in crate::contract) fn envelope(&mut self, id: &str) -> Envelope {
        let mut event = Envelope::build(self.pick(&NAMES)).id(id).source(format!("/{}", self.word()));
        event = self.common_parts(event);
        event = self.rare_parts(event);
        let length = self.index(400);
        let bytes: Bytes = match self.below(3) {
            0 => (0..length).map(|_| (self.roll() & 0xff) as u8).collect(),
            1 => Bytes::from(vec![self.pick(b"a {\0"); length * 20]),
            _ => Bytes::from(format!("{:?}", self.word())),
        };
        let form =
            self.pick(&[PayloadForm::Json, PayloadForm::Text, PayloadForm::Binary, PayloadForm::Absent]);
        made(if form == PayloadForm::Absent { event } else { event.payload(form, bytes) })
    }

    fn common_parts(&mut self, mut event: EnvelopeBuilder) -> EnvelopeBuilder {
        if self.chance(50) {
            event = event.key(self.word());
        }
        if self.chance(30) {
            event = event.subject(self.word());
        }
        if self.chance(30) {
            event = event.stream(self.word());
        }
        if self.chance(50) {
            let times =
                ["2026-02-03T04:05:06.700+02:00", "2023-11-14T22:13:20Z", "1969-02-03T04:05:06.123456789Z"];
            let text = self.pick(&times);
            event = event.time(EventTime::parse(text).expect("a time"));
        }
        if self.chance(50) {
            event = event.correlation(self.word()).causation(self.word());
        }
        if self.chance(30) {
            event = event.content_type(self.word());
        }
        let tags: Vec<Text> = (0..self.below(4)).map(|_| Text::from(self.word())).collect();
        event
            .tags(tags)
            .schema_version(u32::try_from(self.below(5)).unwrap_or(1))
            .hops(u16::try_from(self.below(65)).unwrap_or(0))
            .priority(self.pick(&[Priority::Low, Priority::Normal, Priority::Critical]))
    }

    fn rare_parts(&mut self, mut event: EnvelopeBuilder) -> EnvelopeBuilder {
        if self.chance(20) {
            let micros = self.around(1 << 50);
            event = event.expiry(Timestamp::from_micros(micros));
        }
        if self.chance(20) {
            event = event.user(self.word());
        }
        if self.chance(20) {
            event = event.tenant(self.word());
        }
        if self.chance(20) {
            event = event.trace_parent(self.word());
        }
        if self.chance(10) {
            event = event.trace_state(self.word());
        }
        if self.chance(20) {
            event = event.data_schema(self.word());
        }
        for _ in 0..self.below(3) {
            let value = match self.below(4) {
                0 => Attribute::Bool(self.chance(50)),
                1 => Attribute::Integer(self.around(1 << 40)),
                2 => Attribute::Text(Text::from(self.word())),
                _ => Attribute::Json(Text::from(format!("[{},  {:?}]", self.below(9), self.word()))),
            };
            event = event.attribute(self.word(), value);
        }
        event
    }
}
