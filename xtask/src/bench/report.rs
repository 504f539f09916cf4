//! The report: a pure function from results to a page.
//!
//! One section a job, one table a subject, in the order the jobs wrote them; what a peer promises stands beside its
//! figure, because a figure without its promise compares nothing.

use std::fmt::Write as _;

use serde_json::Value;

use super::{
    figures::shown,
    results::{Line, Results},
};

const INTRODUCTION: &str = "\
# Benchmarks

Written by `cargo xtask bench` from the raw lines in `benches/results`; not edited by hand. Each figure is the median of
its rounds, with the smallest and the largest beside it. The ratio compares a row with the reference of its table, round
by round in one run; absolute figures of two machines, or of two runs, do not compare.
";

/// What a peer can promise, in the order of the columns.
const GUARANTEES: [&str; 3] = ["durable", "ids", "order"];

/// The page that tells these results.
pub fn render(jobs: &[Results]) -> String {
    let mut page = INTRODUCTION.to_owned();
    if jobs.is_empty() {
        page.push_str("\nNothing has been measured yet.\n");
    }
    let common = common_machine(jobs);
    if let Some(machine) = &common {
        let _ = write!(page, "\nMachine: {machine}.\n");
    }
    for job in jobs {
        let _ = write!(page, "\n## {}\n", job.job);
        if common.is_none() {
            let _ = write!(page, "\nMachine: {}.\n", machine_of(job));
        }
        for subject in subjects(&job.lines) {
            let lines: Vec<&Line> = job.lines.iter().filter(|line| line.subject == subject).collect();
            table(&mut page, subject, &lines);
        }
    }
    page
}

/// The machine of all jobs, if it is one.
fn common_machine(jobs: &[Results]) -> Option<String> {
    let first = machine_of(jobs.first()?);
    jobs.iter().all(|job| machine_of(job) == first).then_some(first)
}

fn machine_of(job: &Results) -> String {
    job.machine.as_ref().map_or_else(|| "not recorded".to_owned(), super::machine::Machine::described)
}

/// The subjects in the order of their first line.
fn subjects(lines: &[Line]) -> Vec<&str> {
    let mut subjects: Vec<&str> = Vec::new();
    for line in lines {
        if !subjects.contains(&line.subject.as_str()) {
            subjects.push(&line.subject);
        }
    }
    subjects
}

fn table(page: &mut String, subject: &str, lines: &[&Line]) {
    let promised: Vec<&str> = GUARANTEES
        .into_iter()
        .filter(|name| lines.iter().any(|line| line.guarantees.get(name).is_some()))
        .collect();
    let mut header = vec!["peer", "median", "min – max", "unit", "ratio", "goal", "verdict"];
    header.extend(&promised);
    let _ = write!(page, "\n### {}\n\n", cell(subject));
    row(page, header.iter().map(|name| (*name).to_owned()));
    row(page, header.iter().map(|name| if NUMBERS.contains(name) { "---:" } else { "---" }.to_owned()));
    for line in lines {
        let mut cells = vec![
            cell(&line.peer),
            shown(line.median),
            format!("{} – {}", shown(line.min), shown(line.max)),
            cell(&line.unit),
            text(&line.ratio),
            text(&line.goal),
            text(&line.verdict),
        ];
        cells.extend(promised.iter().map(|name| line.guarantees.get(name).map_or_else(String::new, text)));
        row(page, cells.into_iter());
    }
    let noted: Vec<&&Line> = lines.iter().filter(|line| !text(&line.note).is_empty()).collect();
    if !noted.is_empty() {
        page.push('\n');
    }
    for line in noted {
        let _ = writeln!(page, "- {}: {}", cell(&line.peer), text(&line.note));
    }
}

/// The columns that hold numbers.
const NUMBERS: [&str; 3] = ["median", "min – max", "ratio"];

fn row(page: &mut String, cells: impl Iterator<Item = String>) {
    let _ = writeln!(page, "| {} |", cells.collect::<Vec<_>>().join(" | "));
}

/// An optional field in words; a missing one is empty.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::Number(number) => number.as_f64().map_or_else(|| number.to_string(), shown),
        Value::String(words) => cell(words),
        other => cell(&other.to_string()),
    }
}

/// Words that cannot break a table.
fn cell(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

#[cfg(test)]
mod tests;
