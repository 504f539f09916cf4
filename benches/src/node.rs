//! Event emitters of Node as peers: child processes that measure themselves.
//!
//! The script is `benches/node/peer.mjs`, its packages are locked beside it and are installed when they are missing. A
//! child lives as long as its table, so that its code stays warm, and does nothing but wait while others are measured.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::PathBuf,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::OnceLock,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::child;

/// A peer in Node, waiting for questions.
#[derive(Debug)]
pub struct Node {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Node {
    /// Starts the peer of this name.
    ///
    /// # Errors
    /// Node, npm or the package is missing; the error says which. A table says so in the peer's place.
    pub fn start(peer: &str) -> Result<Self> {
        installed()?;
        let mut child = Command::new("node")
            .args(["--expose-gc", "--max-old-space-size=12288", "peer.mjs", peer])
            .current_dir(folder())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("`node` cannot be started")?;
        let (questions, answers) = child.stdin.take().zip(child.stdout.take()).context("no pipes")?;
        let mut node = Self { child, questions, answers: BufReader::new(answers) };
        let started = node.answer()?;
        ensure!(started.get("started").is_some(), "{peer} did not start: {started}");
        Ok(node)
    }

    /// Asks, with what is needed for the answer.
    ///
    /// # Errors
    /// It has ended, or answers that it failed.
    pub fn ask(&mut self, ask: &str, mut with: Value) -> Result<Value> {
        if let Some(with) = with.as_object_mut() {
            with.insert("ask".into(), json!(ask));
        }
        writeln!(self.questions, "{with}").context("the child has ended")?;
        self.questions.flush()?;
        self.answer()
    }

    fn answer(&mut self) -> Result<Value> {
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        parse(&line)
    }
}

impl Drop for Node {
    /// It has nothing to lose.
    fn drop(&mut self) {
        if self.child.kill().is_ok() {
            drop(self.child.wait());
        }
    }
}

/// A line of a child's answers.
fn parse(line: &str) -> Result<Value> {
    ensure!(!line.is_empty(), "the child ended without an answer");
    let answer: Value = serde_json::from_str(line).with_context(|| format!("not an answer: {line:?}"))?;
    ensure!(answer.is_object(), "not an answer: {line:?}");
    match answer.get("failed") {
        Some(failed) => bail!("it failed: {failed}"),
        None => Ok(answer),
    }
}

fn folder() -> PathBuf {
    child::workspace().join("benches/node")
}

/// Installs the packages, once a process; answers each time what came of it.
fn installed() -> Result<()> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let outcome = INSTALLED.get_or_init(|| install().map_err(|error| format!("{error:#}")));
    outcome.clone().map_err(anyhow::Error::msg)
}

fn install() -> Result<()> {
    let node = Command::new("node").arg("--version").output().context("`node` is not installed")?;
    ensure!(node.status.success(), "`node --version`: {}", node.status);
    // npm writes this file last, so that it is there exactly when an installation has succeeded.
    let (marker, locked) =
        (folder().join("node_modules/.package-lock.json"), folder().join("package-lock.json"));
    let modified = |file: PathBuf| file.metadata().and_then(|about| about.modified());
    if modified(marker).is_ok_and(|marker| modified(locked).is_ok_and(|locked| marker >= locked)) {
        return Ok(());
    }
    let npm = Command::new("npm")
        .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
        .current_dir(folder())
        .output()
        .context("`npm` is not installed")?;
    let wrong = String::from_utf8_lossy(&npm.stderr);
    ensure!(npm.status.success(), "`npm ci`: {}, {}", npm.status, wrong.lines().last().unwrap_or_default());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_one_object_and_anything_else_is_told() {
        assert_eq!(parse("{\"nanos\":3.5}\n").expect("an answer"), json!({"nanos": 3.5}));
        for (line, part) in [
            ("", "without an answer"),
            ("Debugger listening\n", "not an answer"),
            ("3\n", "not an answer"),
            ("{\"failed\":\"Cannot find package 'mitt'\"}\n", "Cannot find package 'mitt'"),
        ] {
            let error = parse(line).expect_err(line).to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
