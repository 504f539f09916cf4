//! `tidings explain`: who gets an event, where, in what order, under which policy and promise, and why.
//!
//! It reads what applications have written into the store when they started. What is promised where is said in
//! [`promise`]; which names are near to one nobody knows, in [`near`].

mod near;
mod promise;

pub use near::hint;

use std::{collections::BTreeSet, io::Write, process::ExitCode};

use serde::Serialize;
use tidings::{
    Defaults, Model, ModelBatches, ModelHandler, ModelPlace, Pattern, Policy, buffered::PoolConfig,
};

use crate::{
    global::Global,
    output::{
        self,
        redact::models,
        table::{facts, visible},
    },
};

/// Names that are only in the log and are known too.
const NAMES_MAX: usize = 10_000;

/// Say who gets an event, or what a handler gets: where, in what order, under which policy and promise, and why
///
/// A handler is named by its durable subscription, by its module and its name there, or by the last part of that: what
/// its author calls it, else its function.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name of an event or a handler
    #[arg(value_name = "EVENT|HANDLER")]
    name: String,
}

/// A way from an event to a handler.
#[derive(Debug, Serialize)]
struct Edge<'a> {
    application: &'a str,
    module: &'a str,
    handler: String,
    function: &'a str,
    place: &'a ModelPlace,
    /// The settings of its pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pool: Option<&'a PoolConfig>,
    /// The patterns that select the event; for a handler all of its patterns.
    selected_by: Vec<&'a str>,
    /// The events it gets, of those that are known; for a handler only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    events: Vec<&'a str>,
    /// When its batches are complete, where it takes batches.
    #[serde(skip_serializing_if = "Option::is_none")]
    batches: Option<&'a ModelBatches>,
    /// What it does instead of giving up.
    fallback: bool,
    /// Its policy, with the defaults of its place.
    policy: Policy,
    /// The same in a line.
    policy_line: String,
    /// What is promised.
    promise: String,
    /// Whether it was added while the application ran.
    added: bool,
    #[serde(skip)]
    said: &'a ModelHandler,
}

impl<'a> Edge<'a> {
    fn of(model: &'a Model, module: &'a str, handler: &'a ModelHandler) -> Self {
        let (defaults, pool) = match &handler.place {
            ModelPlace::Durable { .. } => (Defaults::durable(), None),
            ModelPlace::Buffered { pool, .. } => (Defaults::buffered(), model.pools.get(pool)),
            ModelPlace::Bus => (Defaults::buffered(), None),
        };
        let policy = handler.policy.clone().resolve(&defaults);
        Self {
            application: &model.name,
            module,
            handler: handler.name(module),
            function: &handler.function,
            place: &handler.place,
            pool,
            selected_by: handler.patterns.iter().map(String::as_str).collect(),
            events: Vec::new(),
            batches: handler.batches.as_ref(),
            fallback: handler.fallback,
            policy_line: policy.to_string(),
            policy,
            promise: promise::of(&handler.place, pool, handler.batches.is_some()),
            added: handler.added,
            said: handler,
        }
    }

    fn is_called(&self, name: &str) -> bool {
        self.handler == name || self.said.is_called(name)
    }

    fn print(&self, out: &mut impl Write, number: usize) -> std::io::Result<()> {
        writeln!(out, "\n{number}. {}", visible(&self.handler))?;
        let quoted = |names: &[&str]| names.join(", ");
        let mut lines = vec![
            ("   where", promise::place(self.place, self.pool)),
            ("   why", format!("it selects {}", quoted(&self.selected_by))),
            ("   policy", self.policy_line.clone()),
            ("   promise", self.promise.clone()),
            ("   function", format!("{}, module {} of {}", self.function, self.module, self.application)),
        ];
        if self.added {
            lines.push(("   since", "added while the application ran".to_owned()));
        }
        if self.fallback {
            lines.insert(3, ("   fallback", "stands in instead of giving up".to_owned()));
        }
        if !self.events.is_empty() {
            lines.insert(2, ("   gets", quoted(&self.events)));
        }
        if let Some(batches) = self.batches {
            lines.insert(1, ("   batches", promise::batches(batches)));
        }
        facts(out, lines)
    }
}

/// Runs it.
pub async fn run(args: Args, global: &Global) -> anyhow::Result<ExitCode> {
    let store = global.reading().await?;
    let models = models(&store).await?;
    let observed: Vec<String> =
        store.stats().await?.names.into_iter().take(NAMES_MAX).map(|(name, _)| name.to_string()).collect();
    let mut events: BTreeSet<&str> = observed.iter().map(String::as_str).collect();
    for model in &models {
        events.extend(model.events.iter().map(|event| event.name.as_str()));
        for module in &model.modules {
            events.extend(module.publishes.iter().map(String::as_str));
            let patterns = module.handlers.iter().flat_map(|handler| &handler.patterns);
            events.extend(patterns.filter(|pattern| !pattern.contains('*')).map(String::as_str));
        }
    }
    let all: Vec<Edge<'_>> = models
        .iter()
        .flat_map(|model| {
            let modules = model.modules.iter();
            modules.flat_map(move |module| {
                module.handlers.iter().map(move |handler| Edge::of(model, &module.name, handler))
            })
        })
        .collect();

    let name = args.name.as_str();
    let mut out = output::out();
    if events.contains(name) {
        let edges = selecting(all, name)?;
        if !global.json {
            about_event(&mut out, &models, name, edges.len())?;
        }
        print(&mut out, &edges, global.json)?;
    } else {
        let handlers: Vec<String> = all.iter().map(|edge| edge.handler.clone()).collect();
        let mut edges: Vec<_> = all.into_iter().filter(|edge| edge.is_called(name)).collect();
        if edges.is_empty() {
            let known = events.iter().copied().chain(handlers.iter().map(String::as_str));
            anyhow::bail!(
                "there is no event and no handler {name:?} in {}{}",
                global.url(),
                hint(name, known)
            );
        }
        for edge in &mut edges {
            let patterns: Vec<_> =
                edge.selected_by.iter().filter_map(|pattern| Pattern::parse(pattern).ok()).collect();
            let gets = |event: &&str| patterns.iter().any(|pattern| pattern.matches(event));
            edge.events = events.iter().copied().filter(gets).collect();
        }
        print(&mut out, &edges, global.json)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

/// The handlers an event goes to, in the order in which it comes to them.
fn selecting<'a>(all: Vec<Edge<'a>>, event: &str) -> anyhow::Result<Vec<Edge<'a>>> {
    let mut edges = Vec::new();
    for mut edge in all {
        let mut why = Vec::new();
        for pattern in &edge.selected_by {
            if Pattern::parse(pattern)?.matches(event) {
                why.push(*pattern);
            }
        }
        if !why.is_empty() {
            edge.selected_by = why;
            edges.push(edge);
        }
    }
    edges.sort_by_key(|edge| match edge.place {
        ModelPlace::Buffered { .. } => 0,
        ModelPlace::Bus => 1,
        ModelPlace::Durable { .. } => 2,
    });
    Ok(edges)
}

fn about_event(out: &mut impl Write, models: &[Model], name: &str, handlers: usize) -> std::io::Result<()> {
    let versions: BTreeSet<_> = models
        .iter()
        .flat_map(|model| &model.events)
        .filter(|event| event.name == name)
        .map(|event| event.version.to_string())
        .collect();
    let publishers: Vec<_> = models
        .iter()
        .flat_map(|model| model.modules.iter().map(move |module| (model, module)))
        .filter(|(_, module)| module.publishes.iter().any(|published| published == name))
        .map(|(model, module)| format!("module {} of {}", module.name, model.name))
        .collect();
    let mut lines = vec![("event", name.to_owned())];
    if !versions.is_empty() {
        lines.push(("versions", versions.into_iter().collect::<Vec<_>>().join(", ")));
    }
    if !publishers.is_empty() {
        lines.push(("published by", publishers.join(", ")));
    }
    let order = match handlers {
        0 => "no handler selects it: it is only in the log",
        _ => {
            "room in the queues of pools; the log, on the disk; then pools, the bus, and durable subscriptions, each \
             for itself"
        }
    };
    lines.push(("order", order.to_owned()));
    facts(out, lines)
}

fn print(out: &mut impl Write, edges: &[Edge<'_>], json: bool) -> std::io::Result<()> {
    for (nth, edge) in edges.iter().enumerate() {
        if json {
            output::json_line(out, edge)?;
        } else {
            edge.print(out, nth + 1)?;
        }
    }
    Ok(())
}
