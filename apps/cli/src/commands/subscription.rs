//! `tidings subscription`: look at durable subscriptions, pause them, let them go on, set them back.

use std::{io::Write as _, process::ExitCode};

use tidings::{Mode, Position, durable::Verb};

use super::{
    dead::carry::{carry_out, report},
    stats, subscriptions,
};
use crate::{
    global::Global,
    output::{self, ask::confirmed, number::counted},
};

/// Look at durable subscriptions, pause them, let them go on, set them back
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List them: how far they are, and what waits
    List,
    /// Take nothing in until `resume`; what is being handled is finished
    Pause {
        /// The subscription
        name: String,
    },
    /// Go on after `pause`
    Resume {
        /// The subscription
        name: String,
    },
    /// Handle everything after a position again
    ///
    /// Waiting and parked keys are forgotten; dead letters at or before the position stay, those after it come again from
    /// the log. Effects outside the store happen again.
    Reset {
        /// The subscription
        name: String,
        /// Everything after this position is handled again
        #[arg(long, value_name = "POSITION", default_value_t = 0)]
        to: Position,
        /// Do not ask
        #[arg(short, long)]
        yes: bool,
    },
}

/// Runs it.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let (name, verb) = match args.command {
        Command::List => return list(global).await,
        Command::Pause { name } => (name, Verb::Pause),
        Command::Resume { name } => (name, Verb::Resume),
        Command::Reset { name, to, yes } => {
            let question = format!("Handle everything after position {to} again in {name}?");
            if !confirmed(&question, yes)? {
                output::remark("nothing was done");
                return Ok(ExitCode::FAILURE);
            }
            (name, Verb::Reset { to })
        }
    };
    let store = global.open(Mode::Existing).await?;
    subscriptions::must_exist(&store, &name).await?;
    let carried = carry_out(&store, &name, verb.clone()).await;
    global.close(store).await?;
    let done = match verb {
        Verb::Pause => "is paused".to_owned(),
        Verb::Resume => "goes on".to_owned(),
        Verb::Reset { to } => format!("handles everything after position {to} again"),
        Verb::Replay { .. } | Verb::Edit { .. } | Verb::Discard { .. } => String::new(),
    };
    report(&name, &verb, &carried?, &|_| format!("{name} {done}"), global)
}

async fn list(global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let all = subscriptions::all(&store).await?;
    let mut out = output::out();
    if global.json {
        for one in &all {
            output::json_line(&mut out, one)?;
        }
    } else if all.is_empty() {
        writeln!(out, "no subscriptions")?;
    } else {
        stats::table(&all).print(&mut out)?;
        let dead: u64 = all.iter().map(|one| one.dead_letters).sum();
        if dead > 0 {
            writeln!(out, "\n{}: see `tidings dead list`", counted(dead, "dead letter"))?;
        }
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
