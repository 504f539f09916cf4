//! Progress of long work: on standard error, and only if that is a terminal.

use std::{io::IsTerminal as _, time::Duration};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is counted.
#[derive(Debug, Clone, Copy)]
pub enum Unit {
    /// Things, such as events.
    Things,
    /// Bytes.
    Bytes,
}

/// How often a spinner moves by itself.
const TICK: Duration = Duration::from_millis(200);

/// A bar for work of known length, a spinner for other work; invisible where nobody looks.
pub fn bar(what: &'static str, length: Option<u64>, unit: Unit) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::with_draw_target(length, ProgressDrawTarget::hidden());
    }
    let (place, all) = match unit {
        Unit::Things => ("{human_pos}", "{human_len}"),
        Unit::Bytes => ("{bytes}", "{total_bytes}"),
    };
    let template = match length {
        Some(_) => format!("{what} {{wide_bar}} {place} of {all} {{msg}} {{eta}} left"),
        None => format!("{what} {{spinner}} {place} {{msg}} {{elapsed}}"),
    };
    let style = ProgressStyle::with_template(&template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(length, ProgressDrawTarget::stderr_with_hz(10)).with_style(style);
    if length.is_none() {
        bar.enable_steady_tick(TICK);
    }
    bar
}

/// Moves a bar as the store port tells it: so much of so much.
pub fn moving(bar: &ProgressBar) -> impl Fn(u64, u64) + Send + Sync + '_ {
    |done, all| {
        bar.set_length(all);
        bar.set_position(done);
    }
}
