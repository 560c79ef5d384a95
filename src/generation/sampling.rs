//! Drawing tokens from their probabilities, the same ones for the same seed.

use tch::{Kind, Tensor};

use crate::weights::splitmix64;
use crate::{Error, Result};

/// A source of tokens that depends on nothing but a seed, the row and the step.
///
/// A draw is the inverse of the cumulative distribution at a number from 0 to below 1 with 52 random bits:
/// splitmix64 at the step, started from splitmix64 at the row, started from the seed. So a row draws the same numbers
/// however many rows there are, on every device and in every version of libtorch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sampler {
    seed: u64,
}

impl Sampler {
    /// The sampler of `seed`.
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// Draws one token per row (`[batch, 1]`, int64) by the softmax of `scores` (`[batch, vocabulary]`).
    ///
    /// # Errors
    /// [`Error::Input`] where the scores of a row give no probabilities.
    pub fn draw(&self, scores: &Tensor, step: usize) -> Result<Tensor> {
        let cumulative = scores.softmax(-1, Kind::Float).cumsum(-1, Kind::Double);
        let total = cumulative.narrow(-1, -1, 1);
        if total.isfinite().all().int64_value(&[]) == 0 {
            let message = "give no probabilities: a score is not a number, or every token has been removed; \
                           `remove_invalid_values` replaces such scores";
            return Err(Error::input("scores", message));
        }
        let uniform: Vec<f64> = (0..scores.size()[0]).map(|row| self.uniform(row as u64, step as u64)).collect();
        let uniform = Tensor::from_slice(&uniform).unsqueeze(-1).to_device(scores.device());
        // A token that adds nothing to the sum before it is never the first to exceed it.
        Ok(cumulative.le_tensor(&(total * uniform)).sum_dim_intlist([-1i64].as_slice(), true, Kind::Int64))
    }

    /// Numbers of their own for the `index`th further purpose of a generation.
    pub(super) fn apart(self, index: u64) -> Self {
        // Rows start from 1, which leaves the last of the numbers.
        Self { seed: splitmix64(self.seed, u64::MAX - index) }
    }

    /// The number of `row` in `step`, from 0 to below 1.
    pub(super) fn uniform(&self, row: u64, step: u64) -> f64 {
        let key = splitmix64(self.seed, row.wrapping_add(1));
        (splitmix64(key, step.wrapping_add(1)) >> 12) as f64 / (1u64 << 52) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROBABILITIES: [f64; 6] = [0.4, 0.0, 0.3, 0.2, 0.09, 0.01];

    fn scores(rows: i64) -> Tensor {
        Tensor::from_slice(&PROBABILITIES).to_kind(Kind::Float).log().repeat([rows, 1])
    }

    /// Pearson's statistic of the counts of 20 000 draws, of `rows` rows in every step.
    fn chi_square(rows: i64, seed: u64) -> f64 {
        let (scores, sampler) = (scores(rows), Sampler::new(seed));
        let steps = 20_000 / rows;
        let mut counts = [0.0; PROBABILITIES.len()];
        for step in 0..steps {
            let drawn = Vec::<i64>::try_from(sampler.draw(&scores, step as usize).unwrap().view(-1)).unwrap();
            drawn.into_iter().for_each(|token| counts[token as usize] += 1.0);
        }
        assert_eq!(counts[1], 0.0, "a token without probability was drawn");
        let expected = PROBABILITIES.map(|p| p * (rows * steps) as f64);
        std::iter::zip(counts, expected).filter(|(_, e)| *e > 0.0).map(|(c, e)| (c - e).powi(2) / e).sum()
    }

    #[test]
    fn draws_have_the_probabilities_over_rows_and_over_steps() {
        // 4 degrees of freedom: above 18.5 in one of 1000 runs, and these runs are always the same.
        for (rows, seed) in [(20_000, 0), (20_000, 1), (200, 2), (20, u64::MAX)] {
            let statistic = chi_square(rows, seed);
            assert!(statistic < 18.5, "{rows} rows, seed {seed}: {statistic}");
        }
    }

    #[test]
    fn neighbouring_draws_do_not_depend_on_each_other() {
        let sampler = Sampler::new(5);
        type Pair = fn(&Sampler, u64) -> (f64, f64);
        let pairs: [Pair; 3] = [
            |s, i| (s.uniform(0, i), s.uniform(0, i + 1)),
            |s, i| (s.uniform(i, 0), s.uniform(i + 1, 0)),
            |s, i| (s.uniform(i, 0), Sampler::new(s.seed + 1).uniform(i, 0)),
        ];
        for pair in pairs {
            let count = 20_000;
            let mut cells = [0.0; 16];
            for (a, b) in (0..count).map(|i| pair(&sampler, i)) {
                cells[(a * 4.0) as usize * 4 + (b * 4.0) as usize] += 1.0;
            }
            let expected = count as f64 / 16.0;
            let statistic: f64 = cells.iter().map(|c: &f64| (c - expected).powi(2) / expected).sum();
            // 15 degrees of freedom: above 37.7 in one of 1000.
            assert!(statistic < 37.7, "{statistic}");
        }
    }

    #[test]
    fn a_row_draws_the_same_alone_and_among_others() {
        let sampler = Sampler::new(9);
        for step in 0..50 {
            let (alone, among) = (sampler.draw(&scores(1), step).unwrap(), sampler.draw(&scores(7), step).unwrap());
            assert!(alone.equal(&among.narrow(0, 0, 1)));
        }
        let drawn = |seed| Vec::<i64>::try_from(Sampler::new(seed).draw(&scores(40), 0).unwrap().view(-1)).unwrap();
        assert_eq!(drawn(3), drawn(3));
        assert_ne!(drawn(3), drawn(4));
    }

    #[test]
    fn scores_without_probabilities_are_refused() {
        for broken in [f64::NAN, f64::NEG_INFINITY] {
            let scores = Tensor::cat(&[scores(1), scores(1).fill(broken)], 0);
            assert!(matches!(Sampler::new(0).draw(&scores, 0), Err(Error::Input { name, .. }) if name == "scores"));
        }
    }
}
