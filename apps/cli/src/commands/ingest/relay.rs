//! What keeps commits in the order of the file while several are on their way.
//!
//! A commit can fail, because an event in it is known already, while the one after it is on its way; then that one must not
//! come first. So each commit takes a row which the one before it has put down, and puts one down itself, as runners hand
//! on a baton: if one falls, those after it fail too, and are tried again in order.

use std::{collections::BTreeMap, time::Duration};

use tidings::{
    Clock as _, Commit, DueChange, DueRow, SystemClock, Tenant, Text, Timestamp, id,
    store::{AnyStore, Tenants},
};

/// The queue of due rows the batons lie in.
pub const QUEUE: &str = "$ingest";

/// A baton this old was left behind by a process that was killed.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 60 * 60);

/// Rows looked at when sweeping.
const SWEEP: usize = 1_000;

/// The baton of one run.
pub struct Relay {
    /// The run.
    pub run: Text,
    next: u64,
}

impl Relay {
    /// A baton of its own.
    pub fn new() -> Self {
        Self { run: id::next(), next: 0 }
    }

    /// Hands the baton on through `commit`; the first runner needs none.
    pub fn pass(&mut self, commit: &mut Commit, first: bool) {
        let queue = Text::from(QUEUE);
        let (old, new) = (self.name(self.next), self.name(self.next + 1));
        self.next += 1;
        commit.due.push(if first {
            DueChange::Drop { queue: queue.clone(), id: old }
        } else {
            DueChange::Take { queue: queue.clone(), id: old }
        });
        let due = SystemClock.now();
        commit.due.push(DueChange::Put(DueRow { queue, id: new, due, body: Vec::new().into() }));
    }

    fn name(&self, number: u64) -> Text {
        Text::from(format!("{}/{number}", self.run))
    }
}

/// Removes what this run, and others that were killed, have left.
pub async fn sweep(store: &AnyStore, run: &str) -> Result<(), tidings::StoreError> {
    let old = SystemClock.now().as_micros() - LEFT_BEHIND.as_micros() as i64;
    let mut left: BTreeMap<Tenant, Vec<DueChange>> = BTreeMap::new();
    for (tenant, row) in store.due(&Tenants::All, QUEUE, Timestamp::MAX, SWEEP).await? {
        if row.id.starts_with(run) || row.due.as_micros() < old {
            left.entry(tenant).or_default().push(DueChange::Drop { queue: row.queue, id: row.id });
        }
    }
    for (tenant, due) in left {
        store.apply(Commit { tenant, due, ..Commit::default() }).await?;
    }
    Ok(())
}
