//! Having an operator's request carried out, and saying what came of it.

use std::{io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use serde_json::json;
use tidings::{
    SystemClock,
    durable::{Answer, Carried, Config, Operator, Verb},
    store::AnyStore,
};

use crate::{global::Global, output};

/// How long a running process may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Has `verb` carried out.
pub async fn carry_out(store: &AnyStore, subscription: &str, verb: Verb) -> anyhow::Result<Carried> {
    let operator = Operator { store: store.clone(), clock: Arc::new(SystemClock), config: Config::default() };
    Ok(operator.carry_out(subscription, verb, PATIENCE).await?)
}

/// Says what came of `verb`; `done` words it, given how many.
pub fn report(
    subscription: &str,
    verb: &Verb,
    carried: &Carried,
    done: &dyn Fn(u64) -> String,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let none = Answer::default();
    let (how, answer) = match carried {
        Carried::Here(answer) => ("here", answer),
        Carried::ByNode(answer) => ("by_node", answer),
        Carried::Waiting => ("waiting", &none),
    };
    let mut out = output::out();
    if global.json {
        let object = json!({
            "subscription": subscription,
            "verb": word(verb),
            "carried": how,
            "done": answer.done,
            "refused": answer.refused,
        });
        output::json_line(&mut out, &object)?;
    } else {
        let whose = match carried {
            Carried::Here(_) => "no process runs the subscription now; done here",
            Carried::ByNode(_) => "done by the process that runs the subscription",
            Carried::Waiting => {
                "the process that runs the subscription has not answered yet; the request stays and will be carried out"
            }
        };
        if answer.done > 0 {
            writeln!(out, "{}", done(answer.done))?;
        } else if *carried != Carried::Waiting {
            writeln!(out, "nothing was done")?;
        }
        writeln!(out, "({whose})")?;
        for why in &answer.refused {
            output::remark(format_args!("refused: {why}"));
        }
    }
    out.flush()?;
    let well = answer.refused.is_empty() && *carried != Carried::Waiting;
    Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn word(verb: &Verb) -> &'static str {
    match verb {
        Verb::Pause => "pause",
        Verb::Resume => "resume",
        Verb::Reset { .. } => "reset",
        Verb::Replay { .. } => "replay",
        Verb::Edit { .. } => "edit",
        Verb::Discard { .. } => "discard",
    }
}
