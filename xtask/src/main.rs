//! Development tasks of Tidings, run as `cargo xtask TASK`.
//!
//! What it is: the one place that knows how this repository is set up, checked and measured. A person and the
//! automatic gate run the same tasks. What it is not: part of the platform; nothing here is published and no other
//! crate may import it.
//!
//! ```text
//! main ──▶ setup          install what is missing
//!      ──▶ tidy           the rules of the house, as checks over text
//!      ──▶ gate  ──▶ tidy every check in order, totals at the end
//!      ──▶ bench          run the jobs, write the report
//! ```
//! Start reading at [`run`].

mod bench;
mod gate;
mod process;
#[cfg(test)]
mod scratch;
mod setup;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::{Result, bail};

const HELP: &str = "\
Development tasks of Tidings.

Usage: cargo xtask TASK [OPTIONS]

Tasks:
  setup                       look for the tools needed, install what is missing (Debian, as root)
  test                        the gate: formatting, house rules, lints, tests, docs, demo
  test --only STEP[,STEP]     only these steps
  test --list                 name the steps
  tidy                        only the house rules (imports, file sizes, left-overs)
  bench [JOB...]              run benchmark jobs (all without a name), then write docs/benchmarks.md
  bench --list                name the jobs
  bench --report              only write docs/benchmarks.md again, from benches/results
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match run(&words) {
        Ok(Verdict::Good) => ExitCode::SUCCESS,
        Ok(Verdict::Bad) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// How a task ended, where it could be carried out at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// Everything asked for holds.
    Good,
    /// Something was found or failed; it has been printed.
    Bad,
}

impl Verdict {
    fn good_if(good: bool) -> Self {
        if good { Self::Good } else { Self::Bad }
    }
}

/// Finds the task named by the first word and hands it the others.
fn run(words: &[String]) -> Result<Verdict> {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some((task, rest)) = words.split_first() else {
        print!("{HELP}");
        return Ok(Verdict::Bad);
    };
    match (*task, rest) {
        ("setup", []) => setup::run(),
        ("tidy", []) => tidy::run(&workspace::root()?),
        ("test", []) => gate::run(&workspace::root()?, None),
        ("test", ["--list"]) => gate::list(),
        ("test", ["--only", names]) => gate::run(&workspace::root()?, Some(names)),
        ("bench", ["--list"]) => bench::list(&workspace::root()?),
        ("bench", ["--report"]) => bench::report_only(&workspace::root()?),
        ("bench", jobs) if !jobs.iter().any(|job| job.starts_with('-')) => {
            bench::run(&workspace::root()?, jobs)
        }
        ("help" | "--help" | "-h", _) => {
            print!("{HELP}");
            Ok(Verdict::Good)
        }
        _ => bail!("cannot make sense of `{}`; `cargo xtask help` names the tasks", words.join(" ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn an_unknown_task_or_option_is_refused() {
        for line in ["tset", "test --onyl fmt", "tidy now", "bench --all"] {
            let error = run(&words(line)).expect_err("nothing answers to this");
            assert!(error.to_string().contains(line), "{error}");
        }
    }

    #[test]
    fn without_a_task_the_help_is_shown_and_the_verdict_is_bad() {
        assert_eq!(run(&[]).expect("help is always there"), Verdict::Bad);
    }
}
