//! The finished binary, as a user gets it: its demo has to balance, undisturbed and killed on the way.
//!
//! The contract: `tidings demo --orders N --json` ends with one line, a JSON object with `orders`, `outcomes`,
//! `balanced` and `events_per_second`, and exits with 0.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::report::Report;
use crate::process;

/// How many orders a demo runs through: enough for several commits, few enough for a second or two.
const ORDERS: u64 = 2_000;

/// When a demo has hung: it takes seconds where a disk is slow.
const DEADLINE: Duration = Duration::from_secs(240);

/// The demo, undisturbed.
pub fn plain(root: &Path) -> Result<Report> {
    balance(root, &[])
}

/// The demo, killed on the way and started again.
pub fn crash(root: &Path) -> Result<Report> {
    balance(root, &["--crash"])
}

fn balance(root: &Path, options: &[&str]) -> Result<Report> {
    let binary = build(root)?;
    let folder = tempfile::tempdir()?;
    let mut command = Command::new(binary);
    command.current_dir(folder.path()).arg("demo").args(options);
    command.args(["--orders", &ORDERS.to_string(), "--json", "--store"]).arg(folder.path().join("demo.db"));
    let captured = process::capture(&mut command, DEADLINE)?;
    let verdict = last_words(&captured.stdout);
    ensure!(captured.status.success(), "`{}` ended with {}", process::shown(&command), captured.status);
    let line = verdict?;
    println!("{line}");
    Ok(Report::passed(1))
}

/// Builds the release binary and says where it is.
fn build(root: &Path) -> Result<PathBuf> {
    let arguments = ["build", "--release", "--package", "tidings-cli", "--bin", "tidings"];
    let mut command = process::cargo(root, &arguments);
    let mut binary = None;
    let status = process::each_line(command.arg("--message-format=json-render-diagnostics"), |line| {
        binary = executable(line).or(binary.take());
    })?;
    ensure!(status.success(), "the release binary does not build");
    binary.context("cargo built no binary called `tidings`")
}

/// The path in cargo's message about the binary, if this line is that message.
fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let ours = message["reason"] == "compiler-artifact" && message["target"]["name"] == "tidings";
    message["executable"].as_str().filter(|_| ours).map(PathBuf::from)
}

/// The last line, if it is what a balanced demo says at its end.
fn last_words(stdout: &str) -> Result<&str> {
    let line = stdout.lines().rfind(|line| !line.trim().is_empty()).context("the demo said nothing")?;
    let Ok(Value::Object(words)) = serde_json::from_str(line) else {
        bail!("the demo's last line is no JSON object: {line}");
    };
    ensure!(words.get("orders").and_then(Value::as_u64) == Some(ORDERS), "not of {ORDERS} orders: {line}");
    ensure!(words.contains_key("outcomes"), "no outcomes: {line}");
    let rate = words.get("events_per_second").and_then(Value::as_f64);
    ensure!(rate.is_some_and(|rate| rate > 0.0), "no rate: {line}");
    ensure!(words.get("balanced") == Some(&Value::Bool(true)), "not balanced: {line}");
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"{"orders":2000,"outcomes":{"shipped":1900,"cancelled":100},"balanced":true,"events_per_second":9000.5}"#;

    #[test]
    fn a_balanced_demo_is_known_by_its_last_line() {
        let stdout = format!("{{\"done\":10}}\n{GOOD}\n\n");
        assert_eq!(last_words(&stdout).expect("balanced"), GOOD);
    }

    #[test]
    fn a_demo_that_falls_short_in_anything_is_refused() {
        let cases = [
            (String::new(), "said nothing"),
            (format!("{GOOD}\nbye\n"), "no JSON object"),
            (GOOD.replace("true", "false"), "not balanced"),
            (GOOD.replace("\"balanced\":true,", ""), "not balanced"),
            (GOOD.replace("true", "\"true\""), "not balanced"),
            (GOOD.replace("2000", "1999"), "not of 2000 orders"),
            (GOOD.replace("outcomes", "results"), "no outcomes"),
            (GOOD.replace("9000.5", "0"), "no rate"),
        ];
        for (stdout, part) in cases {
            let error = last_words(&stdout).expect_err("falls short").to_string();
            assert!(error.contains(part), "{stdout}: {error}");
        }
    }

    #[test]
    fn the_binary_is_the_one_called_tidings_and_nothing_else_cargo_mentions() {
        let message =
            r#"{"reason":"compiler-artifact","target":{"name":"tidings"},"executable":"t/release/tidings"}"#;
        assert_eq!(executable(message), Some(PathBuf::from("t/release/tidings")));
        assert_eq!(executable(&message.replace("\"t/release/tidings\"", "null")), None);
        assert_eq!(executable(&message.replace("{\"name\":\"tidings\"}", "{\"name\":\"other\"}")), None);
        assert_eq!(executable("Compiling"), None);
    }
}
