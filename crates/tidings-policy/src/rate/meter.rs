//! The arithmetic of a rate, on numbers.

use std::time::Duration;

use tidings_core::{Rate, RateKind, Timestamp};

/// What one counter keeps.
///
/// Of a bucket (the generic cell rate algorithm): when it will be full again, in nanoseconds. Of a window: when it
/// began, and how many have started in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cell {
    pub(super) at: i64,
    pub(super) count: u32,
}

/// A rate, ready to count.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    pub(super) kind: RateKind,
    pub(super) permits: u32,
    /// The span in nanoseconds.
    pub(super) per: i64,
    /// Of a bucket: the time in which one token comes, and in which all do.
    each: i64,
    full: i64,
}

impl Meter {
    pub(super) fn new(rate: &Rate) -> Self {
        let per = i64::try_from(rate.per.as_nanos()).unwrap_or(i64::MAX).max(1);
        let permits = rate.permits.max(1);
        // Rounded up: rather one too few than one too many.
        let each = (per - 1) / i64::from(permits) + 1;
        let burst = rate.burst.unwrap_or(permits).max(1);
        Self { kind: rate.kind, permits, per, each, full: each.saturating_mul(i64::from(burst)) }
    }

    /// The bucket after one more has started `now`, if it may; else how long until it may. A start may lie up to
    /// `ahead` in the future.
    ///
    /// No bucket is emptier than empty, but one whose clock was set back: that one counts as empty.
    #[inline]
    pub(super) fn fill(&self, at: i64, now: i64, ahead: i64) -> Result<(i64, i64), i64> {
        let most = self.full.saturating_add(ahead);
        let at = at.min(now.saturating_add(most)).max(now).saturating_add(self.each);
        let over = at - now - self.full;
        if over <= ahead { Ok((at, over.max(0))) } else { Err(over - ahead) }
    }

    /// One more in the cell, if it may; else how long until it may.
    pub(super) fn take(&self, cell: &mut Cell, now: i64) -> Result<(), Duration> {
        match self.kind {
            RateKind::Bucket => {
                cell.at = self.fill(cell.at, now, 0).map_err(span)?.0;
                Ok(())
            }
            RateKind::Window => {
                let began = self.window(now);
                if cell.at != began {
                    *cell = Cell { at: began, count: 0 };
                }
                if cell.count >= self.permits {
                    return Err(span(began.saturating_add(self.per) - now));
                }
                cell.count += 1;
                Ok(())
            }
        }
    }

    /// When the window that holds `now` began. Windows are aligned, so that processes agree on them.
    pub(super) fn window(&self, now: i64) -> i64 {
        now - now.rem_euclid(self.per)
    }

    /// Whether forgetting the cell changes nothing.
    pub(super) fn is_idle(&self, cell: &Cell, now: i64) -> bool {
        match self.kind {
            RateKind::Bucket => cell.at <= now,
            RateKind::Window => cell.at != self.window(now),
        }
    }

    /// How many may start now.
    pub(super) fn left(&self, cell: &Cell, now: i64) -> u32 {
        match self.kind {
            RateKind::Bucket => {
                let free = self.full - cell.at.saturating_sub(now).clamp(0, self.full);
                u32::try_from(free / self.each).unwrap_or(u32::MAX)
            }
            RateKind::Window if cell.at == self.window(now) => self.permits - cell.count.min(self.permits),
            RateKind::Window => self.permits,
        }
    }
}

/// Nanoseconds since 1970; good until the year 2262.
pub(super) fn nanos(at: Timestamp) -> i64 {
    at.as_micros().saturating_mul(1_000)
}

/// Nanoseconds as a span, rounded up to microseconds, the step of clocks: who waits for it does not come too early.
pub(super) fn span(nanos: i64) -> Duration {
    Duration::from_micros(u64::try_from(nanos).unwrap_or(0).div_ceil(1_000))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn in_no_span_start_more_than_the_burst_and_what_came_meanwhile(
            permits in 1_u32..50,
            burst in 1_u32..20,
            steps in proptest::collection::vec(0_i64..200_000_000, 1..200),
        ) {
            let meter = Meter::new(&Rate::per_second(permits).burst(burst));
            let (mut cell, mut now, mut starts) = (Cell::default(), 1_000_000_000_000, Vec::new());
            for step in steps {
                now += step;
                let before = cell;
                match meter.take(&mut cell, now) {
                    Ok(()) => starts.push(now),
                    Err(wait) => {
                        prop_assert_eq!(cell, before, "what is refused takes nothing");
                        let then = now + i64::try_from(wait.as_nanos()).expect("short");
                        prop_assert!(meter.take(&mut cell.clone(), then).is_ok(), "it may after the wait it was told");
                    }
                }
            }
            for (at, first) in starts.iter().enumerate() {
                for (to, last) in starts.iter().enumerate().skip(at) {
                    let came = f64::from(permits) * (last - first) as f64 / 1e9;
                    prop_assert!((to - at + 1) as f64 <= f64::from(burst) + came + 1e-6);
                }
            }
        }

        #[test]
        fn in_no_window_start_more_than_it_has(
            permits in 1_u32..10,
            steps in proptest::collection::vec(0_i64..300_000_000, 1..200),
        ) {
            let meter = Meter::new(&Rate::per_second(permits).window());
            let (mut cell, mut now) = (Cell::default(), 1_000_000_000_000);
            let mut windows = std::collections::BTreeMap::<i64, u32>::new();
            for step in steps {
                now += step;
                if meter.take(&mut cell, now).is_ok() {
                    *windows.entry(now / 1_000_000_000).or_default() += 1;
                } else {
                    prop_assert_eq!(windows[&(now / 1_000_000_000)], permits, "refused only when it is full");
                }
            }
            prop_assert!(windows.values().all(|count| *count <= permits));
        }
    }

    #[test]
    fn a_clock_that_is_set_back_costs_one_burst_at_most() {
        let meter = Meter::new(&Rate::per_second(10));
        let mut cell = Cell::default();
        assert!(meter.take(&mut cell, 3_600_000_000_000).is_ok());
        let wait = meter.take(&mut cell, 1_000_000_000).expect_err("it counts as empty");
        assert!(wait <= Duration::from_millis(100), "{wait:?}");
    }
}
