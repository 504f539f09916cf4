//! One table: peers, their rounds, and what came of them.

use std::{collections::BTreeMap, fmt::Display};

use anyhow::{Context, Result, ensure};
use indicatif::{ProgressBar, ProgressStyle};

use super::{
    Goal, Job, Summary, Unit,
    goal::Base,
    output::{self, Row},
};

/// One round of a peer. Every closure that answers a figure is one.
pub trait Measure {
    /// Does the work once and answers its figure, in the table's unit.
    ///
    /// # Errors
    /// The work was not done, or not as it should be; the job ends with this.
    fn measure(&mut self) -> Result<f64>;
}

impl<F: FnMut() -> Result<f64>> Measure for F {
    fn measure(&mut self) -> Result<f64> {
        self()
    }
}

/// A subject and its peers, in the making.
#[must_use = "nothing is measured until `run`"]
pub struct Table<'a> {
    job: &'a Job,
    subject: String,
    unit: Unit,
    peers: Vec<Peer<'a>>,
    missing: Vec<String>,
    /// Whether what is said of the peer added last is said of one that is missing.
    speaks_of_missing: bool,
    probe: Option<Probe<'a>>,
}

struct Peer<'a> {
    name: String,
    measure: Box<dyn Measure + 'a>,
    is_reference: bool,
    goals: Vec<Goal>,
    note: Option<String>,
    guarantees: BTreeMap<String, String>,
    figures: Vec<f64>,
}

struct Probe<'a> {
    name: String,
    tolerance: f64,
    measure: Box<dyn Measure + 'a>,
}

impl<'a> Table<'a> {
    pub(super) fn new(job: &'a Job, subject: String, unit: Unit) -> Self {
        Self {
            job,
            subject,
            unit,
            peers: Vec::new(),
            missing: Vec::new(),
            speaks_of_missing: false,
            probe: None,
        }
    }

    /// Adds a peer.
    pub fn peer(mut self, name: impl Into<String>, measure: impl Measure + 'a) -> Self {
        self.speaks_of_missing = false;
        self.peers.push(Peer {
            name: name.into(),
            measure: Box::new(measure),
            is_reference: false,
            goals: Vec::new(),
            note: None,
            guarantees: BTreeMap::new(),
            figures: Vec::new(),
        });
        self
    }

    /// Adds the peer that ratios refer to. Without one there are no ratios.
    pub fn reference(self, name: impl Into<String>, measure: impl Measure + 'a) -> Self {
        self.peer(name, measure).last(|peer| peer.is_reference = true)
    }

    /// A goal of the peer added last; there may be several, against different peers.
    pub fn goal(self, goal: Goal) -> Self {
        self.last(|peer| peer.goals.push(goal))
    }

    /// What a reader has to know of the peer added last.
    pub fn note(self, note: impl Into<String>) -> Self {
        self.last(|peer| peer.note = Some(note.into()))
    }

    /// What the peer added last promises, such as `durable`: `yes`. A figure without its promise compares nothing.
    pub fn guarantee(self, name: impl Into<String>, promise: impl Into<String>) -> Self {
        self.last(|peer| {
            peer.guarantees.insert(name.into(), promise.into());
        })
    }

    /// Says in the place of a peer why it is not there: below the table, and in the report in the note of the reference.
    /// Goals against it are dropped.
    pub fn missing(mut self, name: impl Into<String>, why: impl Display) -> Self {
        let name = name.into();
        self.missing.push(format!("{name} ({why})"));
        self.speaks_of_missing = true;
        for peer in &mut self.peers {
            peer.goals.retain(|goal| *goal.base() != Base::Peer(name.clone()));
        }
        self
    }

    /// Adds a peer if it could be started, and says why not otherwise. `measure` makes a round of what was started.
    pub fn peer_if<T: 'a, M: Measure + 'a>(
        self,
        name: impl Into<String>,
        started: Result<T>,
        measure: impl FnOnce(T) -> M,
    ) -> Self {
        match started {
            Ok(started) => self.peer(name, measure(started)),
            Err(why) => self.missing(name, format!("{why:#}")),
        }
    }

    /// Measures `probe` before and after each round, and repeats a round in which it moved by more than `tolerance` (a
    /// part of the first figure). There are at most as many repetitions as rounds.
    pub fn probe(mut self, name: impl Into<String>, tolerance: f64, probe: impl Measure + 'a) -> Self {
        self.probe = Some(Probe { name: name.into(), tolerance, measure: Box::new(probe) });
        self
    }

    fn last(mut self, change: impl FnOnce(&mut Peer<'a>)) -> Self {
        if let Some(peer) = self.peers.last_mut().filter(|_| !self.speaks_of_missing) {
            change(peer);
        }
        self
    }

    /// Measures, prints the table and writes its lines. Each peer has one round first that does not count.
    ///
    /// # Errors
    /// A peer failed, the probe never held still, a goal names no peer of the table, or the file cannot be written.
    pub fn run(mut self) -> Result<()> {
        self.check()?;
        if !self.missing.is_empty() {
            let note = format!("MISSING in this run: {}", self.missing.join("; "));
            println!("{note}");
            if let Some(peer) = self.peers.iter_mut().max_by_key(|peer| peer.is_reference) {
                peer.note = Some(peer.note.take().map_or(note.clone(), |said| format!("{said}; {note}")));
            }
        }
        let progress = self.progress();
        for peer in &mut self.peers {
            progress.set_message(format!("{}: warming up {}", self.subject, peer.name));
            peer.measure.measure().with_context(|| peer.name.clone())?;
        }
        let (mut kept, mut thrown) = (0, 0);
        while kept < self.job.rounds {
            if self.round(kept, &progress)? {
                kept += 1;
                progress.inc(1);
            } else {
                thrown += 1;
                ensure!(thrown <= self.job.rounds, "{}: {thrown} rounds were thrown away", self.subject);
            }
        }
        progress.finish_and_clear();
        let rows = self.rows();
        output::print(&self.job.name, &self.subject, self.unit, &rows, thrown);
        match &self.job.out {
            Some(file) => output::append(file, &self.job.name, &self.subject, self.unit, &rows),
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<()> {
        ensure!(!self.peers.is_empty(), "{}: no peers", self.subject);
        let references = self.peers.iter().filter(|peer| peer.is_reference).count();
        ensure!(references <= 1, "{}: {references} references", self.subject);
        for goal in self.peers.iter().flat_map(|peer| &peer.goals) {
            let there = match goal.base() {
                Base::Reference => references == 1,
                Base::Peer(name) => self.peers.iter().any(|peer| peer.name == *name),
                Base::Figure => true,
            };
            ensure!(there, "{}: the goal `{goal}` refers to a peer that is not there", self.subject);
        }
        Ok(())
    }

    fn progress(&self) -> ProgressBar {
        let bar = ProgressBar::new(self.job.rounds as u64);
        let style = ProgressStyle::with_template("{bar:20} {pos}/{len} {msg}");
        style.map_or(bar.clone(), |style| bar.with_style(style))
    }

    /// One round; answers whether it counts.
    fn round(&mut self, number: usize, progress: &ProgressBar) -> Result<bool> {
        let before = self.probed()?;
        let mut figures: Vec<(usize, f64)> = Vec::with_capacity(self.peers.len());
        for turn in 0..self.peers.len() {
            let at = (turn + number) % self.peers.len();
            let Some(peer) = self.peers.get_mut(at) else { continue };
            progress.set_message(format!("{}: {}", self.subject, peer.name));
            let figure = peer.measure.measure().with_context(|| peer.name.clone())?;
            ensure!(figure.is_finite() && figure >= 0.0, "{}: {figure} is no figure", peer.name);
            figures.push((at, figure));
        }
        let after = self.probed()?;
        if let (Some(probe), Some(before), Some(after)) = (&self.probe, before, after) {
            let moved = (after - before).abs() / before.abs().max(f64::MIN_POSITIVE);
            if moved > probe.tolerance {
                let (name, before) = (&probe.name, output::shown(before));
                progress
                    .println(format!("thrown away: {name} went from {before} to {}", output::shown(after)));
                return Ok(false);
            }
        }
        for (at, figure) in figures {
            if let Some(peer) = self.peers.get_mut(at) {
                peer.figures.push(figure);
            }
        }
        Ok(true)
    }

    fn probed(&mut self) -> Result<Option<f64>> {
        let Some(probe) = &mut self.probe else { return Ok(None) };
        let figure = probe.measure.measure().with_context(|| probe.name.clone())?;
        Ok(Some(figure))
    }

    fn rows(&self) -> Vec<Row> {
        let named = |name: &str| self.peers.iter().find(|peer| peer.name == name);
        let reference = self.peers.iter().find(|peer| peer.is_reference);
        let row = |peer: &Peer<'_>| {
            let ratio = reference.and_then(|base| ratio(peer, base));
            let verdicts = peer.goals.iter().filter_map(|goal| {
                let summary = match goal.base() {
                    Base::Reference => ratio,
                    Base::Peer(name) => named(name).and_then(|base| self::ratio(peer, base)),
                    Base::Figure => Summary::of(&peer.figures),
                };
                Some((goal.to_string(), goal.verdict(&summary?)))
            });
            Some(Row {
                peer: peer.name.clone(),
                figures: Summary::of(&peer.figures)?,
                ratio,
                verdicts: verdicts.collect(),
                note: peer.note.clone(),
                guarantees: peer.guarantees.clone(),
            })
        };
        self.peers.iter().filter_map(row).collect()
    }
}

/// The figures of one peer, each divided by the other's of the same round.
fn ratio(peer: &Peer<'_>, base: &Peer<'_>) -> Option<Summary> {
    let ratios: Vec<f64> = peer.figures.iter().zip(&base.figures).map(|(one, other)| one / other).collect();
    Summary::of(&ratios)
}
