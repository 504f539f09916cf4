//! `tidings policy`: look at the policies of handlers, and change them in the processes that run now.

use std::{
    io::{Read as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use anyhow::Context as _;
use serde_json::json;
use tidings::{
    Defaults, Mode, Model, ModelHandler, ModelPlace, Policy, SystemClock,
    durable::{Config, Operator, PolicyAnswer, PolicyCame},
    store::AnyStore,
};

use super::explain::hint;
use crate::{
    global::Global,
    output::{
        self,
        redact::models,
        table::{Column, Rows, visible},
    },
};

/// Look at the policies of handlers, and change them while they run
///
/// A handler is named by its durable subscription, by its module and its name there, or by the last part of that.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List handlers with their policies, each in a line
    List,
    /// Show the policy of a handler as TOML, as `set` takes it
    Show {
        /// The handler
        name: String,
    },
    /// Change the policy of a handler in every process that runs it now
    ///
    /// The new policy takes the place of the whole. Calls that run end under the old one. It counts until each of these
    /// processes ends: after a restart the policy of the code and the settings counts again.
    Set {
        /// The handler
        name: String,
        /// A file with the policy in TOML; `-` is standard input
        #[arg(
            long,
            short,
            value_name = "FILE",
            required_unless_present = "policy",
            conflicts_with = "policy"
        )]
        file: Option<PathBuf>,
        /// The policy in TOML: `timeout = "3s"`
        #[arg(value_name = "TOML")]
        policy: Option<String>,
        /// How many seconds the processes that run it have to answer
        #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
        within: u64,
        /// Who sets it; by default, who is logged in
        #[arg(long, env = "USER", default_value = "somebody")]
        by: String,
    },
}

/// Runs it.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List => list(global).await,
        Command::Show { name } => show(&name, global).await,
        Command::Set { name, file, policy, within, by } => {
            let text = match (policy, file) {
                (Some(policy), _) => policy,
                (None, Some(file)) => text_of(&file)?,
                (None, None) => String::new(),
            };
            set(&name, &text, Duration::from_secs(within), &by, global).await
        }
    }
}

/// A handler as a model has it.
struct Shown<'a> {
    application: &'a str,
    name: String,
    handler: &'a ModelHandler,
}

impl<'a> Shown<'a> {
    fn all(models: &'a [Model]) -> Vec<Self> {
        let modules = models.iter().flat_map(|model| model.modules.iter().map(move |module| (model, module)));
        let handlers = modules.flat_map(|(model, module)| {
            module.handlers.iter().map(move |handler| Self {
                application: &model.name,
                name: handler.name(&module.name),
                handler,
            })
        });
        handlers.collect()
    }

    fn place(&self) -> String {
        match &self.handler.place {
            ModelPlace::Bus => "bus".into(),
            ModelPlace::Buffered { pool, .. } if pool.is_empty() => "shared pool".into(),
            ModelPlace::Buffered { pool, .. } => format!("pool {pool}"),
            ModelPlace::Durable { .. } => "durable".into(),
        }
    }

    /// With the defaults of its place.
    fn resolved(&self) -> Policy {
        let defaults = match self.handler.place {
            ModelPlace::Durable { .. } => Defaults::durable(),
            ModelPlace::Bus | ModelPlace::Buffered { .. } => Defaults::buffered(),
        };
        self.handler.policy.clone().resolve(&defaults)
    }
}

/// The handlers one name means: several applications on a store may have one of the same name.
fn meant<'a>(all: Vec<Shown<'a>>, name: &str, global: &Global) -> anyhow::Result<Vec<Shown<'a>>> {
    let names: Vec<String> = all.iter().map(|one| one.name.clone()).collect();
    let (exact, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|one| one.name == name);
    let found = if exact.is_empty() {
        others.into_iter().filter(|one| one.handler.is_called(name)).collect()
    } else {
        exact
    };
    let Some(first) = found.first() else {
        let hint = hint(name, names.iter().map(String::as_str));
        anyhow::bail!("there is no handler {name:?} in {}{hint}", global.url());
    };
    if let Some(other) = found.iter().find(|other| other.name != first.name) {
        anyhow::bail!("{name:?} may be {} or {}: say which", first.name, other.name);
    }
    Ok(found)
}

async fn list(global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let models = models(&store).await?;
    let all = Shown::all(&models);
    let mut out = output::out();
    let columns = ["handler", "application", "place", "policy"].map(Column::Text);
    let mut rows = Rows::new(columns);
    for one in &all {
        if global.json {
            output::json_line(&mut out, &object(one))?;
        }
        rows.push([one.name.clone(), one.application.to_owned(), one.place(), one.resolved().to_string()]);
    }
    match (global.json, all.is_empty()) {
        (true, _) => {}
        (false, true) => writeln!(out, "no handlers: no application has started on this store")?,
        (false, false) => rows.print(&mut out)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn object(one: &Shown<'_>) -> serde_json::Value {
    json!({
        "handler": one.name,
        "application": one.application,
        "place": one.handler.place,
        "said": one.handler.policy,
        "policy": one.resolved(),
        "policy_line": one.resolved().to_string(),
    })
}

async fn show(name: &str, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let models = models(&store).await?;
    let found = meant(Shown::all(&models), name, global)?;
    let mut out = output::out();
    for one in &found {
        if global.json {
            output::json_line(&mut out, &object(one))?;
            continue;
        }
        writeln!(out, "# {} of {}: {}", visible(&one.name), visible(one.application), one.place())?;
        writeln!(out, "# with the defaults of its place: {}", visible(&one.resolved().to_string()))?;
        write!(out, "{}", toml::to_string(&one.handler.policy)?)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn text_of(file: &std::path::Path) -> anyhow::Result<String> {
    if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read standard input")?;
        return Ok(text);
    }
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// A policy that has no faults by itself.
fn policy(text: &str) -> anyhow::Result<Policy> {
    let policy: Policy = toml::from_str(text).map_err(|error| {
        let message = error.message().to_owned();
        let before = |span: std::ops::Range<usize>| text.as_bytes().iter().take(span.start);
        let line = error.span().map(|span| before(span).filter(|byte| **byte == b'\n').count() + 1);
        match line {
            Some(line) => anyhow::anyhow!("the policy, line {line}: {message}"),
            None => anyhow::anyhow!("the policy: {message}"),
        }
    })?;
    let faults = policy.faults();
    anyhow::ensure!(faults.is_empty(), "the policy: {}", faults.join("; "));
    Ok(policy)
}

async fn set(
    name: &str,
    text: &str,
    within: Duration,
    by: &str,
    global: &Global,
) -> anyhow::Result<ExitCode> {
    let policy = policy(text)?;
    let store = global.open(Mode::Existing).await?;
    let asked = ask(&store, name, &policy, within, by, global).await;
    global.close(store).await?;
    let (handler, answers) = asked?;
    anyhow::ensure!(
        !answers.is_empty(),
        "no process that runs {handler} has answered within {}s; nothing was changed, and nothing is kept for later",
        within.as_secs()
    );
    let mut out = output::out();
    for answer in &answers {
        let PolicyAnswer { application, process, came } = answer;
        if global.json {
            let object = json!({
                "handler": handler,
                "application": application,
                "process": process,
                "came": came,
                "policy": policy,
                "kept": false,
            });
            output::json_line(&mut out, &object)?;
            continue;
        }
        let whose = format!("{} ({process})", visible(application));
        match came {
            PolicyCame::Changed { before } => {
                writeln!(out, "{whose} has changed the policy of {}", visible(&handler))?;
                writeln!(out, "  was  {before}\n  is   {policy}")?;
            }
            PolicyCame::Begun => output::remark(format_args!("{whose} has begun, and not answered")),
            PolicyCame::Refused { faults } => {
                output::remark(format_args!("{whose} has refused: {}", faults.join("; ")));
            }
        }
    }
    let changed = answers.iter().filter(|answer| matches!(answer.came, PolicyCame::Changed { .. })).count();
    if changed > 0 && !global.json {
        writeln!(
            out,
            "(until the process ends: after a restart the policy of its code and settings counts again)"
        )?;
    }
    out.flush()?;
    Ok(if changed == answers.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Asks those who run the handler; answers its whole name, too.
async fn ask(
    store: &AnyStore,
    name: &str,
    policy: &Policy,
    within: Duration,
    by: &str,
    global: &Global,
) -> anyhow::Result<(String, Vec<PolicyAnswer>)> {
    let models = models(store).await?;
    let handler = meant(Shown::all(&models), name, global)?.swap_remove(0).name;
    let operator = Operator { store: store.clone(), clock: Arc::new(SystemClock), config: Config::default() };
    let answers = operator.change_policy(&handler, policy.clone(), by, within).await?;
    Ok((handler, answers))
}
