//! What is said at the end: tables for people, one object for scripts.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write},
    path::Path,
    time::Duration,
};

use anyhow::Result;
use serde::Serialize;
use tidings::Position;

use super::{
    events::ShopOpened,
    figures::span,
    follow::Seen,
    home::Home,
    prove::{Check, Latency, Proof},
    shop::Run,
};
use crate::output::{self, number::count};

/// So many kills are listed.
const KILLS_SHOWN: usize = 10;

/// What this run of the demo did.
pub struct Work {
    /// How long it took.
    pub took: Duration,
    /// What was there before.
    pub before: Seen,
    /// What was there afterwards.
    pub after: Seen,
    /// How often the bank was asked again, where that is known.
    pub retries: Option<u64>,
    /// Where the log ended each time the shop was killed.
    pub kills: Option<Vec<Position>>,
}

impl Work {
    /// Of a run that nobody killed.
    pub fn of(run: Run) -> Self {
        let retries = run.status.iter().map(|one| one.retries).sum();
        Self { took: run.took, before: run.before, after: run.after, retries: Some(retries), kills: None }
    }
}

/// What the demo came to.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Orders placed.
    pub orders: u64,
    /// How many ended how.
    pub outcomes: BTreeMap<String, u64>,
    /// Whether stock, money and orders balance and nothing is left to do.
    pub balanced: bool,
    /// Events in the log.
    pub events: u64,
    /// Commits by which they got there.
    pub commits: u64,
    /// Events a second, over the time of this run.
    pub events_per_second: f64,
    /// Orders a second, from placed to ended, over the time of this run.
    pub orders_per_second: f64,
    /// The time of this run.
    pub seconds: f64,
    /// How long orders took, by the log's own times.
    pub latency_ms: Latency,
    /// How often the bank was asked again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u64>,
    /// Where the log ended each time the shop was killed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kills: Option<Vec<Position>>,
    /// Repeats the run.
    pub seed: u64,
    /// Where the store is, or was.
    pub store: String,
    /// The process that proved it.
    pub prover: u32,
    /// What it checked.
    pub checks: Vec<Check>,
}

impl Report {
    /// From what was done and what was proved.
    pub fn new(shop: &ShopOpened, work: Work, proof: Proof, home: &Home) -> Self {
        let balanced = proof.is_balanced();
        let (mut events, mut ended) =
            (work.after.events - work.before.events, work.after.ended - work.before.ended);
        let mut seconds = work.took.as_secs_f64();
        if ended == 0 {
            // It had been done before: what counts is how long it took then.
            (events, ended, seconds) = (proof.events, proof.orders, proof.seconds);
        }
        let rate = |n: u64| if seconds > 0.0 { (n as f64 / seconds * 10.0).round() / 10.0 } else { 0.0 };
        Self {
            orders: proof.orders,
            outcomes: proof.outcomes,
            balanced,
            events: proof.events,
            commits: proof.commits,
            events_per_second: rate(events),
            orders_per_second: rate(ended),
            seconds: (seconds * 1e3).round() / 1e3,
            latency_ms: proof.latency,
            retries: work.retries,
            kills: work.kills,
            seed: shop.seed,
            store: home.url.clone(),
            prover: proof.process,
            checks: proof.checks,
        }
    }

    /// Prints it, on standard output.
    ///
    /// # Errors
    /// When nobody can be told.
    pub fn print(&self, json: bool, removed: bool, kept: Option<&Path>) -> Result<()> {
        let mut out = output::out();
        if json {
            output::json_line(&mut out, self)?;
            return Ok(out.flush()?);
        }
        let style = Style::of_stdout();
        writeln!(out)?;
        writeln!(out, "{}", style.bold("Outcomes"))?;
        for name in ["shipped", "payment_failed", "out_of_stock", "unfinished"] {
            let Some(number) = self.outcomes.get(name) else { continue };
            let share = *number as f64 * 100.0 / self.orders.max(1) as f64;
            writeln!(out, "  {:<16}{:>12} {share:>8.1} %", name.replace('_', " "), count(*number))?;
        }
        writeln!(out, "  {:<16}{:>12}", "orders", count(self.orders))?;
        writeln!(out)?;
        writeln!(out, "{}", style.bold("Work"))?;
        let per_second = |rate: f64| count(rate.round() as u64);
        writeln!(
            out,
            "  {:.2} s: {} orders/s, {} events/s",
            self.seconds,
            per_second(self.orders_per_second),
            per_second(self.events_per_second)
        )?;
        let Latency { p50, p99, max } = self.latency_ms;
        let ms = |ms: f64| span(Duration::from_secs_f64(ms / 1e3));
        writeln!(out, "  placed to ended: p50 {}, p99 {}, slowest {}", ms(p50), ms(p99), ms(max))?;
        write!(out, "  {} events in {} commits", count(self.events), count(self.commits))?;
        match self.retries {
            Some(retries) => writeln!(out, ", {} calls of the bank retried", count(retries))?,
            None => writeln!(out)?,
        }
        if let Some(kills) = &self.kills {
            writeln!(out, "  killed {} times: {}", kills.len(), percents(kills, self.events))?;
        }
        writeln!(out)?;
        checks(&mut out, style, self.prover, &self.checks)?;
        verdict(&mut out, style, self.balanced)?;
        match kept {
            Some(folder) => writeln!(out, "kept {}", folder.display())?,
            None if removed => writeln!(out, "the temporary store is removed; `--keep` keeps it")?,
            None => {}
        }
        Ok(out.flush()?)
    }
}

/// Where in the log the kills were, as far as a line has room.
fn percents(kills: &[Position], events: u64) -> String {
    let percent = |at: &Position| (at * 100 / events.max(1)).to_string();
    let shown: Vec<String> = kills.iter().take(KILLS_SHOWN).map(percent).collect();
    let more = if kills.len() > KILLS_SHOWN { ", …" } else { "" };
    format!("after {}{more} % of the events", shown.join(", "))
}

/// Prints a proof alone.
///
/// # Errors
/// When nobody can be told.
pub fn proof(proof: &Proof, json: bool) -> Result<()> {
    let mut out = output::out();
    if json {
        output::json_line(&mut out, proof)?;
    } else {
        let style = Style::of_stdout();
        checks(&mut out, style, proof.process, &proof.checks)?;
        verdict(&mut out, style, proof.is_balanced())?;
    }
    Ok(out.flush()?)
}

fn checks(out: &mut impl Write, style: Style, process: u32, checks: &[Check]) -> Result<()> {
    let title = format!("Proof, from the log and the views alone, by process {process}");
    writeln!(out, "{}", style.bold(&title))?;
    for check in checks {
        if check.faults.is_empty() {
            writeln!(out, "  {} {:<13} {}", style.green("✓"), check.name, check.says)?;
            continue;
        }
        let s = if check.faults_all == 1 { "" } else { "s" };
        writeln!(out, "  {} {:<13} {} fault{s}", style.red("✗"), check.name, count(check.faults_all))?;
        for fault in &check.faults {
            writeln!(out, "      {}", output::table::visible(fault))?;
        }
        if check.faults_all > check.faults.len() as u64 {
            writeln!(out, "      …")?;
        }
    }
    Ok(())
}

fn verdict(out: &mut impl Write, style: Style, balanced: bool) -> Result<()> {
    writeln!(out)?;
    if balanced {
        writeln!(
            out,
            "{} stock, money and orders agree exactly, nothing is pending",
            style.green("BALANCED")
        )?;
    } else {
        writeln!(out, "{} see the faults above", style.red("NOT BALANCED"))?;
    }
    Ok(())
}

/// Colours where they can be seen and are wanted.
#[derive(Debug, Clone, Copy)]
struct Style(bool);

impl Style {
    fn of_stdout() -> Self {
        Self(
            std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        )
    }

    fn paint(self, code: &str, text: &str) -> String {
        if self.0 { format!("\u{1b}[{code}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn bold(self, text: &str) -> String {
        self.paint("1", text)
    }

    fn green(self, text: &str) -> String {
        self.paint("32;1", text)
    }

    fn red(self, text: &str) -> String {
        self.paint("31;1", text)
    }
}
