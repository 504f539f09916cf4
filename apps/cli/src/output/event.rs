//! Events as people and programs see them.

use std::io::{self, Write};

use tidings::{
    Attribute, PayloadForm, Timestamp,
    cloudevents::{self, Place},
    store::Recorded,
};

use super::{
    redact::Redactions,
    table::{Column, Rows, cut},
};

/// Rows of one table; a longer list becomes several, so that it need not be held whole.
const ROWS_MAX: usize = 500;

/// Which time of an event counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum By {
    /// When the store recorded it.
    #[default]
    Recorded,
    /// When it happened, by its producer; an event that does not say counts by when it was recorded.
    Event,
}

impl By {
    /// That time of `event`.
    pub fn of(self, event: &Recorded) -> Timestamp {
        match (self, event.envelope.time()) {
            (Self::Event, Some(time)) => time.at(),
            _ => event.recorded,
        }
    }

    fn heading(self) -> &'static str {
        match self {
            Self::Recorded => "recorded",
            Self::Event => "happened",
        }
    }
}

/// Prints events as a table, or one CloudEvent a line.
pub struct Printer<W> {
    out: W,
    redactions: Redactions,
    json: bool,
    by: By,
    data: bool,
    rows: Rows,
    /// Events that could not be written as CloudEvents.
    unwritable: u64,
}

impl<W: Write> Printer<W> {
    /// A printer; `data` says whether tables show payloads.
    pub fn new(out: W, redactions: Redactions, json: bool, by: By, data: bool) -> Self {
        Self { out, redactions, json, by, data, rows: table(by, data), unwritable: 0 }
    }

    /// Prints an event, or keeps it for the table.
    pub fn event(&mut self, event: &Recorded) -> io::Result<()> {
        let event = self.redactions.shown(event);
        if self.json {
            return self.line(&event);
        }
        self.rows.push(cells(&event, self.by, self.data));
        if self.rows.len() == ROWS_MAX { self.table() } else { Ok(()) }
    }

    /// Prints an event at once, on one line.
    pub fn live(&mut self, event: &Recorded) -> io::Result<()> {
        let event = self.redactions.shown(event);
        if self.json {
            self.line(&event)?;
        } else {
            let cells =
                cells(&event, self.by, self.data).map(|cell| super::table::visible(&cell).into_owned());
            writeln!(self.out, "{}", cells.join("  ").trim_end())?;
        }
        self.out.flush()
    }

    /// Prints what is left of the table, and says whether everything could be written.
    pub fn finish(mut self) -> io::Result<(W, u64)> {
        self.table()?;
        self.out.flush()?;
        Ok((self.out, self.unwritable))
    }

    fn table(&mut self) -> io::Result<()> {
        let rows = std::mem::replace(&mut self.rows, table(self.by, self.data));
        rows.print(&mut self.out)
    }

    fn line(&mut self, event: &Recorded) -> io::Result<()> {
        match cloudevents::write(&event.envelope, Some(&place(event))) {
            Ok(json) => {
                self.out.write_all(&json)?;
                self.out.write_all(b"\n")
            }
            Err(error) => {
                self.unwritable += 1;
                super::remark(format_args!("error: the event at position {}: {error}", event.position));
                Ok(())
            }
        }
    }
}

impl Redactions {
    /// The recorded event as it may be shown.
    pub fn shown(&self, event: &Recorded) -> Recorded {
        Recorded { envelope: self.apply(event.envelope.clone()), ..event.clone() }
    }
}

/// Where an event is recorded, as CloudEvents carry it.
pub fn place(event: &Recorded) -> Place {
    Place {
        stream: event.stream.clone(),
        position: event.position,
        version: event.version,
        recorded: event.recorded,
    }
}

fn table(by: By, data: bool) -> Rows {
    let mut columns = vec![
        Column::Number("position"),
        Column::Text(by.heading()),
        Column::Text("event"),
        Column::Text("stream"),
        Column::Number("version"),
        Column::Text("id"),
    ];
    if data {
        columns.push(Column::Text("data"));
    }
    Rows::new(columns)
}

fn cells(event: &Recorded, by: By, data: bool) -> [String; 7] {
    [
        event.position.to_string(),
        by.of(event).to_string(),
        event.envelope.name().to_string(),
        event.stream.to_string(),
        event.version.to_string(),
        event.envelope.id().to_string(),
        if data { cut(&payload(event)).into_owned() } else { String::new() },
    ]
}

/// The payload as text.
pub fn payload(event: &Recorded) -> String {
    let Ok(bytes) = event.envelope.payload() else { return "(cannot be written)".into() };
    match (event.envelope.form(), std::str::from_utf8(bytes)) {
        (PayloadForm::Absent, _) => String::new(),
        (PayloadForm::Json | PayloadForm::Text, Ok(text)) => text.to_owned(),
        _ => format!("({} of binary data)", super::number::bytes(bytes.len() as u64)),
    }
}

/// Everything about an event, by name, for one that is looked at alone.
pub fn facts(event: &Recorded) -> Vec<(&str, String)> {
    let envelope = &event.envelope;
    let text = |text: Option<&tidings::Text>| text.map(ToString::to_string);
    let optional = [
        ("happened", envelope.time().map(ToString::to_string)),
        ("subject", envelope.subject().map(str::to_owned)),
        ("key", text(envelope.key())),
        ("tags", (!envelope.tags().is_empty()).then(|| envelope.tags().join(", "))),
        ("correlation", text(envelope.correlation())),
        ("causation", text(envelope.causation())),
        ("hops", (envelope.hops() > 0).then(|| envelope.hops().to_string())),
        ("user", text(envelope.user())),
        ("tenant", text(envelope.tenant())),
        ("expires", envelope.expiry().map(|at| at.to_string())),
        ("traceparent", text(envelope.trace_parent())),
        ("content type", text(envelope.content_type())),
        ("data schema", text(envelope.data_schema())),
    ];
    let mut facts = vec![
        ("event", envelope.name().to_string()),
        ("id", envelope.id().to_string()),
        ("source", envelope.source().to_string()),
        ("position", super::number::count(event.position)),
        ("stream", format!("{}, version {}", event.stream, super::number::count(event.version))),
        ("recorded", event.recorded.to_string()),
        ("schema version", envelope.schema_version().to_string()),
    ];
    facts.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    facts.extend(envelope.attributes().map(|(name, value)| {
        let value = match value {
            Attribute::Bool(value) => value.to_string(),
            Attribute::Integer(value) => value.to_string(),
            Attribute::Text(value) | Attribute::Json(value) => value.to_string(),
        };
        (&**name, value)
    }));
    facts.push(("data", payload(event)));
    facts
}
