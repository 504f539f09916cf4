//! What a job wrote: one JSON object a line.
//!
//! ```text
//! {"machine":{"cores":2,"cpu":"…","kernel":"…","rustc":"…"}}            put in front by xtask
//! {"job":"append","subject":"16 appenders","peer":"tidings-sqlite","unit":"events/s",
//!  "min":1,"median":2,"max":3,"ratio":1.7,"goal":"≥ 1.6","verdict":"met","note":"…",
//!  "guarantees":{"durable":"yes","ids":"no","order":"per key"}}
//! ```
//! `ratio`, `goal`, `verdict`, `note` and `guarantees` may be missing; what is not named here is passed over, so that
//! a job can say more than the report shows.

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::machine::Machine;

/// All lines of one job.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// The job's name.
    pub job: String,
    /// Where they were taken, if that was written down.
    pub machine: Option<Machine>,
    /// The lines, in the job's order.
    pub lines: Vec<Line>,
}

/// One peer's figure for one subject.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Line {
    /// The job that took it.
    pub job: String,
    /// What was measured.
    pub subject: String,
    /// Whose code ran.
    pub peer: String,
    /// What the figures count.
    pub unit: String,
    /// The smallest round.
    pub min: f64,
    /// The middle round.
    pub median: f64,
    /// The largest round.
    pub max: f64,
    /// The figure against the job's reference.
    #[serde(default)]
    pub ratio: Value,
    /// What the ratio was to be.
    #[serde(default)]
    pub goal: Value,
    /// Whether it was.
    #[serde(default)]
    pub verdict: Value,
    /// What a reader has to know.
    #[serde(default)]
    pub note: Value,
    /// What the peer promises.
    #[serde(default)]
    pub guarantees: Value,
}

impl Results {
    /// Reads the lines of a job, with or without a machine in front.
    pub fn parse(job: &str, text: &str) -> Result<Self> {
        let mut results = Self { job: job.to_owned(), machine: None, lines: Vec::new() };
        for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let number = index + 1;
            let mut value: Value =
                serde_json::from_str(line).with_context(|| format!("line {number} is not JSON"))?;
            if let Some(machine) = value.get_mut("machine").filter(|_| index == 0) {
                let machine = machine.take();
                results.machine = Some(serde_json::from_value(machine).context("line 1 is no machine")?);
                continue;
            }
            let line: Line =
                serde_json::from_value(value).with_context(|| format!("line {number} is no result"))?;
            ensure!(line.job == job, "line {number} is of the job `{}`, not `{job}`", line.job);
            results.lines.push(line);
        }
        Ok(results)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str =
        r#"{"job":"emit","subject":"one","peer":"p","unit":"ns","min":1,"median":2.5,"max":3}"#;

    #[test]
    fn optional_fields_may_be_missing_and_unknown_ones_are_passed_over() {
        let text =
            format!("{LINE}\n\n{}\n", LINE.replace("\"unit\"", "\"rounds\":[1,2],\"ratio\":1.5,\"unit\""));
        let results = Results::parse("emit", &text).expect("understood");
        assert_eq!(results.machine, None);
        let ratios: Vec<&Value> = results.lines.iter().map(|line| &line.ratio).collect();
        assert_eq!(ratios, [&Value::Null, &Value::from(1.5)]);
        assert_eq!(results.lines.first().map(|line| line.median), Some(2.5));
    }

    #[test]
    fn a_machine_written_in_front_is_read_back() {
        let machine = Machine { cores: 2, cpu: "c".into(), kernel: "k".into(), rustc: "r".into() };
        let results = Results::parse("emit", &format!("{}\n{LINE}\n", machine.line())).expect("understood");
        assert_eq!((results.machine, results.lines.len()), (Some(machine), 1));
    }

    #[test]
    fn a_line_that_is_no_result_is_refused_with_its_number() {
        let cases = [
            ("nonsense".to_owned(), "line 2 is not JSON"),
            (LINE.replace("\"median\":2.5,", ""), "line 2 is no result"),
            (LINE.replace("emit", "append"), "line 2 is of the job `append`, not `emit`"),
        ];
        for (line, part) in cases {
            let error =
                Results::parse("emit", &format!("{LINE}\n{line}\n")).expect_err("refused").to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
