//! Medians and quartiles.

/// What is told of a series of figures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// The smallest.
    pub min: f64,
    /// A quarter of them are at most this.
    pub lower: f64,
    /// Half of them are at most this.
    pub median: f64,
    /// Three quarters of them are at most this.
    pub upper: f64,
    /// The largest.
    pub max: f64,
}

impl Summary {
    /// Of a series; nothing if it is empty.
    pub fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let [lower, median, upper] = [0.25, 0.5, 0.75].map(|part| quantile(&sorted, part));
        Some(Self { min, lower, median, upper, max })
    }

    /// The interquartile range.
    pub fn range(&self) -> f64 {
        self.upper - self.lower
    }

    /// The interquartile range as a part of the median.
    pub fn spread(&self) -> f64 {
        if self.median == 0.0 && self.range() == 0.0 { 0.0 } else { self.range() / self.median.abs() }
    }
}

/// Linear between the two nearest figures.
fn quantile(sorted: &[f64], part: f64) -> f64 {
    let at = part * sorted.len().saturating_sub(1) as f64;
    let (below, above) = (at.floor() as usize, at.ceil() as usize);
    match (sorted.get(below), sorted.get(above)) {
        (Some(below), Some(above)) => below + (above - below) * at.fract(),
        _ => f64::NAN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_the_nearest_figures() {
        let summary = Summary::of(&[4.0, 1.0, 3.0, 2.0]).expect("four");
        assert_eq!(
            (summary.min, summary.lower, summary.median, summary.upper, summary.max),
            (1.0, 1.75, 2.5, 3.25, 4.0)
        );
        assert_eq!((summary.range(), summary.spread()), (1.5, 0.6));
    }

    #[test]
    fn a_single_figure_has_no_spread_and_none_has_no_summary() {
        let summary = Summary::of(&[0.0]).expect("one");
        assert_eq!((summary.median, summary.spread()), (0.0, 0.0));
        assert_eq!(Summary::of(&[]), None);
    }
}
