//! The `tidings` binary: look into a store, feed it, repair it.
//!
//! Here are the arguments and the way out: what an error looks like and which status the process ends with. Every command
//! is a file under `commands/`, what they share in printing is under `output/`. Everything goes through the facade, so a
//! user's program can do all of it.
//!
//! Status: 0 all went well; 1 something was refused or failed; 2 the command line makes no sense; 130 ended by a second
//! signal.

mod commands;
mod demo;
mod global;
mod output;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use tracing_subscriber::filter::{EnvFilter, LevelFilter};

use crate::{
    commands::{
        backup, completions, dead, explain, export, find, flags, info, ingest, lint, log, policy, stats,
        stream, subscription, tail, verify, view,
    },
    global::Global,
};

/// One thread frees what another allocated, all the time; see the guide to buffered handlers.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Look into a Tidings store, feed it, and repair it.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, propagate_version = true, arg_required_else_help = true)]
#[command(after_help = "Status: 0 all went well, 1 something was refused or failed, 2 wrong usage.")]
struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Ingest(ingest::Args),
    Log(log::Args),
    Tail(tail::Args),
    Stream(stream::Args),
    Find(find::Args),
    View(view::Args),
    Stats(stats::Args),
    Subscription(subscription::Args),
    Dead(dead::Args),
    Policy(policy::Args),
    Flags(flags::Args),
    Verify(verify::Args),
    Export(export::Args),
    Backup(backup::Args),
    Lint(lint::Args),
    Explain(explain::Args),
    Info(info::Args),
    Demo(demo::Args),
    Completions(completions::Args),
}

impl Command {
    async fn run(self, global: &Global) -> anyhow::Result<ExitCode> {
        match self {
            Self::Ingest(args) => ingest::run(args, global).await,
            Self::Log(args) => log::run(args, global).await,
            Self::Tail(args) => tail::run(args, global).await,
            Self::Stream(args) => stream::run(args, global).await,
            Self::Find(args) => find::run(args, global).await,
            Self::View(args) => view::run(args, global).await,
            Self::Stats(args) => stats::run(args, global).await,
            Self::Subscription(args) => subscription::run(args, global).await,
            Self::Dead(args) => dead::run(args, global).await,
            Self::Policy(args) => policy::run(args, global).await,
            Self::Flags(args) => flags::run(args, global).await,
            Self::Verify(args) => verify::run(args, global).await,
            Self::Export(args) => export::run(args, global).await,
            Self::Backup(args) => backup::run(args, global).await,
            Self::Lint(args) => lint::run(args, global).await,
            Self::Explain(args) => explain::run(args, global).await,
            Self::Info(args) => info::run(args, global).await,
            Self::Demo(args) => demo::run(args, global).await,
            Self::Completions(args) => completions::run::<Cli>(&args),
        }
    }

    /// A command that only talks to a store has one thread of its own, beside the engine's: nothing here computes.
    fn runtime(&self) -> tokio::runtime::Builder {
        match self {
            Self::Demo(_) => tokio::runtime::Builder::new_multi_thread(),
            _ => tokio::runtime::Builder::new_current_thread(),
        }
    }

    /// From where on what is logged is worth telling. The demo's bank is meant to be asked again.
    fn level(&self) -> LevelFilter {
        match self {
            Self::Demo(_) => LevelFilter::ERROR,
            _ => LevelFilter::WARN,
        }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    log_to_stderr(cli.global.verbose, cli.command.level());
    let ended = match cli.command.runtime().enable_all().build() {
        Ok(runtime) => runtime.block_on(cli.command.run(&cli.global)),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(code) => code,
        // Whoever reads has seen enough.
        Err(error) if output::is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody left to tell if this cannot be written.
            let _ = writeln!(io::stderr(), "error: {}", output::sentence(&error));
            ExitCode::FAILURE
        }
    }
}

/// What the platform logs goes to standard error; `RUST_LOG` says more exactly what.
fn log_to_stderr(verbose: u8, level: LevelFilter) {
    let level = match verbose {
        0 => level,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let filter = EnvFilter::builder().with_default_directive(level.into()).from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr).with_target(false).init();
}
