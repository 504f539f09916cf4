//! What is told: a table for people, lines for the report.

use std::{collections::BTreeMap, fs::OpenOptions, io::Write as _, path::Path};

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
use serde_json::{Map, Value, json};

use super::{Summary, Unit};

/// What came of one peer.
pub(super) struct Row {
    pub(super) peer: String,
    pub(super) figures: Summary,
    pub(super) ratio: Option<Summary>,
    /// Each goal and what became of it.
    pub(super) verdicts: Vec<(String, &'static str)>,
    pub(super) note: Option<String>,
    pub(super) guarantees: BTreeMap<String, String>,
}

impl Row {
    fn goal(&self) -> String {
        self.verdicts.iter().map(|(goal, _)| goal.as_str()).collect::<Vec<_>>().join("; ")
    }

    /// One verdict as it is; several, each with its goal.
    fn verdict(&self) -> String {
        match self.verdicts.as_slice() {
            [(_, verdict)] => (*verdict).to_owned(),
            several => several.iter().map(|(goal, v)| format!("{goal}: {v}")).collect::<Vec<_>>().join("; "),
        }
    }
}

/// Prints the table.
pub(super) fn print(job: &str, subject: &str, unit: Unit, rows: &[Row], thrown: usize) {
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(["peer", "median", "min – max", "ratio", "± half of iqr", "goal", "verdict"]);
    for row in rows {
        let figures = &row.figures;
        let ratio = row.ratio.map_or_else(String::new, |ratio| format!("{:.2}", ratio.median));
        let half = row.ratio.map_or_else(String::new, |ratio| format!("{:.1} %", ratio.spread() * 50.0));
        table.add_row([
            row.peer.clone(),
            shown(figures.median),
            format!("{} – {}", shown(figures.min), shown(figures.max)),
            ratio,
            half,
            row.goal(),
            row.verdict(),
        ]);
    }
    for column in 1..=4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    println!("\n{job}: {subject} ({}, {})\n{table}", unit.name(), unit.direction());
    for row in rows {
        if let Some(note) = &row.note {
            println!("  {}: {note}", row.peer);
        }
    }
    if thrown > 0 {
        println!("  {thrown} rounds thrown away because the probe moved");
    }
}

/// Appends a line for each row.
pub(super) fn append(file: &Path, job: &str, subject: &str, unit: Unit, rows: &[Row]) -> Result<()> {
    let mut text = String::new();
    for row in rows {
        text.push_str(&line(job, subject, unit, row).to_string());
        text.push('\n');
    }
    let opened = OpenOptions::new().create(true).append(true).open(file);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot append to {}", file.display()))
}

fn line(job: &str, subject: &str, unit: Unit, row: &Row) -> Value {
    let mut line = Map::new();
    let mut say = |name: &str, value: Value| line.insert(name.to_owned(), value);
    say("job", json!(job));
    say("subject", json!(subject));
    say("peer", json!(row.peer));
    say("unit", json!(unit.name()));
    say("min", json!(row.figures.min));
    say("median", json!(row.figures.median));
    say("max", json!(row.figures.max));
    if let Some(ratio) = &row.ratio {
        say("ratio", json!(ratio.median));
        say("ratio_iqr", json!(ratio.range()));
    }
    if !row.verdicts.is_empty() {
        say("goal", json!(row.goal()));
        say("verdict", json!(row.verdict()));
    }
    if let Some(note) = &row.note {
        say("note", json!(note));
    }
    if !row.guarantees.is_empty() {
        say("guarantees", json!(row.guarantees));
    }
    Value::Object(line)
}

/// A figure with three digits that matter, thousands apart.
pub(super) fn shown(figure: f64) -> String {
    if figure >= 1000.0 {
        let digits = format!("{figure:.0}");
        let mut text = String::new();
        for (at, digit) in digits.chars().enumerate() {
            if at > 0 && (digits.len() - at).is_multiple_of(3) {
                text.push(',');
            }
            text.push(digit);
        }
        return text;
    }
    let decimals = if figure >= 100.0 {
        0
    } else if figure >= 10.0 {
        1
    } else {
        2
    };
    format!("{figure:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_the_digits_that_matter() {
        for (figure, text) in
            [(2.345, "2.35"), (23.45, "23.4"), (234.5, "234"), (1234.5, "1,234"), (7_400_000.0, "7,400,000")]
        {
            assert_eq!(shown(figure), text);
        }
    }
}
