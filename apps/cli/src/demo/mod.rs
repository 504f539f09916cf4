//! `tidings demo`: a small shop on the embedded store, watched at work, killed if you like, and proved afterwards.
//!
//! ```text
//!   customers ─▶ shop: orders, inventory, payments, shipping ─▶ store ◀─ follow (live figures)
//!                                                                 ▲
//!                                        prove, in a fresh process┘
//! ```
//! Read the four modules first (`orders`, `inventory`, `payments`, `shipping`) and the words they share (`events`): they
//! are what an application looks like. The rest is scenery. Nothing here is used by other commands.

mod crash;
mod customers;
mod dice;
mod events;
mod figures;
mod follow;
mod home;
mod inventory;
mod live;
mod orders;
mod payments;
mod prove;
mod report;
mod shipping;
mod shop;

use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail};
use tidings::store::AnyStore;
use tokio::sync::watch;

use self::{
    customers::Customers,
    follow::Seen,
    home::Home,
    live::Live,
    prove::Proof,
    report::{Report, Work},
};
use crate::global::Global;

/// How a process ends that was told to stop.
const STOPPED: u8 = 130;

/// Run a shop of four modules on the embedded store, and prove that its books balance
///
/// Customers place orders; inventory, payments and shipping know each other only by their events. Some payments fail and
/// stock runs out, so reservations are given back. At the end another process works out stock, money and orders from the
/// log alone and compares them with every view. Without `--store`, a temporary store is used and removed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How many orders to place [default: 20000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    orders: Option<u64>,

    /// Kill the shop at random moments, and let it go on each time
    #[arg(long)]
    crash: bool,

    /// How often it is killed
    #[arg(long, value_name = "N", default_value_t = 10, requires = "crash",
          value_parser = clap::value_parser!(u64).range(1..=1_000))]
    kills: u64,

    /// Repeats the orders and the moments of the kills of another run
    #[arg(long, value_name = "N")]
    seed: Option<u64>,

    /// How many orders may be in the works at once: fewer make each faster, more make the shop faster
    #[arg(long, value_name = "N", default_value_t = shop::PLACES,
          value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    open: u64,

    /// Keep the temporary store
    #[arg(long)]
    keep: bool,

    /// Only prove what is in the store
    #[arg(long, hide = true, conflicts_with_all = ["crash", "at_work"])]
    prove: bool,

    /// Only work, as a process that may be killed
    #[arg(long, hide = true, conflicts_with = "crash")]
    at_work: bool,
}

/// Runs the command.
///
/// # Errors
/// When the store is none of the demo's, or cannot be used; or when an order was given up.
pub async fn run(args: Args, global: &Global) -> Result<ExitCode> {
    let mut home = Home::new(global.store.as_deref())?;
    if args.prove {
        let proof = prove::prove(&home).await?;
        report::proof(&proof, global.json)?;
        return Ok(if proof.is_balanced() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    if args.at_work {
        let (store, customers) = home.open(None, None).await?;
        shop::run(store, customers, args.open, watch::channel(Seen::default()).0).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let ended = tokio::select! {
        report = demo(&args, &home) => report,
        () = tidings::signals() => {
            if home.is_temporary() && !args.keep {
                eprintln!("stopped; the temporary store is removed");
            } else {
                let url = home.url.clone();
                home.keep();
                eprintln!("stopped; `tidings demo --store {url}` goes on from there");
            }
            return Ok(ExitCode::from(STOPPED));
        }
    };
    let kept = args.keep.then(|| home.keep()).flatten();
    let report = ended?;
    report.print(global.json, home.is_temporary(), kept.as_deref())?;
    Ok(if report.balanced { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The whole demo: work, watched; then the proof.
async fn demo(args: &Args, home: &Home) -> Result<Report> {
    let (store, customers) = home.open(args.orders, args.seed).await?;
    let shop = customers.shop.clone();
    let mut live = Live::new(&shop, home, args.crash.then_some(args.kills));
    let work = if args.crash {
        store.close().await?;
        crash::run(home, &customers, args.kills, args.open, &mut live).await?
    } else {
        watched(store, customers, args.open, &mut live).await?
    };
    live.finish();
    let proof = fresh_proof(home)?;
    Ok(Report::new(&shop, work, proof, home))
}

/// Runs the shop in this process and shows how it goes.
async fn watched(store: AnyStore, customers: Customers, open: u64, live: &mut Live) -> Result<Work> {
    let (tell, mut seen) = watch::channel(Seen::default());
    let mut running = std::pin::pin!(shop::run(store, customers, open, tell));
    let mut tick = tokio::time::interval(live::TICK);
    let run = loop {
        tokio::select! {
            run = &mut running => break run?,
            _ = tick.tick() => live.show(&seen.borrow_and_update()),
        }
    };
    live.show(&run.after);
    Ok(Work::of(run))
}

/// Has another process look at the store: this binary, started anew.
fn fresh_proof(home: &Home) -> Result<Proof> {
    let output = itself(home)?.args(["--prove", "--json"]).stderr(Stdio::inherit()).output()?;
    match serde_json::from_slice(&output.stdout) {
        Ok(proof) => Ok(proof),
        Err(_) => bail!("the prover ended with {} and said nothing that could be read", output.status),
    }
}

/// This binary's demo, to be started as another process on the same store.
fn itself(home: &Home) -> Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("finding this program")?);
    command.args(["demo", "--store", &home.url]).stdin(Stdio::null());
    Ok(command)
}
