//! What is shown while the shop is at work: a block that moves on a terminal, a line now and then elsewhere.

use std::{
    collections::VecDeque,
    io::IsTerminal as _,
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{events::ShopOpened, figures::span, follow::Seen, home::Home};
use crate::output::{number::count, remark};

/// How often the block is drawn.
pub const TICK: Duration = Duration::from_millis(100);

/// How often there is a line where there is no terminal.
const LINE: Duration = Duration::from_secs(1);

/// Over which time a rate is taken.
const WINDOW: Duration = Duration::from_secs(1);

/// The live figures.
pub struct Live {
    orders: u64,
    block: Option<Block>,
    samples: VecDeque<(Instant, Seen)>,
    line: Instant,
    ended: bool,
}

struct Block {
    all: MultiProgress,
    bars: Vec<ProgressBar>,
    foot: ProgressBar,
}

impl Live {
    /// Says what will be done, on standard error.
    pub fn new(shop: &ShopOpened, home: &Home, kills: Option<u64>) -> Self {
        let orders = shop.orders;
        let killed = kills.map_or(String::new(), |kills| format!(", killed {kills} times"));
        remark(format_args!("{} orders through a shop of four modules{killed}", count(orders)));
        let temporary = if home.is_temporary() { " (temporary)" } else { "" };
        remark(format_args!("store {}{temporary}, seed {}", home.url, shop.seed));
        let block = std::io::stderr().is_terminal().then(|| Block::new(orders));
        Self { orders, block, samples: VecDeque::new(), line: Instant::now(), ended: false }
    }

    /// Shows how far it has come.
    pub fn show(&mut self, seen: &Seen) {
        let now = Instant::now();
        let old = |at: Instant| now.duration_since(at) > WINDOW;
        while self.samples.len() > 1 && self.samples.get(1).is_some_and(|(at, _)| old(*at)) {
            self.samples.pop_front();
        }
        self.samples.push_back((now, seen.clone()));
        let Some((at, before)) = self.samples.front() else { return };
        let past = now.duration_since(*at).as_secs_f64();
        let rate =
            |now: u64, before: u64| if past > 0.0 { (now - before.min(now)) as f64 / past } else { 0.0 };
        let (p50, p99) = (seen.latency.quantile(0.5), seen.latency.quantile(0.99));
        if let Some(block) = &self.block {
            let rows = [
                (seen.placed, before.placed),
                (seen.reserved, before.reserved),
                (seen.paid, before.paid),
                (seen.shipped, before.shipped),
                (seen.ended, before.ended),
            ];
            for (bar, (now, before)) in block.bars.iter().zip(rows) {
                bar.set_position(now);
                bar.set_message(format!("{:>8}/s", count(rate(now, before) as u64)));
            }
            block.foot.set_message(format!(
                "{} events, {}/s; an order takes {}, 1 in 100 over {}",
                count(seen.events),
                count(rate(seen.events, before.events) as u64),
                span(p50),
                span(p99)
            ));
        } else if !self.ended && (now.duration_since(self.line) >= LINE || seen.ended == self.orders) {
            (self.line, self.ended) = (now, seen.ended == self.orders);
            remark(format_args!(
                "{} placed, {} ended of {} orders; {} orders/s, {} events/s; p50 {}, p99 {}",
                count(seen.placed),
                count(seen.ended),
                count(self.orders),
                count(rate(seen.ended, before.ended) as u64),
                count(rate(seen.events, before.events) as u64),
                span(p50),
                span(p99)
            ));
        }
    }

    /// Says something beside the figures.
    pub fn note(&self, text: &str) {
        match &self.block {
            // Where the block cannot be drawn any more there is nothing to be done about it.
            Some(block) => drop(block.all.println(text)),
            None => remark(text),
        }
    }

    /// Takes the block away; what comes now is the result.
    pub fn finish(&self) {
        if let Some(block) = &self.block {
            drop(block.all.clear());
        }
    }
}

impl Block {
    fn new(orders: u64) -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        let style = |template: &str| {
            let style = ProgressStyle::with_template(template);
            style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("━╸─")
        };
        let bars = ["placed", "reserved", "paid", "shipped", "ended"].map(|name| {
            let bar = all.add(ProgressBar::new(orders));
            let colour = if name == "ended" { "green" } else { "cyan" };
            bar.set_style(style(&format!("  {{prefix:9}}{{bar:38.{colour}/238}} {{human_pos:>10}} {{msg}}")));
            bar.set_prefix(name);
            bar
        });
        let foot = all.add(ProgressBar::new_spinner());
        foot.set_style(style("  {msg}"));
        Self { all, bars: bars.into(), foot }
    }
}
