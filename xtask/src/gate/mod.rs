//! The gate: every check in order, everything reported, one line at the end.
//!
//! A person and the automatic gate run this same task. A failing step does not keep the later ones from running. What
//! could not be checked here is printed as `SKIPPED: what — why` and counted as such. The last line is always
//! `N passed, N failed, N skipped`; the exit status is bad when anything failed.
//!
//! ```text
//! run ──▶ steps ──▶ libtest, skips   what cargo test and the tests themselves said
//!               ──▶ demo             what the finished binary does
//!     ──▶ report                     adds it all up
//! ```

mod demo;
mod libtest;
mod report;
mod skips;
mod steps;

use std::{
    io::{self, Write},
    path::Path,
    time::Instant,
};

use anyhow::{Result, bail};

use self::{
    report::Report,
    steps::{STEPS, Step},
};
use crate::{Verdict, setup};

/// Prints the names of the steps and what each does.
pub fn list() -> Result<Verdict> {
    for step in STEPS {
        println!("{:<8} {}", step.name, step.what);
    }
    Ok(Verdict::Good)
}

/// Runs all steps, or those named in `only`, separated by commas.
pub fn run(root: &Path, only: Option<&str>) -> Result<Verdict> {
    let steps = choose(&STEPS, only)?;
    for line in setup::missing_for_gate().into_iter().chain(setup::disk_too_small(root)) {
        println!("{line}");
    }
    let total = run_steps(&steps, root, &mut io::stdout())?;
    Ok(Verdict::good_if(total.failures.is_empty()))
}

fn choose(steps: &[Step], only: Option<&str>) -> Result<Vec<Step>> {
    let Some(names) = only else { return Ok(steps.to_vec()) };
    let names: Vec<&str> = names.split(',').map(str::trim).collect();
    if let Some(name) = names.iter().find(|name| !steps.iter().any(|step| step.name == **name)) {
        let known: Vec<&str> = steps.iter().map(|step| step.name).collect();
        bail!("no step is called `{name}`; there are: {}", known.join(", "));
    }
    Ok(steps.iter().filter(|step| names.contains(&step.name)).copied().collect())
}

/// Runs the steps one after another and writes progress, skips, failures and the closing line to `out`.
fn run_steps(steps: &[Step], root: &Path, out: &mut impl Write) -> Result<Report> {
    let mut total = Report::default();
    let started = Instant::now();
    for (index, step) in steps.iter().enumerate() {
        let place = format!("[{}/{}] {}", index + 1, steps.len(), step.name);
        writeln!(out, "\n{place}: {}", step.what)?;
        out.flush()?;
        let step_started = Instant::now();
        let report = (step.run)(root).unwrap_or_else(|error| Report::failed(format!("{error:#}")));
        let word = if report.failures.is_empty() { "ok" } else { "FAILED" };
        writeln!(out, "{place}: {word} in {:.1} s", step_started.elapsed().as_secs_f64())?;
        total.add(step.name, report);
    }
    writeln!(out, "\n{:.1} s in all", started.elapsed().as_secs_f64())?;
    total.write(out)?;
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::{report::Skip, *};

    fn good(_: &Path) -> Result<Report> {
        Ok(Report::passed(3))
    }

    fn bad(_: &Path) -> Result<Report> {
        Ok(Report { passed: 1, failures: vec!["order::holds".to_owned()], skips: vec![] })
    }

    fn broken(_: &Path) -> Result<Report> {
        bail!("no such tool")
    }

    fn skipping(_: &Path) -> Result<Report> {
        let skip = Skip { what: "loans".to_owned(), why: "no log here".to_owned() };
        Ok(Report { passed: 0, failures: vec![], skips: vec![skip] })
    }

    const STEPS: [Step; 4] = [
        Step { name: "bad", what: "fails", run: bad },
        Step { name: "broken", what: "cannot run", run: broken },
        Step { name: "skipping", what: "skips", run: skipping },
        Step { name: "good", what: "passes", run: good },
    ];

    fn output(steps: &[Step]) -> (Report, String) {
        let mut out = Vec::new();
        let total = run_steps(steps, Path::new("."), &mut out).expect("a buffer takes everything");
        (total, String::from_utf8(out).expect("text"))
    }

    #[test]
    fn later_steps_run_after_a_failed_one_and_everything_is_added_up() {
        let (total, text) = output(&STEPS);
        assert_eq!(text.lines().last(), Some("4 passed, 2 failed, 1 skipped"));
        assert_eq!(total.failures, ["bad: order::holds", "broken: no such tool"]);
        assert!(text.contains("[4/4] good: ok in"), "{text}");
        assert!(text.contains("[1/4] bad: FAILED in"), "{text}");
    }

    #[test]
    fn a_skip_is_said_in_a_line_of_its_own_and_a_failure_by_name() {
        let (_, text) = output(&STEPS);
        assert!(text.lines().any(|line| line == "SKIPPED: loans — no log here"), "{text}");
        assert!(text.lines().any(|line| line == "FAILED: bad: order::holds"), "{text}");
    }

    #[test]
    fn only_the_named_steps_run_in_the_order_of_the_gate() {
        let chosen = choose(&STEPS, Some("good, bad")).expect("both are there");
        let names: Vec<&str> = chosen.iter().map(|step| step.name).collect();
        assert_eq!(names, ["bad", "good"]);
        let error = choose(&STEPS, Some("goood")).expect_err("no such step").to_string();
        assert!(error.contains("`goood`") && error.contains("bad, broken, skipping, good"), "{error}");
    }
}
