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

    /// Draws `count` different tokens per row (`[batch, count]`, int64, in the order in which they are drawn) by the
    /// softmax of `scores` (`[batch, vocabulary]`), each from what those before it have left.
    ///
    /// They are the largest sums of score and noise of Gumbel's distribution (arXiv:1903.06059), of which a token has
    /// its own: splitmix64 at the token, started from what [`Sampler::draw`] draws with. Tokens without probability are
    /// drawn where no others are left.
    ///
    /// # Errors
    /// [`Error::Input`] where a score is no number, or there are fewer tokens than `count`.
    pub fn draw_several(&self, scores: &Tensor, count: i64, step: usize) -> Result<Tensor> {
        let [rows, tokens] = scores.size()[..] else {
            return Err(Error::input("scores", format!("have shape {:?}, expected [batch, tokens]", scores.size())));
        };
        if !(0..=tokens).contains(&count) {
            return Err(Error::input("scores", format!("are of {tokens} tokens, of which {count} cannot be drawn")));
        }
        if scores.isnan().any().int64_value(&[]) != 0 {
            let message =
                "give no probabilities: a score is not a number; `remove_invalid_values` replaces such scores";
            return Err(Error::input("scores", message));
        }
        let noise: Vec<f64> = (0..rows)
            .flat_map(|row| {
                let key = self.bits(row as u64, step as u64);
                // Above 0 and below 1, so that noise is finite.
                (1..=tokens as u64)
                    .map(move |token| ((splitmix64(key, token) >> 12) as f64 + 0.5) / (1u64 << 52) as f64)
            })
            .collect();
        let noise = -(-Tensor::from_slice(&noise).log()).log();
        let perturbed = scores.to_kind(Kind::Double) + noise.view([rows, tokens]).to_device(scores.device());
        Ok(perturbed.topk(count, -1, true, true).1)
    }

    /// Numbers of their own for the `index`th further purpose of a generation.
    pub(super) fn apart(self, index: u64) -> Self {
        // Rows start from 1, which leaves the last of the numbers.
        Self { seed: splitmix64(self.seed, u64::MAX - index) }
    }

    /// The number of `row` in `step`, from 0 to below 1.
    pub(super) fn uniform(&self, row: u64, step: u64) -> f64 {
        (self.bits(row, step) >> 12) as f64 / (1u64 << 52) as f64
    }

    fn bits(&self, row: u64, step: u64) -> u64 {
        splitmix64(splitmix64(self.seed, row.wrapping_add(1)), step.wrapping_add(1))
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
    fn several_draws_are_without_replacement() {
        // Pairs of different tokens: the first by its probability, the second by its share of what is left.
        let (rows, sampler) = (20_000, Sampler::new(3));
        let drawn = Vec::<Vec<i64>>::try_from(sampler.draw_several(&scores(rows), 2, 4).unwrap()).unwrap();
        let mut statistic = 0.0;
        for (first, p) in PROBABILITIES.iter().enumerate() {
            for (second, q) in PROBABILITIES.iter().enumerate().filter(|(second, _)| *second != first) {
                let counted = drawn.iter().filter(|pair| **pair == [first as i64, second as i64]).count() as f64;
                let expected = rows as f64 * p * q / (1.0 - p);
                match expected > 0.0 {
                    true => statistic += (counted - expected).powi(2) / expected,
                    false => assert_eq!(counted, 0.0),
                }
            }
        }
        // 19 degrees of freedom: above 43.8 in one of 1000 runs, and this run is always the same.
        assert!(statistic < 43.8, "{statistic}");
        assert!(drawn.iter().all(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn several_draws_are_the_same_alone_and_among_others() {
        let sampler = Sampler::new(9);
        let among = sampler.draw_several(&scores(7), 6, 2).unwrap();
        assert!(sampler.draw_several(&scores(1), 6, 2).unwrap().equal(&among.narrow(0, 0, 1)));
        // All of them, the one without probability last.
        assert!(Vec::<Vec<i64>>::try_from(among).unwrap().iter().all(|row| row[5] == 1));
        assert!(sampler.draw_several(&scores(1), 7, 0).is_err());
        assert!(sampler.draw_several(&(scores(1) * f64::NAN), 1, 0).is_err());
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
