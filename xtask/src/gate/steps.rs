//! The steps of the gate, cheap ones first.

use std::path::Path;

use anyhow::Result;

use super::{
    demo,
    libtest::Reader,
    report::Report,
    skips::{self, Skips},
};
use crate::{Verdict, process, tidy, workspace::Workspace};

/// One step: some checks that are made and reported together.
#[derive(Debug, Clone, Copy)]
pub struct Step {
    /// The name `--only` knows it by.
    pub name: &'static str,
    /// What it does, for people.
    pub what: &'static str,
    /// Makes the checks in the workspace with this root.
    pub run: fn(&Path) -> Result<Report>,
}

/// All steps in order.
pub const STEPS: [Step; 8] = [
    Step { name: "fmt", what: "the code is formatted", run: fmt },
    Step { name: "tidy", what: "the rules of the house hold", run: tidy },
    Step { name: "clippy", what: "no lint complains, in code, tests, examples or benchmarks", run: clippy },
    Step { name: "test", what: "every test and every documented example passes", run: test },
    Step {
        name: "interleavings",
        what: "the bus holds in every order of steps that is drawn",
        run: interleavings,
    },
    Step { name: "doc", what: "the documentation builds without a warning", run: doc },
    Step { name: "demo", what: "the release binary's demo balances", run: demo::plain },
    Step { name: "crash", what: "the demo balances though it is killed on the way", run: demo::crash },
];

fn fmt(root: &Path) -> Result<Report> {
    cargo(root, &["fmt", "--all", "--", "--check"], "run `cargo fmt --all`")
}

fn tidy(root: &Path) -> Result<Report> {
    Ok(Report::one(tidy::run(root)? == Verdict::Good, "see the findings above"))
}

fn clippy(root: &Path) -> Result<Report> {
    cargo(root, &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], "see the warnings above")
}

/// The bus with threads whose every step is chosen. Apart from the other tests, because it is built for that.
fn interleavings(root: &Path) -> Result<Report> {
    let arguments = ["test", "--package", "tidings-bus", "--features", "shuttle", "--test", "interleavings"];
    cargo(root, &arguments, "the order that failed is printed above; shuttle::replay repeats it")
}

fn doc(root: &Path) -> Result<Report> {
    let mut command = process::cargo(root, &["doc", "--workspace", "--no-deps"]);
    let status = process::run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    Ok(Report::one(status.success(), "see the warnings above"))
}

/// Unit tests, integration tests and documentation tests, each once.
fn test(root: &Path) -> Result<Report> {
    let target = Workspace::load(root)?.target;
    let skips = Skips::begin(target.join("xtask").join("skips"))?;
    let mut command = process::cargo(root, &["test", "--workspace", "--no-fail-fast"]);
    command.env(skips::VARIABLE, &skips.path);
    let mut reader = Reader::default();
    let status = process::each_line(&mut command, |line| {
        println!("{line}");
        reader.line(line);
    })?;
    let mut report = reader.finish(status.success());
    skips.settle(&mut report)?;
    Ok(report)
}

/// A cargo command that is one check.
fn cargo(root: &Path, arguments: &[&str], cure: &str) -> Result<Report> {
    let status = process::run(&mut process::cargo(root, arguments))?;
    Ok(Report::one(status.success(), cure))
}

#[cfg(test)]
mod tests;
