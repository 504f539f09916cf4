//! How many a second: a bucket of tokens that is filled by the passing of time.

use std::time::Duration;

use parking_lot::Mutex;
use tidings_core::Timestamp;

/// At most so many a second; what was not used within the last second may be caught up with.
#[derive(Debug)]
pub(crate) struct Limit {
    per_second: f64,
    state: Mutex<(f64, Timestamp)>,
}

impl Limit {
    pub fn of(per_second: f64, now: Timestamp) -> Self {
        Self { per_second, state: Mutex::new((per_second.max(1.0), now)) }
    }

    /// Takes `wanted` tokens, or says how long it takes until there are as many.
    pub fn take(&self, wanted: usize, now: Timestamp) -> Result<(), Duration> {
        #[expect(clippy::cast_precision_loss, reason = "handlers of one event are few")]
        let wanted = wanted as f64;
        let full = self.per_second.max(1.0);
        let mut state = self.state.lock();
        let (tokens, last) = *state;
        let tokens = (tokens + now.since(last).as_secs_f64() * self.per_second).min(full);
        let last = last.max(now);
        // More than fit into the bucket are let through when it is full, and paid for afterwards.
        if tokens >= wanted.min(full) {
            *state = (tokens - wanted, last);
            return Ok(());
        }
        *state = (tokens, last);
        Err(Duration::from_secs_f64(((wanted.min(full) - tokens) / self.per_second).clamp(1e-6, 60.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lets_through_what_it_may_and_no_more() {
        let at = |millis| Timestamp::from_millis(millis);
        let limit = Limit::of(10.0, at(0));
        assert!((0..10).all(|_| limit.take(1, at(0)).is_ok()));
        let wait = limit.take(1, at(0)).expect_err("the bucket is empty");
        assert!((0.099..=0.101).contains(&wait.as_secs_f64()), "{wait:?}");
        assert!(limit.take(1, at(100)).is_ok());
        assert!(limit.take(1, at(100)).is_err());
        assert!(limit.take(1, at(50)).is_err(), "a clock that goes back gives nothing");
        let through = (0..1_000).filter(|n| limit.take(1, at(200 + n)).is_ok()).count();
        assert!((9..=11).contains(&through), "{through}");
    }

    #[test]
    fn more_than_the_bucket_holds_is_paid_for_afterwards() {
        let at = |millis| Timestamp::from_millis(millis);
        let limit = Limit::of(2.0, at(0));
        assert!(limit.take(6, at(0)).is_ok());
        assert!(limit.take(1, at(2_000)).is_err());
        assert!(limit.take(1, at(2_600)).is_ok());
    }
}
