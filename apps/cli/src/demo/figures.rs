//! Durations counted in bounded memory, and numbers as people read them.

use std::time::Duration;

use crate::output::number::count;

/// Steps within a power of two: the error of a quantile is below a sixteenth.
const STEPS: u64 = 16;

/// A histogram of durations, in microseconds, whose steps grow with the value.
#[derive(Debug, Clone, Default)]
pub struct Durations {
    counts: Vec<u64>,
    all: u64,
}

impl Durations {
    /// Counts one.
    pub fn record(&mut self, span: Duration) {
        let at = Self::step(u64::try_from(span.as_micros()).unwrap_or(u64::MAX));
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
        self.all += 1;
    }

    /// The value that this share of all do not exceed; zero when there are none.
    pub fn quantile(&self, share: f64) -> Duration {
        let wanted = (self.all as f64 * share).ceil().max(1.0) as u64;
        let mut sum = 0;
        let found = self.counts.iter().position(|count| {
            sum += count;
            sum >= wanted
        });
        Duration::from_micros(found.map_or(0, Self::end))
    }

    fn step(micros: u64) -> usize {
        if micros < STEPS {
            return micros as usize;
        }
        let power = u64::from(micros.ilog2()) - u64::from(STEPS.ilog2());
        (power * STEPS + (micros >> power)) as usize
    }

    /// The largest value of a step.
    fn end(step: usize) -> u64 {
        let step = step as u64;
        if step < 2 * STEPS {
            return step;
        }
        let power = step / STEPS - 1;
        ((step - power * STEPS + 1) << power) - 1
    }
}

/// Cents as money: `1,234.50`.
pub fn money(cents: u64) -> String {
    format!("{}.{:02}", count(cents / 100), cents % 100)
}

/// A duration with three digits or so: `870 µs`, `12.3 ms`, `4.56 s`.
pub fn span(span: Duration) -> String {
    match span.as_secs_f64() {
        s if s < 0.001 => format!("{:.0} µs", s * 1e6),
        s if s < 0.1 => format!("{:.1} ms", s * 1e3),
        s if s < 1.0 => format!("{:.0} ms", s * 1e3),
        s if s < 100.0 => format!("{s:.2} s"),
        s => format!("{s:.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_a_sixteenth_and_never_too_low() {
        let mut durations = Durations::default();
        assert_eq!(durations.quantile(0.5), Duration::ZERO);
        for micros in 1..=100_000 {
            durations.record(Duration::from_micros(micros));
        }
        for (share, exact) in [(0.0001, 10.0), (0.5, 50_000.0), (0.99, 99_000.0), (1.0, 100_000.0)] {
            let found = durations.quantile(share).as_secs_f64() * 1e6;
            assert!(found >= exact && found <= exact * 17.0 / 16.0, "{share}: {found}");
        }
    }

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!([5, 123_450].map(money), ["0.05", "1,234.50"]);
        let spans = [870, 12_345, 250_000, 4_560_000].map(|micros| span(Duration::from_micros(micros)));
        assert_eq!(spans, ["870 µs", "12.3 ms", "250 ms", "4.56 s"]);
    }
}
