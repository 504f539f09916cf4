//! `tidings completions`: completions for shells.

use std::{io::Write as _, process::ExitCode};

use clap_complete::Shell;

use crate::output;

/// Print completions for a shell, to be put where it looks for them
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The shell
    shell: Shell,
}

/// Runs it, for the arguments `C`.
pub fn run<C: clap::CommandFactory>(args: &Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "tidings", &mut script);
    let mut out = output::out();
    out.write_all(&script)?;
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
