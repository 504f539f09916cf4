//! Random histories: an engine and the reference model are asked the same, and must answer the same.

mod ask;
mod changes;
mod dice;
mod plan;
mod queries;

use std::{collections::BTreeMap, fmt, future::Future, sync::Arc};

use self::plan::Plan;
use super::{
    Fresh,
    kit::Failed,
    show::{difference, everything},
};
use crate::{AnyStore, MemoryStore};

pub(super) use self::dice::Dice;

/// After so many steps the whole of both stores is compared, not only their answers.
const WHOLE_EVERY: usize = 40;

/// A history that both told alike.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct History {
    /// The seed it came from.
    pub seed: u64,
    /// How often each kind of answer was given: `applied`, `repeated`, an error's name, or the name of a question.
    pub answers: BTreeMap<String, u64>,
    /// Every answer, in order.
    pub transcript: Vec<String>,
}

/// Where an engine answered otherwise than the model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The seed that replays it.
    pub seed: u64,
    /// The step, from 0.
    pub step: usize,
    /// What was asked.
    pub asked: String,
    /// The model's answer.
    pub model: String,
    /// The engine's answer.
    pub engine: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, step, asked, model, engine } = self;
        write!(
            f,
            "seed {seed}, step {step} (TIDINGS_SEED={seed} replays it)\n  asked:  {asked}\n  model:  {model}\n  \
             engine: {engine}"
        )
    }
}

impl std::error::Error for Difference {}

/// Runs one history of `steps` steps against a fresh store and the model side by side, on the same clock.
///
/// # Errors
/// The first difference.
pub async fn history(mut fresh: Fresh, seed: u64, steps: usize) -> Result<History, Box<Difference>> {
    fresh.clock.set(plan::BEGINNING);
    let model: AnyStore = Arc::new(MemoryStore::new(Arc::new(fresh.clock.clone())));
    let mut plan = Plan::new(seed, model.clone());
    let mut told = History { seed, ..History::default() };
    for step in 0..steps {
        let op = plan.next(&fresh.clock).await;
        let restarted = matches!(op, plan::Op::Restart) && fresh.restart().await;
        let wanted = ask::ask(&model, &op).await;
        let got = ask::ask(&fresh.store, &op).await;
        if wanted != got {
            let (asked, model, engine) = (ask::question(&op), wanted, got);
            return Err(Box::new(Difference { seed, step, asked, model, engine }));
        }
        plan.learn(&op, &wanted);
        let label = if restarted { "reopened".into() } else { ask::label(&op, &wanted) };
        *told.answers.entry(label).or_default() += 1;
        told.transcript.push(wanted);
        if step % WHOLE_EVERY == WHOLE_EVERY - 1 || step + 1 == steps {
            compare_whole(&model, &fresh.store, seed, step).await?;
        }
    }
    Ok(told)
}

async fn compare_whole(
    model: &AnyStore,
    engine: &AnyStore,
    seed: u64,
    step: usize,
) -> Result<(), Box<Difference>> {
    let different = |model: String, engine: String| {
        Err(Box::new(Difference { seed, step, asked: "for everything".into(), model, engine }))
    };
    match (everything(model).await, everything(engine).await) {
        (Ok(wanted), Ok(got)) => match difference(&wanted, &got) {
            None => Ok(()),
            Some(line) => different("as it should be".into(), line),
        },
        (wanted, got) => {
            let text = |outcome: Result<Vec<String>, Failed>| {
                outcome.map_or_else(|failed| failed.0, |_| "all".into())
            };
            different(text(wanted), text(got))
        }
    }
}

/// Runs a history for every seed. With the environment variable `TIDINGS_SEED`, that seed alone.
///
/// # Panics
/// On the first difference, with the seed that replays it, the step, the question and both answers.
pub async fn histories<F, Fut>(factory: F, seeds: impl IntoIterator<Item = u64>, steps: usize) -> Vec<History>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Fresh>,
{
    let only = std::env::var("TIDINGS_SEED").ok();
    let only = only.map(|text| text.parse().expect("TIDINGS_SEED is a number"));
    let seeds = only.map_or_else(|| seeds.into_iter().collect::<Vec<u64>>(), |seed| vec![seed]);
    let mut told = Vec::with_capacity(seeds.len());
    for seed in seeds {
        match history(factory().await, seed, steps).await {
            Ok(history) => told.push(history),
            Err(difference) => panic!("the engine does not answer as the model does: {difference}"),
        }
    }
    told
}
