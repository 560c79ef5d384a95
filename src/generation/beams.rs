//! Search with beams: several continuations of every prompt, of which the best go on, in groups that avoid each other
//! where there are any (arXiv:1610.02424).

use tch::{Kind, Tensor};

use super::GenerationConfig;
use super::decoding::{Decoding, Setup, floats, numbers};
use super::processors::LogitsProcessor;
use super::search::{Beam, Candidate, NEVER, Rule, Search};
use super::text::{Text, to_i64};
use crate::{Error, Inputs, Result};

/// A search on its way.
///
/// Rows of the text are those of the prompts, of each its groups, of each group its beams.
pub(super) struct Beams<'a> {
    decoding: Decoding<'a>,
    /// The prompts as they were read.
    prompt: Text,
    /// One for each group of each prompt.
    searches: Vec<Search>,
    /// What the tokens of an earlier group cost.
    penalty: f64,
    /// Prompts, groups of each, beams of each group.
    shape: [usize; 3],
    /// Continuations that are looked at for every group, of which those that end leave enough to go on with.
    candidates: i64,
    /// Continuations of every prompt that are wanted.
    sequences: usize,
    /// The last tokens of every prompt, with which a string that ends a row may begin.
    tails: Vec<Vec<i64>>,
    padding: i64,
    over: bool,
}

impl<'a> Beams<'a> {
    /// Reads the prompts, every one once.
    pub fn start(setup: Setup<'a>, config: &GenerationConfig, inputs: &Inputs) -> Result<Self> {
        config.check()?;
        let lookup = config.prompt_lookup_num_tokens.map(|_| "prompt_lookup_num_tokens");
        if let Some(name) = lookup.or(setup.assistant.map(|_| "assistant")) {
            return Err(Error::input(name, format!("serves one beam; `num_beams` is {}", config.num_beams)));
        }
        let once = GenerationConfig { num_return_sequences: 1, ..config.clone() };
        let mut decoding = Decoding::start(setup, &once, inputs)?;
        let _ = decoding.text.logits(setup.model, 1)?;
        let text = decoding.text.fork(config.num_beams)?;
        let prompt = std::mem::replace(&mut decoding.text, text);
        let groups = config.num_beam_groups;
        let beams = config.num_beams / groups;
        let rows = usize::try_from(prompt.rows()).unwrap_or(0);
        let rule = Rule {
            beams,
            early_stopping: config.early_stopping,
            length_penalty: config.length_penalty,
            most: decoding.steps.1,
        };
        let tail = decoding.stopping.tail(&prompt.ids);
        let tails = match usize::try_from(tail.size()[1]).unwrap_or(0) {
            0 => vec![Vec::new(); rows],
            tokens => numbers(&tail)?.chunks(tokens).map(<[i64]>::to_vec).collect(),
        };
        let ends = config.eos_token_id.len();
        let candidates = to_i64(ends.saturating_add(1).max(2).saturating_mul(beams));
        // As Python, for which padding with 0 is none.
        let padding = config.pad_token_id.filter(|token| *token != 0 || ends == 0);
        Ok(Self {
            prompt,
            searches: (0..rows * groups).map(|_| Search::new(rule)).collect(),
            penalty: config.diversity_penalty,
            shape: [rows, groups, beams],
            candidates,
            sequences: config.num_return_sequences,
            tails,
            padding: padding.or(config.eos_token_id.first().copied()).unwrap_or(0),
            over: decoding.is_over(),
            decoding,
        })
    }

    /// Whether there is no further step to take.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Adds one token to every beam that goes on.
    pub fn advance(&mut self) -> Result<()> {
        let [rows, groups, beams] = self.shape;
        let decoding = &mut self.decoding;
        let logits = decoding.text.logits(decoding.model, 1)?;
        let logarithms = logits.select(1, -1).log_softmax(-1, Kind::Float);
        let scores = decoding.processors.process(&decoding.text.ids, &logarithms)?;
        let vocabulary = scores.size()[1];
        let shape = [rows, groups, beams].map(to_i64);
        let running = self.searches.iter().flat_map(|search| search.running.iter().map(|beam| beam.score));
        let running = Tensor::from_slice(&running.collect::<Vec<f32>>()).to_device(scores.device());
        let sums =
            scores.view([shape[0], shape[1], shape[2], vocabulary]) + running.view([shape[0], shape[1], shape[2], 1]);
        let last = decoding.steps.0 + 1 >= decoding.steps.1 || decoding.stopping.is_late();
        let mut chosen = Tensor::zeros([shape[0], 1, vocabulary], (Kind::Float, scores.device()));
        let mut parents = vec![0; rows * groups * beams];
        let mut all_end = true;
        for group in 0..groups {
            let sums = (sums.select(1, to_i64(group)) - &chosen * self.penalty).view([shape[0], -1]);
            let count = self.candidates.min(sums.size()[1]);
            let (best, places) = match decoding.sampler {
                Some(sampler) => {
                    let places = sampler.draw_several(&sums, count, decoding.steps.0)?;
                    (sums.gather(1, &places, false), places)
                }
                None => sums.topk(count, 1, true, true),
            };
            let (best, places) = (floats(&best)?, numbers(&places)?);
            let count = usize::try_from(count).unwrap_or(1).max(1);
            let mut tokens = Vec::new();
            for row in 0..rows {
                let search = &mut self.searches[row * groups + group];
                let own = row * count..(row + 1) * count;
                let candidates: Vec<Candidate> = std::iter::zip(&best[own.clone()], &places[own])
                    .map(|(score, place)| {
                        let parent = usize::try_from(place / vocabulary).unwrap_or(0);
                        let token = place % vocabulary;
                        let tokens = [&self.tails[row][..], &search.running[parent].tokens, &[token]].concat();
                        let ends = last || decoding.stopping.ends_row(&tokens);
                        Candidate { parent, token, score: *score, ends }
                    })
                    .collect();
                all_end &= candidates.iter().all(|candidate| candidate.ends);
                let first = (row * groups + group) * beams;
                for (place, parent) in search.advance(&candidates).into_iter().enumerate() {
                    parents[first + place] = to_i64(first + parent);
                }
                tokens.extend(search.running.iter().filter_map(|beam| beam.tokens.last()).copied());
            }
            let tokens = Tensor::from_slice(&tokens).view([shape[0], 1, -1]).to_device(scores.device());
            chosen = chosen.scatter_add(2, &tokens, &tokens.ones_like().to_kind(Kind::Float));
        }
        let next: Vec<i64> = self
            .searches
            .iter()
            .flat_map(|search| search.running.iter().filter_map(|beam| beam.tokens.last()))
            .copied()
            .collect();
        decoding.steps.0 += 1;
        let enough = self.searches.iter().all(|search| search.is_full() && search.stops_when_full());
        self.over = all_end || enough || !self.searches.iter().any(|search| search.improvable);
        if !self.over {
            if parents.iter().enumerate().any(|(row, parent)| to_i64(row) != *parent) {
                decoding.text.reorder(&Tensor::from_slice(&parents).to_device(scores.device()));
            }
            decoding.text.push(&Tensor::from_slice(&next).view([-1, 1]).to_device(scores.device()));
        }
        Ok(())
    }

    /// The best sequences, `[rows, tokens]`, their scores, `[rows]`, and the prompts as they were read.
    pub fn into_parts(self) -> (Tensor, Tensor, Text) {
        let [rows, groups, _] = self.shape;
        let mut searches = self.searches.into_iter();
        let mut sequences: Vec<Beam> = Vec::new();
        for _ in 0..rows {
            let mut ended: Vec<Beam> = searches.by_ref().take(groups).flat_map(|search| search.ended).collect();
            ended.sort_by(|a, b| b.score.total_cmp(&a.score));
            // Where nothing that could be chosen was left, the prompt stands alone.
            ended.resize(self.sequences.max(ended.len()), Beam { tokens: Vec::new(), score: NEVER });
            ended.truncate(self.sequences);
            sequences.extend(ended);
        }
        let new = sequences.iter().map(|beam| beam.tokens.len()).max().unwrap_or(0);
        let mut tokens = Vec::new();
        for beam in &sequences {
            tokens.extend(beam.tokens.iter().copied().chain(std::iter::repeat(self.padding)).take(new));
        }
        let prompt = self.prompt.ids.repeat_interleave_self_int(to_i64(self.sequences), 0, None);
        let device = prompt.device();
        let tokens = Tensor::from_slice(&tokens).view([prompt.size()[0], to_i64(new)]).to_device(device);
        let scores: Vec<f32> = sequences.iter().map(|beam| beam.score).collect();
        (Tensor::cat(&[prompt, tokens], 1), Tensor::from_slice(&scores).to_device(device), self.prompt)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::watched::{config, prompt, taken, watched};
    use super::*;

    #[test]
    fn prompts_are_read_once_for_all_their_beams() {
        let config = config(json!({"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 4}));
        let inputs = prompt(&[[3, 5, 9], [7, 4, 2]]);
        // Tokens of a row that pass at first: those of the prompt, or the one that a decoder starts from.
        for (case, read) in [("gpt2/text-generation", 3), ("t5/text2text-generation", 1)] {
            let (model, count) = watched(case);
            let setup = Setup { model: &model, seed: 0, prefix: None, texts: None, assistant: None, negative: None };
            let mut beams = Beams::start(setup, &config, &inputs).unwrap();
            assert_eq!(taken(&count), read, "{case}");
            assert_eq!((beams.prompt.rows(), beams.decoding.text.rows()), (2, 6));
            let encoded = |text: &Text| text.cache.encoded.as_ref().map(|encoded| encoded.size()[0]);
            if read == 1 {
                assert_eq!((encoded(&beams.prompt), encoded(&beams.decoding.text)), (Some(2), Some(6)));
            }
            while !beams.is_over() {
                beams.advance().unwrap();
            }
            // The last token is never passed, and the first step has the scores already.
            assert_eq!(taken(&count), 3, "{case}");
            let (ids, scores, _) = beams.into_parts();
            assert_eq!((ids.size(), scores.size()), (vec![4, read + 4], vec![4]));
        }
    }
}
