//! Questions made by chance.

use std::time::Duration;

use tidings_core::{DocumentKey, EventQuery, Pattern, Tenant, Text, Timestamp};

use super::dice::{Dice, KEYS, TAGS};
use crate::{
    Direction, DocumentQuery, Filter, Read, Tenants,
    contract::kit::{pattern, tenant},
};

const PATTERNS: [&str; 8] =
    ["**", "order.*", "order.**", "*.renamed", "audit", "order.placed", "**.added", "nothing.*"];

/// The streams a history writes to.
pub(super) const STREAMS: [&str; 6] = ["order-1", "order-2", "user-1", "audit", "order.eu-1", "Order-1"];

/// The documents' ids.
pub(super) const IDS: [&str; 6] = ["d", "d0", "d1", "D1", "e%", "é"];

/// The documents' namespaces.
pub(super) const NAMESPACES: [&str; 3] = ["view", "$own", "View"];

/// The queues of due rows.
pub(super) const QUEUES: [&str; 3] = ["timers", "parked", "Timers"];

/// The owners of leases.
pub(super) const OWNERS: [&str; 3] = ["me", "you", "she"];

/// The values of the field `s` of a document.
pub(super) const STATES: [&str; 3] = ["open", "shut", "1"];

impl Dice {
    pub(super) fn tenant(&mut self) -> Tenant {
        tenant(self.pick(&["", "", "", "acme"]))
    }

    pub(super) fn tenants(&mut self) -> Tenants {
        if self.chance(25) { Tenants::All } else { Tenants::One(self.tenant()) }
    }

    fn patterns(&mut self) -> Vec<Pattern> {
        (0..self.below(3)).map(|_| pattern(self.pick(&PATTERNS))).collect()
    }

    pub(super) fn query(&mut self) -> EventQuery {
        EventQuery {
            names: self.patterns(),
            tags: self.some(&TAGS, 2),
            stream: self.chance(30).then(|| Text::from(self.pick(&STREAMS))),
        }
    }

    fn range(&mut self, now: Timestamp) -> (Timestamp, Timestamp) {
        let at = |seconds: i64| Timestamp::from_micros(now.as_micros() + seconds * 1_000_000);
        let from = self.around(100);
        (at(from), at(from + self.around(60)))
    }

    fn filter(&mut self, now: Timestamp) -> Filter {
        Filter {
            names: if self.chance(40) { self.patterns() } else { Vec::new() },
            category: self.chance(25).then(|| Text::from(self.pick(&["order", "user", "audit", "Order"]))),
            tags: if self.chance(30) { self.some(&TAGS, 2) } else { Vec::new() },
            key: self.chance(20).then(|| Text::from(self.pick(&KEYS))),
            recorded: self.chance(20).then(|| self.range(now)),
            happened: self.chance(20).then(|| self.range(now)),
        }
    }

    pub(super) fn read(&mut self, head: u64, now: Timestamp) -> Read {
        let direction = self.pick(&[Direction::Forward, Direction::Backward]);
        let stream = self.chance(40).then(|| Text::from(self.pick(&STREAMS)));
        let last = if stream.is_some() { head / 5 } else { head };
        let ends = [0, u64::MAX, last, self.below(last + 2), self.below(last + 2)];
        Read {
            tenants: self.tenants(),
            stream,
            from: self.pick(&ends),
            direction,
            filter: if self.chance(60) { self.filter(now) } else { Filter::default() },
            limit: self.pick(&[1, 2, 3, 7, 1_000]),
        }
    }

    pub(super) fn document_key(&mut self) -> DocumentKey {
        DocumentKey::new(self.pick(&NAMESPACES), self.pick(&IDS))
    }

    pub(super) fn document_query(&mut self) -> DocumentQuery {
        let field = self.chance(40).then(|| match self.below(3) {
            0 => (Text::from("n"), Text::from(format!("{}", self.around(3)))),
            _ => (Text::from("s"), Text::from(self.pick(&STATES))),
        });
        DocumentQuery {
            tenant: self.tenant(),
            prefix: Text::from(self.pick(&["", "", "d", "D", "e", "e%"])),
            field,
            after: self.chance(30).then(|| Text::from(self.pick(&IDS))),
            limit: self.pick(&[1, 2, 1_000]),
            ..DocumentQuery::all(self.pick(&NAMESPACES))
        }
    }

    pub(super) fn span(&mut self) -> Duration {
        Duration::from_secs(self.below(30))
    }
}
