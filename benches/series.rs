//! Runs that alternate, and what is said of them: medians, and ratios to the floor of the same round.
//! Whatever the machine does meanwhile happens to all of them.

/// Figures of one subject, one for each round.
#[derive(Clone, Debug, Default)]
pub struct Series(pub Vec<f64>);

impl Series {
    pub fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => f64::NAN,
            odd if odd % 2 == 1 => sorted[odd / 2],
            even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2.0,
        }
    }

    pub fn min(&self) -> f64 {
        self.0.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub fn max(&self) -> f64 {
        self.0.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    /// Round by round; a round that either lacks is left out.
    pub fn over(&self, other: &Series) -> Series {
        Series(self.0.iter().zip(&other.0).map(|(own, others)| own / others).collect())
    }

    /// As it stands in a table: the median, the least and the most.
    pub fn as_ratio(&self) -> String {
        format!("**{:.2}** ({:.2}–{:.2})", self.median(), self.min(), self.max())
    }
}
