//! `tidings dead replay` and `discard`.

use std::process::ExitCode;

use tidings::{
    Mode, Position,
    durable::{Answer, Carried, Verb},
    store::AnyStore,
};

use super::{
    Wanted,
    carry::{carry_out, report},
    letters::Letters,
};
use crate::{
    commands::subscriptions,
    global::Global,
    output::{
        self,
        ask::confirmed,
        number::{count, counted},
    },
};

/// Positions in one request: each is a row in the commit that carries it out.
const REQUEST_MAX: usize = 1_000;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("which").required(true).multiple(true).args(["positions", "all", "reason", "name", "key"])))]
pub struct Selection {
    /// The subscription
    subscription: String,

    /// The positions of the dead letters
    #[arg(value_name = "POSITION", conflicts_with_all = ["all", "reason", "name", "key"])]
    positions: Vec<Position>,

    /// All of them
    #[arg(long, conflicts_with_all = ["reason", "name", "key"])]
    all: bool,

    #[command(flatten)]
    wanted: Wanted,
}

#[derive(Debug, clap::Args)]
pub struct Discard {
    #[command(flatten)]
    selection: Selection,

    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

pub async fn replay(selection: Selection, global: &Global) -> anyhow::Result<ExitCode> {
    let done = |many| format!("{} handed back to the failed handler", counted(many, "dead letter"));
    settle(selection, |positions| Verb::Replay { positions }, None, &done, global).await
}

pub async fn discard(discard: Discard, global: &Global) -> anyhow::Result<ExitCode> {
    let done = |many| format!("{} discarded", counted(many, "dead letter"));
    let question = (!discard.yes).then_some("Discard");
    settle(discard.selection, |positions| Verb::Discard { positions }, question, &done, global).await
}

async fn settle(
    selection: Selection,
    verb: fn(Vec<Position>) -> Verb,
    question: Option<&str>,
    done: &dyn Fn(u64) -> String,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let name = &selection.subscription;
    let store = global.open(Mode::Existing).await?;
    subscriptions::must_exist(&store, name).await?;
    let positions = positions(&selection, &store).await?;
    if let Some(question) = question.filter(|_| !positions.is_empty()) {
        let many = count(positions.len() as u64);
        if !confirmed(&format!("{question} {many} of the dead letters of {name} for ever?"), false)? {
            output::remark("nothing was done");
            return Ok(ExitCode::FAILURE);
        }
    }
    let mut carried = Carried::Here(Answer::default());
    for part in positions.chunks(REQUEST_MAX) {
        carried = and(carried, carry_out(&store, name, verb(part.to_vec())).await?);
        if carried == Carried::Waiting {
            break;
        }
    }
    global.close(store).await?;
    report(name, &verb(Vec::new()), &carried, done, global)
}

/// The positions asked for, in order.
async fn positions(selection: &Selection, store: &AnyStore) -> anyhow::Result<Vec<Position>> {
    if !selection.positions.is_empty() {
        let mut positions = selection.positions.clone();
        positions.sort_unstable();
        positions.dedup();
        return Ok(positions);
    }
    let mut positions = Vec::new();
    let mut letters = Letters::of(store, &selection.subscription, &selection.wanted, 0);
    while let Some(page) = letters.page().await? {
        positions.extend(page.iter().map(|letter| letter.position));
    }
    Ok(positions)
}

/// What came of two requests together.
fn and(before: Carried, now: Carried) -> Carried {
    let (Carried::Here(sum) | Carried::ByNode(sum)) = before else { return Carried::Waiting };
    let add = |more: Answer| Answer {
        done: sum.done + more.done,
        refused: sum.refused.into_iter().chain(more.refused).collect(),
    };
    match now {
        Carried::Here(more) => Carried::Here(add(more)),
        Carried::ByNode(more) => Carried::ByNode(add(more)),
        Carried::Waiting => Carried::Waiting,
    }
}
