//! What the views say, as tables for people and as one object for scripts.

use std::{
    collections::BTreeMap,
    io::{Write as _, stdout},
};

use anyhow::Result;
use serde::Serialize;
use tidings::App;

use crate::views::{ACTIVITIES, APPLICATIONS, Application, Outcome};

/// How many of those that waited longest are shown.
const LONGEST: usize = 10;

/// The steps of an activity, in the order of a work item's life.
const STEPS: [&str; 3] = ["SCHEDULE", "START", "COMPLETE"];

/// The answer.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Events handled.
    events: u64,
    /// Applications seen.
    applications: u64,
    /// Events by activity and lifecycle step.
    activities: BTreeMap<String, BTreeMap<String, u64>>,
    /// Applications by their outcome.
    outcomes: Vec<Group>,
    /// Applications by their last `A_` state.
    states: BTreeMap<String, u64>,
    /// Those that waited longest.
    longest: Vec<Waiting>,
}

/// Applications with the same outcome.
#[derive(Debug, Serialize)]
struct Group {
    outcome: Outcome,
    applications: u64,
    /// The amount asked for, in all.
    euros: u64,
    /// Half of them took no longer, from the first event to the last.
    median_days: f64,
}

/// An application that waited.
#[derive(Debug, Serialize)]
struct Waiting {
    application: String,
    days: f64,
    after: String,
    outcome: Outcome,
    euros: u64,
    state: String,
}

impl Report {
    /// Reads the views.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn of(app: &App) -> Result<Self> {
        let activities = app.view(ACTIVITIES)?.list::<BTreeMap<String, u64>>("").await?;
        let activities: BTreeMap<String, _> =
            activities.into_iter().map(|(name, steps)| (name.to_string(), steps)).collect();
        let applications = app.view(APPLICATIONS)?;
        let (mut outcomes, mut states, mut all) = (Vec::new(), BTreeMap::new(), Vec::new());
        for outcome in [Outcome::Approved, Outcome::Declined, Outcome::Cancelled, Outcome::Open] {
            let found = applications.by::<Application>("outcome", name(outcome)).await?;
            let mut took: Vec<i64> = found.iter().map(|(_, loan)| loan.last - loan.first).collect();
            took.sort_unstable();
            outcomes.push(Group {
                outcome,
                applications: found.len() as u64,
                euros: found.iter().map(|(_, loan)| loan.amount).sum(),
                median_days: days(took.get(took.len() / 2).copied().unwrap_or(0)),
            });
            for (_, loan) in &found {
                *states.entry(loan.state.clone()).or_default() += 1;
            }
            all.extend(found);
        }
        // The longest first; the same time would be a matter of the number.
        all.sort_by(|(a, one), (b, other)| other.waited.cmp(&one.waited).then_with(|| a.cmp(b)));
        let longest = all.iter().take(LONGEST).map(|(id, loan)| Waiting {
            application: id.to_string(),
            days: days(loan.waited),
            after: loan.waited_after.clone(),
            outcome: loan.outcome,
            euros: loan.amount,
            state: loan.state.clone(),
        });
        Ok(Self {
            events: activities.values().flat_map(BTreeMap::values).sum(),
            applications: applications.count().await?,
            activities,
            outcomes,
            states,
            longest: longest.collect(),
        })
    }

    /// Prints it.
    ///
    /// # Errors
    /// When nobody can be told.
    pub fn print(&self, json: bool) -> Result<()> {
        let mut out = stdout().lock();
        if json {
            serde_json::to_writer(&mut out, self)?;
            writeln!(out)?;
            return Ok(());
        }
        writeln!(out, "{} events in {} applications", count(self.events), count(self.applications))?;

        writeln!(out, "\n{:<32}{:>10}{:>10}{:>10}", "activity", "schedule", "start", "complete")?;
        for (activity, steps) in &self.activities {
            let [schedule, start, complete] =
                STEPS.map(|step| steps.get(step).map_or_else(|| "-".to_owned(), |number| count(*number)));
            writeln!(out, "{activity:<32}{schedule:>10}{start:>10}{complete:>10}")?;
        }

        writeln!(out, "\n{:<12}{:>14}{:>16}{:>14}", "outcome", "applications", "euros", "median days")?;
        for Group { outcome, applications, euros, median_days } in &self.outcomes {
            let (applications, euros) = (count(*applications), count(*euros));
            writeln!(out, "{:<12}{applications:>14}{euros:>16}{median_days:>14.1}", name(*outcome))?;
        }

        writeln!(out, "\n{:<24}{:>14}", "state", "applications")?;
        for (state, applications) in &self.states {
            writeln!(out, "{state:<24}{:>14}", count(*applications))?;
        }

        writeln!(out, "\nthe longest without an event")?;
        writeln!(out, "{:<12}{:>7}  {:<31}{:<11}{:>9}", "application", "days", "after", "outcome", "euros")?;
        for Waiting { application, days, after, outcome, euros, .. } in &self.longest {
            let euros = count(*euros);
            writeln!(out, "{application:<12}{days:>7.1}  {after:<31}{:<11}{euros:>9}", name(*outcome))?;
        }
        Ok(())
    }
}

fn name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Approved => "approved",
        Outcome::Declined => "declined",
        Outcome::Cancelled => "cancelled",
        Outcome::Open => "open",
    }
}

fn days(micros: i64) -> f64 {
    (micros as f64 / 86_400e6 * 1_000.0).round() / 1_000.0
}

/// A number in groups of three.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
