//! Assisted decoding: one pass over several tokens that were proposed, of which those are kept that the model itself would
//! have chosen (Leviathan et al., 2022).

use tch::{Kind, Tensor};

use super::Sampler;
use super::candidates::{Candidates, Source, check_goes_back};
use super::decoding::Decoding;
use super::processors::LogitsProcessor;
use super::text::to_i64;
use crate::Result;

impl<'a> Decoding<'a> {
    /// Adds the tokens that `source` proposes, as far as they are right, and the one that is right where they end.
    pub(super) fn advance_assisted(&mut self, mut source: Source<'a>) -> Result<()> {
        let (start, step) = (self.text.len(), self.steps.0);
        // The prompt is read by itself: it may see itself in ways that what follows does not.
        let most = self.steps.1 - step - 1;
        // A cache that is made anew beyond some length is so only where the text itself gets there.
        let until = self.model.module().renewed_beyond().and_then(|limit| usize::try_from(limit - start).ok());
        let candidates = match self.text.cache.len() == start - 1 {
            true => {
                source.propose(&self.text.ids, until.map_or(most, |until| most.min(until)), step, &self.processors)?
            }
            false => Candidates::default(),
        };
        let proposed = candidates.tokens.len();
        if proposed > 0 {
            self.text.push(&row(&candidates.tokens, &self.text.ids));
        }
        let logits = self.text.logits(self.model, to_i64(proposed + 1))?;
        check_goes_back("input_ids", self.model, &self.text)?;
        let mut chosen = Vec::new();
        for index in 0..=proposed {
            let before = self.text.ids.narrow(1, 0, start + to_i64(index));
            let scores = self.processors.process(&before, &logits.select(1, to_i64(index)))?;
            let candidate = candidates.tokens.get(index).copied();
            let next = match (self.sampler, candidate.zip(candidates.drawn_from.get(index))) {
                (Some(sampler), Some((candidate, from))) => verified(&scores, candidate, from, sampler, step + index)?,
                (Some(sampler), None) => sampler.draw(&scores, step + index)?.int64_value(&[0, 0]),
                (None, _) => scores.argmax(-1, true).int64_value(&[0, 0]),
            };
            chosen.push(next);
            self.ended = self.stopping.ends_with(&Tensor::cat(&[&before, &row(&[next], &before)], 1))?;
            if self.ended || candidate != Some(next) {
                break;
            }
        }
        let accepted = chosen.len() - 1;
        let kept = start + to_i64(accepted);
        let next = row(&chosen[accepted..], &self.text.ids);
        self.text.truncate(kept)?;
        self.text.push(&next);
        source.settle((proposed, accepted), kept, &next)?;
        self.assistance.passes += 1;
        self.assistance.proposed += proposed;
        self.assistance.accepted += accepted;
        self.assistance.next = source.tokens();
        self.source = Some(source);
        self.added = chosen.len();
        self.steps.0 += chosen.len();
        Ok(())
    }
}

/// A row of `tokens`, on the device of `like`.
fn row(tokens: &[i64], like: &Tensor) -> Tensor {
    Tensor::from_slice(tokens).unsqueeze(0).to_device(like.device())
}

/// `candidate`, which was drawn with the probabilities `from`, or another token in its place, so that the result is drawn
/// with the softmax of `scores` (`[1, vocabulary]`).
fn verified(scores: &Tensor, candidate: i64, from: &Tensor, sampler: Sampler, step: usize) -> Result<i64> {
    let probabilities = scores.softmax(-1, Kind::Float);
    let at = |probabilities: &Tensor| probabilities.double_value(&[0, candidate]);
    let share = at(&probabilities) / at(from);
    if sampler.apart(1).uniform(0, step as u64) <= share {
        return Ok(candidate);
    }
    // What the proposals draw too rarely.
    let rest = (&probabilities - from).clamp_min(0.0);
    let rest = if rest.sum(Kind::Float).double_value(&[]) > 0.0 { rest } else { probabilities };
    Ok(sampler.apart(2).draw(&rest.log(), step)?.int64_value(&[0, 0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_verified_has_the_probabilities_of_the_model() {
        let scores = |p: [f64; 4]| Tensor::from_slice(&p).to_kind(Kind::Float).log().unsqueeze(0);
        let (wanted, proposed) = ([0.5, 0.1, 0.3, 0.1], [0.1, 0.2, 0.7, 0.0]);
        let (sampler, runs) = (Sampler::new(4), 3000);
        let (mut counts, mut kept) = ([0.0; 4], 0);
        let from = scores(proposed).softmax(-1, Kind::Float);
        for step in 0..runs {
            let candidate = sampler.apart(0).draw(&scores(proposed), step).unwrap().int64_value(&[0, 0]);
            let token = verified(&scores(wanted), candidate, &from, sampler, step).unwrap();
            counts[token as usize] += 1.0;
            kept += i64::from(token == candidate);
        }
        let expected = wanted.map(|p| p * runs as f64);
        let statistic: f64 = std::iter::zip(counts, expected).map(|(c, e): (f64, f64)| (c - e).powi(2) / e).sum();
        // 3 degrees of freedom: above 16.3 in one of 1000 runs, and this run is always the same.
        assert!(statistic < 16.3, "{statistic}: {counts:?}");
        // What both have in common: 0.1 + 0.1 + 0.3.
        let share = kept as f64 / runs as f64;
        assert!((share - 0.5).abs() < 0.03, "{share}");
    }
}
