//! `tidings dead`: dead letters, and what is decided about them.

pub mod carry;
mod letters;
mod look;
mod settle;

use std::process::ExitCode;

use tidings::Position;

use crate::global::Global;

/// Look at dead letters, replay or discard them
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List dead letters, those of one subscription or of all
    List(look::List),
    /// Show a dead letter, its event and what led to it
    Show(look::Show),
    /// Give dead letters to the failed handler again, the oldest first
    Replay(settle::Selection),
    /// Forget dead letters; what waited behind them goes on
    Discard(settle::Discard),
}

/// Runs it.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(list) => look::list(list, global).await,
        Command::Show(show) => look::show(show, global).await,
        Command::Replay(selection) => settle::replay(selection, global).await,
        Command::Discard(discard) => settle::discard(discard, global).await,
    }
}

/// Which dead letters.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Wanted {
    /// Only those given up for this reason
    #[arg(long, value_parser = ["permanent", "exhausted", "loop", "follower", "newer", "refused"])]
    reason: Option<String>,

    /// Only those of this event
    #[arg(long)]
    name: Option<String>,

    /// Only those with this key
    #[arg(long)]
    key: Option<String>,
}

/// The last of so many positions, for who goes on there.
type Last = Option<Position>;
