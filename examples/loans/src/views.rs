//! The application: one handler that keeps two views.
//!
//! Each event adds one to a number that nobody reads, and changes one document, which stays in memory while its
//! application is busy. So a commit of thousands of events writes a few hundred documents.

use serde::{Deserialize, Serialize};
use tidings::{Cx, Envelope, Handled, Module, OrFail, Policy, Subscribe, View};

/// How often what happened: one document an activity, one number a lifecycle step.
pub const ACTIVITIES: View = View::new("activities");

/// How each application stands, to be listed by its outcome.
pub const APPLICATIONS: View = View::new("applications").indexed(&["outcome"]);

/// What a clerk or the system did.
#[derive(Debug, Deserialize)]
struct Work {
    activity: String,
    lifecycle: String,
    amount_req: Option<String>,
}

/// What became of an application.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The bank said yes.
    Approved,
    /// The bank said no.
    Declined,
    /// The applicant gave up.
    Cancelled,
    /// Nothing yet.
    #[default]
    Open,
}

/// An application.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Application {
    /// Its last `A_` state.
    pub state: String,
    /// What became of it.
    pub outcome: Outcome,
    /// How much was asked for, in euros.
    pub amount: u64,
    /// Its events so far.
    pub events: u64,
    /// When the first one was, in microseconds since 1970.
    pub first: i64,
    /// When the last one was.
    pub last: i64,
    /// The longest time between two of them: how long it waited.
    pub waited: i64,
    /// The activity it waited after.
    pub waited_after: String,
    /// The activity of the last event.
    pub activity: String,
}

/// The module.
pub fn loans() -> Module {
    // Its test kills it again and again: no event is to blame, and none is to be quarantined.
    let policy = Policy::new().quarantine_after(1_000);
    Module::new("loans")
        .on(keep.topic("loan.**").durable("loans").policy(policy))
        .view(ACTIVITIES)
        .view(APPLICATIONS)
}

async fn keep(event: Envelope, cx: Cx) -> Handled {
    let work: Work = serde_json::from_slice(event.payload().permanent()?).permanent()?;
    let at = event.time().permanent()?.at().as_micros();
    cx.view(ACTIVITIES).add(&work.activity, &work.lifecycle, 1);

    let application = event.subject().permanent()?;
    let amount = work.amount_req.as_deref().map(str::parse::<u64>).transpose().permanent()?;
    cx.view(APPLICATIONS).update(application, |loan: &mut Application| loan.goes_on(work, amount, at)).await
}

impl Application {
    fn goes_on(&mut self, work: Work, amount: Option<u64>, at: i64) {
        if self.events == 0 {
            (self.first, self.last) = (at, at);
        }
        if at - self.last > self.waited {
            (self.waited, self.waited_after) = (at - self.last, std::mem::take(&mut self.activity));
        }
        self.events += 1;
        self.last = at;
        self.amount = amount.unwrap_or(self.amount);
        match work.activity.as_str() {
            "A_APPROVED" | "A_REGISTERED" | "A_ACTIVATED" => self.outcome = Outcome::Approved,
            "A_DECLINED" => self.outcome = Outcome::Declined,
            "A_CANCELLED" => self.outcome = Outcome::Cancelled,
            _ => {}
        }
        if work.activity.starts_with("A_") {
            self.state.clone_from(&work.activity);
        }
        self.activity = work.activity;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(steps: &[(&str, i64)]) -> Application {
        let mut loan = Application::default();
        for (activity, at) in steps {
            let work = Work { activity: (*activity).into(), lifecycle: "COMPLETE".into(), amount_req: None };
            loan.goes_on(work, Some(500), *at);
        }
        loan
    }

    #[test]
    fn an_application_remembers_its_longest_silence_and_what_was_before_it() {
        let loan =
            after(&[("A_SUBMITTED", 10), ("W_Nabellen offertes", 15), ("O_SENT", 35), ("A_FINALIZED", 40)]);
        assert_eq!((loan.waited, &*loan.waited_after), (20, "W_Nabellen offertes"));
        assert_eq!((loan.first, loan.last, loan.events, loan.amount), (10, 40, 4, 500));
    }

    #[test]
    fn only_states_of_the_application_move_its_state() {
        let loan = after(&[("A_SUBMITTED", 1), ("A_APPROVED", 2), ("O_ACCEPTED", 3), ("A_ACTIVATED", 4)]);
        assert_eq!((&*loan.state, loan.outcome), ("A_ACTIVATED", Outcome::Approved));
        assert_eq!(after(&[("A_SUBMITTED", 1), ("O_CANCELLED", 2)]).outcome, Outcome::Open);
    }
}
