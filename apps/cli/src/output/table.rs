//! Tables for people: as wide as the terminal, and nothing in them that a terminal would obey.

use std::{borrow::Cow, fmt::Write as _, io, io::Write};

use comfy_table::{Cell, CellAlignment, ContentArrangement, LineStyle, Table, presets};

/// Where a payload is cut in a table, in characters.
const PAYLOAD_CHARS_MAX: usize = 120;

/// A column: its heading and how it is set.
#[derive(Debug, Clone, Copy)]
pub enum Column {
    /// Words.
    Text(&'static str),
    /// Numbers, set to the right.
    Number(&'static str),
}

/// A table that grows by rows.
#[derive(Debug)]
pub struct Rows {
    columns: Vec<Column>,
    table: Table,
}

impl Rows {
    /// An empty table.
    pub fn new(columns: impl Into<Vec<Column>>) -> Self {
        let columns = columns.into();
        let mut table = Table::new();
        let line = LineStyle::none().fill('─').junction('─');
        table.load_style(presets::NOTHING.header_separator(line));
        table.set_content_arrangement(ContentArrangement::Dynamic);
        let heading = columns.iter().map(|column| match column {
            Column::Text(name) => Cell::new(name),
            Column::Number(name) => Cell::new(name).set_alignment(CellAlignment::Right),
        });
        table.set_header(heading);
        for column in table.column_iter_mut() {
            column.set_padding((0, 1));
        }
        Self { columns, table }
    }

    /// Adds a row.
    pub fn push<S: AsRef<str>>(&mut self, cells: impl IntoIterator<Item = S>) {
        let cells = cells.into_iter().zip(&self.columns).map(|(text, column)| {
            let cell = Cell::new(visible(text.as_ref()));
            match column {
                Column::Text(_) => cell,
                Column::Number(_) => cell.set_alignment(CellAlignment::Right),
            }
        });
        self.table.add_row(cells.collect::<Vec<_>>());
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.table.row_count()
    }

    /// Prints the table, if it has rows.
    pub fn print(&self, out: &mut impl Write) -> io::Result<()> {
        if self.table.is_empty() {
            return Ok(());
        }
        for line in self.table.lines() {
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

/// Prints names and values, one a line.
pub fn facts<'a>(out: &mut impl Write, facts: impl IntoIterator<Item = (&'a str, String)>) -> io::Result<()> {
    let facts: Vec<_> = facts.into_iter().collect();
    let width = facts.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    for (name, value) in facts {
        writeln!(out, "{name:width$}  {}", visible(&value))?;
    }
    Ok(())
}

/// The text with control characters written out, so that no event can move the cursor or colour the screen.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_hidden) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_hidden(c) {
            // Writing to a string cannot fail.
            let _ = write!(shown, "{}", c.escape_default());
        } else {
            shown.push(c);
        }
    }
    Cow::Owned(shown)
}

/// Control characters, and those that turn the direction of writing.
fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The text, cut with `…` where it is too long for a table.
pub fn cut(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(PAYLOAD_CHARS_MAX) {
        None => Cow::Borrowed(text),
        Some((at, _)) => Cow::Owned(format!("{}…", text.get(..at).unwrap_or(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_written_out() {
        assert_eq!(visible("plain é"), "plain é");
        assert_eq!(visible("a\u{1b}[2J\nb"), "a\\u{1b}[2J\\nb");
        assert_eq!(visible("a\u{202e}b"), "a\\u{202e}b");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("short"), "short");
        let long = "é".repeat(PAYLOAD_CHARS_MAX + 1);
        assert_eq!(cut(&long), format!("{}…", "é".repeat(PAYLOAD_CHARS_MAX)));
    }
}
