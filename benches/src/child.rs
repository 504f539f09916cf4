//! The `tidings` program as a child: what a user runs is what is measured.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The folder of the workspace.
pub fn workspace() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Builds the program in release mode, as it is now, and answers where it is.
///
/// # Errors
/// It does not build.
pub fn program() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--release", "--quiet", "--package", "tidings-cli"])
        .current_dir(workspace())
        .status()?;
    ensure!(built.success(), "building tidings-cli: {built}");
    let own = std::env::current_exe()?;
    let program = own.with_file_name("tidings");
    ensure!(program.is_file(), "{} is not there", program.display());
    Ok(program)
}

/// Runs a command that answers one JSON object on standard output; answers it, and how many seconds the whole process
/// took.
///
/// # Errors
/// It fails, or answers something else.
pub fn answer(command: &mut Command) -> Result<(Value, f64)> {
    let begun = Instant::now();
    let output = command.output().with_context(|| format!("{command:?}"))?;
    let seconds = begun.elapsed().as_secs_f64();
    let (told, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{command:?}: {}\n{wrong}", output.status);
    let line = told.lines().last().with_context(|| format!("{command:?} said nothing\n{wrong}"))?;
    Ok((serde_json::from_str(line).with_context(|| line.to_owned())?, seconds))
}

/// A number in an answer.
///
/// # Errors
/// It is not there.
pub fn number(answer: &Value, field: &str) -> Result<f64> {
    answer.get(field).and_then(Value::as_f64).with_context(|| format!("no number {field:?} in {answer}"))
}
