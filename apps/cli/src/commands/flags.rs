//! `tidings flags`: look at the feature flags of a store, set them, and see who did.

use std::{io::Write as _, process::ExitCode, sync::Arc};

use serde_json::json;
use tidings::{Flag, Mode, SystemClock, Tenant, durable::StoreFlags, guard::FlagTarget, store::AnyStore};

use crate::{
    global::Global,
    output::{
        self,
        table::{Column, Rows},
    },
};

/// Look at feature flags, set them, and see who did
///
/// What nobody has set is on. Programs that run on the store notice a change within a second.
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// List those that are set
    List,
    /// Set one
    Set {
        /// A name that policies ask for, or `event:NAME`, `handler:NAME`, `topic:PATTERN`
        name: String,
        /// `on`, `off`, or a share of keys: `25%`
        #[arg(value_parser = setting)]
        setting: Flag,
        /// Who sets it; by default, who is logged in
        #[arg(long, env = "USER", default_value = "somebody")]
        by: String,
    },
    /// Forget one: then the settings of each program hold, or it is on
    Unset {
        /// As it was set
        name: String,
        /// Who forgets it; by default, who is logged in
        #[arg(long, env = "USER", default_value = "somebody")]
        by: String,
    },
    /// Show who changed which, from what to what, and when: the latest 1,000 changes
    History,
}

fn setting(text: &str) -> Result<Flag, String> {
    let flag = match text {
        "on" => Flag::On,
        "off" => Flag::Off,
        other => {
            let share = other.strip_suffix('%').and_then(|share| share.trim().parse().ok());
            Flag::Percent(share.ok_or("say on, off, or a share of keys: 25%")?)
        }
    };
    flag.fault().map_or(Ok(flag), Err)
}

/// Runs it.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    match args.command {
        Command::List => list(global).await,
        Command::History => history(global).await,
        Command::Set { name, setting, by } => change(&name, Some(setting), &by, global).await,
        Command::Unset { name, by } => change(&name, None, &by, global).await,
    }
}

fn flags(store: &AnyStore) -> StoreFlags {
    StoreFlags::new(store.clone(), Tenant::default(), Arc::new(SystemClock))
}

fn text(flag: Option<Flag>) -> String {
    flag.map_or_else(|| "not set".to_owned(), |flag| flag.to_string())
}

async fn list(global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let all = flags(&store).all().await?;
    let mut out = output::out();
    let mut rows =
        Rows::new([Column::Text("flag"), Column::Text("is"), Column::Text("set by"), Column::Text("at")]);
    for (target, kept) in &all {
        if global.json {
            let line = json!({"flag": target.to_string(), "is": kept.flag, "by": kept.by, "at": kept.at});
            output::json_line(&mut out, &line)?;
        }
        rows.push([target.to_string(), kept.flag.to_string(), kept.by.to_string(), kept.at.to_string()]);
    }
    match (global.json, all.is_empty()) {
        (true, _) => {}
        (false, true) => writeln!(out, "no flags are set: everything is on")?,
        (false, false) => rows.print(&mut out)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn history(global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let all = flags(&store).history().await?;
    let mut out = output::out();
    let columns = ["at", "by", "flag", "before", "after"].map(Column::Text);
    let mut rows = Rows::new(columns);
    for one in &all {
        if global.json {
            let target = one.target.to_string();
            let line =
                json!({"at": one.at, "by": one.by, "flag": target, "before": one.before, "after": one.after});
            output::json_line(&mut out, &line)?;
        }
        let (at, by) = (one.at.to_string(), one.by.to_string());
        rows.push([at, by, one.target.to_string(), text(one.before), text(one.after)]);
    }
    match (global.json, all.is_empty()) {
        (true, _) => {}
        (false, true) => writeln!(out, "no flag was ever changed")?,
        (false, false) => rows.print(&mut out)?,
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

async fn change(name: &str, flag: Option<Flag>, by: &str, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.open(Mode::Existing).await?;
    let changed = flags(&store).set(&FlagTarget::from(name), flag, by).await;
    global.close(store).await?;
    let changed = changed?;
    let mut out = output::out();
    if global.json {
        let line = json!({"flag": name, "before": changed.before, "after": changed.after});
        output::json_line(&mut out, &line)?;
    } else {
        writeln!(out, "{name} was {} and is {}", text(changed.before), text(changed.after))?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}
