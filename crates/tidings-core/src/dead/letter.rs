//! The record of a delivery that was given up.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Attempt, Decision, ERROR_BYTES_MAX, Reason, keep_attempt};
use crate::{
    Dead, Envelope, Failure, Handled, OrFail, PayloadForm, Position, Text, Then, Timestamp, cloudevents, id,
    position_text,
};

/// How often the payload of one dead letter may be edited: each edit keeps what was there before.
pub const EDITS_MAX: usize = 10;

/// The most bytes that edits of one dead letter keep: 4 MiB.
const EDIT_BYTES_MAX: usize = 4 << 20;

/// A delivery that was given up, kept until somebody replays or discards it. The same wherever its handler ran.
///
/// Its `Debug` and its listing never show a payload; error texts do not show fields that are redacted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its id among the dead letters of its handler; they sort in the order in which they occurred.
    pub entry: Text,
    /// The handler that failed (a durable subscription's name, or `module/function`): where a replay goes, and nowhere
    /// else.
    pub handler: Text,
    /// Where that handler runs.
    pub place: Ran,
    /// Where it was sent: the destination its policy names, or the handler's name.
    pub destination: Text,
    /// Where the event is in the log; 0 when the log does not have it.
    pub position: Position,
    /// The event's id.
    pub id: Text,
    /// The event's source: its origin.
    pub source: Text,
    /// The event's name.
    pub name: Text,
    /// The event's key. In a durable subscription it is parked while this is here.
    pub key: Option<Text>,
    /// The event's stream.
    pub stream: Text,
    /// Why it was given up.
    pub reason: Reason,
    /// What went wrong last.
    pub error: String,
    /// How often the handler was called, over all replays.
    pub attempts: u32,
    /// The failed calls with their times: the first and the newest, at most [`ATTEMPTS_KEPT`](super::ATTEMPTS_KEPT).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Attempt>,
    /// When it was first tried.
    pub first_at: Timestamp,
    /// When it was given up, the last time.
    pub last_at: Timestamp,
    /// The chain of events it belongs to.
    pub correlation: Option<Text>,
    /// The event that led to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub causation: Option<Text>,
    /// The W3C trace it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_parent: Option<Text>,
    /// For a loop: the names of the events that led to it, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// How often it was replayed and failed again.
    #[serde(default)]
    pub replays: u32,
    /// When it is replayed, if a rule or a person has said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<Timestamp>,
    /// Until when, at the latest, it is in the hands of a process that replays it; not in durable subscriptions, where the
    /// row of its key says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed: Option<Timestamp>,
    /// The event as one CloudEvent in JSON, where the log does not have it as it is to be handled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<Hidden>,
    /// Who has edited the payload, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<Edit>,
}

/// Where a handler runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ran {
    /// In a durable subscription.
    Durable,
    /// On worker threads, behind a queue.
    Buffered,
    /// On the bus.
    Bus,
}

/// A text that may hold what nobody may see: its `Debug` shows its length only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hidden(pub Text);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{} bytes]", self.0.len())
    }
}

/// A change of a dead letter's payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Edit {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub by: Text,
    /// The payload before: JSON, or the text of another form.
    pub before: Hidden,
}

impl DeadLetter {
    /// The id of the entry for an event of the log.
    pub fn document_id(position: Position) -> Text {
        Text::from(position_text(position))
    }

    /// The event, if the record has it: else the log has, at [`position`](Self::position).
    ///
    /// # Errors
    /// When what is kept cannot be read.
    pub fn envelope(&self) -> Handled<Option<Envelope>> {
        let read = |event: &Hidden| cloudevents::read(event.0.as_bytes()).map(|incoming| incoming.envelope);
        self.event.as_ref().map(read).transpose().permanent()
    }

    /// It after `decision`, the `at`-th of those it is about; `event` is the event as it would be handled now. `None` is
    /// that it goes.
    ///
    /// # Errors
    /// Why that cannot be: it is being replayed, or see [`edited`](Self::edited).
    pub fn decided(
        &self,
        decision: &Decision,
        at: usize,
        event: Option<&Envelope>,
        now: Timestamp,
    ) -> Handled<Option<Self>> {
        if self.claimed.is_some_and(|until| until > now) {
            return Err(Failure::permanent(format!("the dead letter {} is being replayed", self.entry)));
        }
        match decision {
            Decision::Discard => Ok(None),
            Decision::Replay { from, every } => {
                let nth = u32::try_from(at).unwrap_or(u32::MAX);
                let due = Some(from.after(every.saturating_mul(nth)));
                Ok(Some(Self { due, claimed: None, ..self.clone() }))
            }
            Decision::Edit { payload, by } => {
                let event = event.ok_or_else(|| Failure::permanent("its event is not there any more"))?;
                self.edited(event, payload.as_bytes(), by.clone(), now).map(Some)
            }
        }
    }

    /// Without any payload, as it may be listed.
    #[must_use]
    pub fn listed(mut self) -> Self {
        self.event = None;
        let hidden = Hidden(Text::from("[redacted]"));
        self.edits.iter_mut().for_each(|edit| edit.before = hidden.clone());
        self
    }

    /// Replaces the payload of `event`, the event as it would be handled now, by `payload`, and notes who did it.
    ///
    /// # Errors
    /// A payload that is no JSON, and more edits than are kept.
    pub fn edited(
        &self,
        event: &Envelope,
        payload: &[u8],
        by: impl Into<Text>,
        at: Timestamp,
    ) -> Handled<Self> {
        // The text of a parser's error may quote what it has read; its place does not.
        if let Err(error) = serde_json::from_slice::<serde::de::IgnoredAny>(payload) {
            let (line, column) = (error.line(), error.column());
            return Err(Failure::permanent(format!("the payload is no JSON: line {line}, column {column}")));
        }
        let before = String::from_utf8_lossy(event.payload().permanent()?).into_owned();
        let kept: usize = self.edits.iter().map(|edit| edit.before.0.len()).sum();
        if self.edits.len() >= EDITS_MAX || kept + before.len() > EDIT_BYTES_MAX {
            return Err(Failure::permanent(format!(
                "it was edited too often: at most {EDITS_MAX} edits and {EDIT_BYTES_MAX} bytes are kept"
            )));
        }
        let edited = event.edit().json(payload.to_vec()).finish().permanent()?;
        let mut letter = Self { event: Some(written(&edited)?), ..self.clone() };
        letter.edits.push(Edit { at, by: by.into(), before: Hidden(before.into()) });
        Ok(letter)
    }
}

fn written(event: &Envelope) -> Handled<Hidden> {
    let json = cloudevents::write(event, None).permanent()?;
    Ok(Hidden(Text::from(String::from_utf8(json).permanent()?)))
}

/// Which dead letters; what is given must hold, all of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LetterFilter {
    /// Those of this handler.
    pub handler: Option<Text>,
    /// Those sent there.
    pub destination: Option<Text>,
    /// Those given up for this reason.
    pub reason: Option<Reason>,
    /// Those of this event.
    pub name: Option<Text>,
    /// Those with this key.
    pub key: Option<Text>,
    /// Those given up, the last time, at or after this.
    pub since: Option<Timestamp>,
    /// Those given up, the last time, before this.
    pub until: Option<Timestamp>,
}

impl LetterFilter {
    /// Those of one handler.
    pub fn handler(name: impl Into<Text>) -> Self {
        Self { handler: Some(name.into()), ..Self::default() }
    }

    /// The fields an index is kept on, with the values asked for.
    pub fn fields(&self) -> Vec<(&'static str, Text)> {
        let reason = self.reason.map(|reason| Text::from(reason.as_str()));
        let all = [
            ("key", self.key.clone()),
            ("name", self.name.clone()),
            ("reason", reason),
            ("destination", self.destination.clone()),
        ];
        all.into_iter().filter_map(|(field, value)| Some((field, value?))).collect()
    }

    /// Whether it asks for a time.
    pub fn asks_time(&self) -> bool {
        self.since.is_some() || self.until.is_some()
    }

    /// Whether `letter` is wanted.
    pub fn matches(&self, letter: &DeadLetter) -> bool {
        self.handler.as_ref().is_none_or(|handler| *handler == letter.handler)
            && self.destination.as_ref().is_none_or(|to| *to == letter.destination)
            && self.reason.is_none_or(|reason| reason == letter.reason)
            && self.name.as_ref().is_none_or(|name| *name == letter.name)
            && self.key.as_ref().is_none_or(|key| letter.key.as_ref() == Some(key))
            && self.since.is_none_or(|since| since <= letter.last_at)
            && self.until.is_none_or(|until| letter.last_at < until)
    }
}

/// A delivery that is given up outside of a durable subscription.
#[derive(Debug, Clone)]
pub struct GivenUp {
    /// The event.
    pub envelope: Envelope,
    /// The handler that failed: where a replay goes, and nowhere else.
    pub handler: Text,
    /// Where it runs.
    pub place: Ran,
    /// Why.
    pub reason: Reason,
    /// How often the handler was called, over all replays.
    pub calls: u32,
    /// When it was first tried, this time.
    pub first_at: Timestamp,
    /// When it was given up.
    pub at: Timestamp,
    /// The failed calls.
    pub attempts: Vec<Attempt>,
    /// What its policy says of dead letters.
    pub dead: Dead,
    /// The dead letter that was replayed, if it was.
    pub before: Option<Arc<DeadLetter>>,
}

impl GivenUp {
    /// The record of it, or `None` where a rule says to throw it away. A replayed letter keeps its entry. `hidden` are the
    /// redacted fields of the event.
    ///
    /// # Errors
    /// An event that cannot be written.
    pub fn letter(self, hidden: &[&str]) -> Handled<Option<DeadLetter>> {
        let (event, before) = (&self.envelope, self.before.as_deref());
        let replays = before.map_or(0, |letter| letter.replays + 1);
        let due = match self.dead.then(self.reason) {
            Then::Discard => return Ok(None),
            Then::Replay { after, times } if replays < times => Some(self.at.after(after)),
            Then::Replay { .. } | Then::Hold => None,
        };
        let mut history = before.map(|letter| letter.history.clone()).unwrap_or_default();
        for Attempt { at, error } in self.attempts {
            keep_attempt(&mut history, Attempt { at, error: scrubbed(event, hidden, &error) });
        }
        let handler = self.handler;
        Ok(Some(DeadLetter {
            entry: before.map_or_else(id::next, |letter| letter.entry.clone()),
            destination: self.dead.to.unwrap_or_else(|| handler.clone()),
            handler,
            place: self.place,
            position: 0,
            id: event.id().clone(),
            source: event.source().clone(),
            name: event.name().clone(),
            key: event.key().cloned(),
            stream: Text::from(&*event.stream()),
            reason: self.reason,
            error: history.last().map_or_else(|| self.reason.to_string(), |last| last.error.clone()),
            attempts: self.calls,
            history,
            first_at: before.map_or(self.first_at, |letter| letter.first_at),
            last_at: self.at,
            correlation: event.correlation().cloned(),
            causation: event.causation().cloned(),
            trace_parent: event.trace_parent().cloned(),
            path: Vec::new(),
            replays,
            due,
            claimed: None,
            event: Some(written(event)?),
            edits: before.map(|letter| letter.edits.clone()).unwrap_or_default(),
        }))
    }
}

/// `text` without the values of the fields `hidden` of the event's payload, at whatever depth, and no longer than is
/// kept of an error.
pub fn scrubbed(event: &Envelope, hidden: &[&str], text: &str) -> String {
    let mut shown = text.to_owned();
    if !hidden.is_empty() && event.form() == PayloadForm::Json {
        let payload = event.payload().ok().and_then(|json| serde_json::from_slice::<Value>(json).ok());
        let mut values = Vec::new();
        payload.iter().for_each(|payload| collect(payload, hidden, false, &mut values));
        // A longer one may hold a shorter one.
        values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        for value in values {
            shown = shown.replace(&value, "[redacted]");
        }
    }
    shown.truncate(shown.floor_char_boundary(ERROR_BYTES_MAX));
    shown
}

fn collect(value: &Value, hidden: &[&str], inside: bool, values: &mut Vec<String>) {
    match value {
        Value::Object(members) => members
            .iter()
            .for_each(|(name, value)| collect(value, hidden, inside || hidden.contains(&&**name), values)),
        Value::Array(items) => items.iter().for_each(|item| collect(item, hidden, inside, values)),
        Value::String(text) if inside && !text.is_empty() => {
            values.push(text.clone());
            let escaped = text.escape_debug().to_string();
            if escaped != *text {
                values.push(escaped);
            }
        }
        Value::Number(number) if inside => values.push(number.to_string()),
        _ => {}
    }
}
