//! `tidings dead`: dead letters, and what is decided about them.

pub mod carry;
mod look;
mod settle;

use std::{process::ExitCode, sync::Arc, time::Duration};

use tidings::{
    LetterFilter, Letters, Reason, SystemClock, Text, Timestamp,
    durable::{Config, DeadLetter, Operator, StoredLetters},
    store::AnyStore,
};

use crate::global::Global;

/// How long a running process may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Look at dead letters; edit, replay, discard, export and count them
///
/// A handler is a durable subscription by its name, or a buffered or bus handler as `module/function`. What a running
/// application has to do is done by it; of one that does not run, durable subscriptions are looked after here, and the
/// other handlers get what was replayed when they run again.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List dead letters, those of one handler or of all
    List(look::List),
    /// Show a dead letter, its event and what led to it
    Show(look::Show),
    /// Count dead letters, by handler
    Count(look::Count),
    /// Write dead letters as CloudEvents, one a line, each with its record
    Export(look::Export),
    /// Replace the payload that a replay will handle
    Edit(settle::Edit),
    /// Give dead letters to the failed handler again, the oldest first
    Replay(settle::Replay),
    /// Forget dead letters; what waited behind them goes on
    Discard(settle::Discard),
    /// Forget dead letters that are older than a time
    Purge(settle::Purge),
}

/// Runs it.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List(list) => look::list(list, global).await,
        Command::Show(show) => look::show(show, global).await,
        Command::Count(count) => look::count(count, global).await,
        Command::Export(export) => look::export(export, global).await,
        Command::Edit(edit) => settle::edit(edit, global).await,
        Command::Replay(replay) => settle::replay(replay, global).await,
        Command::Discard(discard) => settle::discard(discard, global).await,
        Command::Purge(purge) => settle::purge(purge, global).await,
    }
}

/// Which dead letters.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Wanted {
    /// Only those given up for this reason
    #[arg(long, value_parser = reason)]
    reason: Option<Reason>,

    /// Only those of this event
    #[arg(long)]
    name: Option<String>,

    /// Only those with this key
    #[arg(long)]
    key: Option<String>,

    /// Only those sent to this destination
    #[arg(long)]
    destination: Option<String>,

    /// Only those given up at or after this time
    #[arg(long, value_name = "TIME")]
    since: Option<Timestamp>,

    /// Only those given up before this time
    #[arg(long, value_name = "TIME")]
    until: Option<Timestamp>,
}

impl Wanted {
    fn filter(&self, handler: Option<&str>) -> LetterFilter {
        let text = |value: &Option<String>| value.as_deref().map(Text::from);
        LetterFilter {
            handler: handler.map(Text::from),
            destination: text(&self.destination),
            reason: self.reason,
            name: text(&self.name),
            key: text(&self.key),
            since: self.since,
            until: self.until,
        }
    }
}

fn reason(word: &str) -> Result<Reason, String> {
    let words = || Reason::ALL.map(Reason::as_str).join(", ");
    let found = Reason::ALL.into_iter().find(|reason| reason.as_str() == word);
    found.ok_or_else(|| format!("there is no reason {word:?}; there are {}", words()))
}

/// The dead letters of a store.
pub fn letters(store: &AnyStore) -> Letters {
    let clock = Arc::new(SystemClock);
    let operator = Operator { store: store.clone(), clock: clock.clone(), config: Config::default() };
    Letters::new(Arc::new(StoredLetters::new(operator, PATIENCE)), clock)
}

/// That there is a handler of this name; the error names those there are.
async fn must_exist(letters: &Letters, handler: &str) -> anyhow::Result<()> {
    let all = letters.handlers().await.map_err(failed)?;
    if all.iter().any(|one| **one == *handler) {
        return Ok(());
    }
    let names = if all.is_empty() { "there are none".to_owned() } else { all.join(", ") };
    anyhow::bail!("there is no subscription or handler {handler:?} in this store; there are: {names}")
}

/// An entry as people write it: an id, or the position of its event in the log.
fn entry(said: &str) -> Text {
    match said.parse() {
        Ok(position) => DeadLetter::document_id(position),
        Err(_) => Text::from(said),
    }
}

/// An entry as people read it.
fn shown(letter: &DeadLetter) -> String {
    if letter.position > 0 { letter.position.to_string() } else { letter.entry.to_string() }
}

/// As an error of this program.
pub fn failed(failure: tidings::Failure) -> anyhow::Error {
    anyhow::Error::msg(failure.describe())
}
