//! `tidings stream`: the events of one stream.

use std::process::ExitCode;

use tidings::{Tenant, Text};

use super::{log, reading::Which};
use crate::global::Global;

/// Show the events of a stream, by version
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The stream's name, such as `order-4711`
    pub name: Text,

    /// Only events after this version; backward, before it
    #[arg(long, value_name = "VERSION")]
    pub after: Option<u64>,

    /// At most this many [default: 20 in a table, all with --json]
    #[arg(short = 'n', long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,

    /// The newest first
    #[arg(long)]
    pub backward: bool,

    #[command(flatten)]
    pub which: Which,

    /// Show payloads in the table
    #[arg(long)]
    pub data: bool,
}

/// Runs it.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let tenant = args.which.tenant.clone().map_or_else(Tenant::default, Tenant);
    if store.stream_version(&tenant, &args.name).await? == 0 {
        anyhow::bail!("there is no stream {:?} in {}", args.name, global.url());
    }
    let log = log::Args {
        pattern: None,
        after: args.after,
        limit: args.limit,
        backward: args.backward,
        stream: Some(args.name),
        which: args.which,
        data: args.data,
    };
    log::show(&log, &store, global).await
}
