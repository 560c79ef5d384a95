//! Processors that favour, disfavour or remove given tokens and sequences.

use std::collections::BTreeMap;

use tch::Tensor;

use super::{LogitsProcessor, among, known, length, unfit, without};
use crate::Result;

/// Removes these tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressTokens(pub Vec<i64>);

impl LogitsProcessor for SuppressTokens {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        Ok(without(scores, &among(scores, &self.0)))
    }
}

/// Removes `tokens` where a row has `length` tokens, its prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SuppressTokensAtBegin {
    /// What is removed.
    pub tokens: Vec<i64>,
    /// The number of tokens after which it is.
    pub length: usize,
}

impl LogitsProcessor for SuppressTokensAtBegin {
    fn process(&self, ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        if length(ids) != self.length {
            return Ok(scores.shallow_clone());
        }
        Ok(without(scores, &among(scores, &self.tokens)))
    }
}

/// Adds a bias to the last token of a sequence where the tokens before it stand at the end of a row.
#[derive(Debug)]
pub struct SequenceBias {
    name: &'static str,
    groups: Vec<Group>,
}

/// Sequences of one length.
#[derive(Debug)]
struct Group {
    /// All but the last token of each: `[sequences, length - 1]`.
    prefixes: Tensor,
    /// The last tokens: `[sequences]`.
    last: Vec<i64>,
    /// `[sequences]`, float.
    biases: Tensor,
}

impl SequenceBias {
    /// A bias for each sequence; of one that stands twice the later counts.
    ///
    /// # Errors
    /// When there are none, or one has a negative token.
    pub fn new(biases: &[(Vec<i64>, f64)]) -> Result<Self> {
        Self::named("sequence_bias", biases)
    }

    /// Removes the sequences `words`, save those that are one of `ends` alone: rows must be able to end.
    ///
    /// # Errors
    /// When there are none, or one has a negative token.
    pub fn bad_words(words: &[Vec<i64>], ends: &[i64]) -> Result<Self> {
        if words.is_empty() {
            return Err(unfit("bad_words_ids", "empty", "at least one sequence"));
        }
        let is_end = |word: &Vec<i64>| matches!(word.as_slice(), [token] if ends.contains(token));
        let words: Vec<_> = words.iter().filter(|word| !is_end(word)).collect();
        if words.is_empty() {
            return Ok(Self { name: "bad_words_ids", groups: Vec::new() });
        }
        let biases: Vec<_> = words.into_iter().map(|word| (word.clone(), f64::NEG_INFINITY)).collect();
        Self::named("bad_words_ids", &biases)
    }

    fn named(name: &'static str, biases: &[(Vec<i64>, f64)]) -> Result<Self> {
        if biases.is_empty() {
            return Err(unfit(name, "empty", "at least one sequence"));
        }
        let mut by_length: BTreeMap<usize, BTreeMap<&[i64], f64>> = BTreeMap::new();
        for (sequence, bias) in biases {
            if let Some(token) = sequence.iter().find(|token| **token < 0) {
                return Err(unfit(name, format!("a list with the token {token}"), "tokens from 0"));
            }
            by_length.entry(sequence.len()).or_default().insert(sequence, *bias);
        }
        by_length.remove(&0);
        let groups = by_length.into_iter().map(|(length, group)| {
            let prefixes: Vec<i64> = group.keys().flat_map(|tokens| &tokens[..length - 1]).copied().collect();
            let biases: Vec<f64> = group.values().copied().collect();
            Group {
                prefixes: Tensor::from_slice(&prefixes).reshape([group.len() as i64, length as i64 - 1]),
                last: group.keys().filter_map(|tokens| tokens.last()).copied().collect(),
                biases: Tensor::from_slice(&biases),
            }
        });
        Ok(Self { name, groups: groups.collect() })
    }
}

impl LogitsProcessor for SequenceBias {
    fn process(&self, ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        let device = scores.device();
        let tokens = length(ids) as i64;
        let mut bias = scores.zeros_like();
        for group in &self.groups {
            known(self.name, &group.last, scores)?;
            let prefix = group.prefixes.size()[1];
            if prefix > tokens {
                continue;
            }
            let ends = ids.narrow(1, tokens - prefix, prefix).unsqueeze(1);
            let matches = ends.eq_tensor(&group.prefixes.to_device(device)).all_dim(-1, false);
            let biases = group.biases.to_device(device).to_kind(scores.kind());
            let added = biases.where_scalarother(&matches, 0.0).to_kind(scores.kind());
            bias = bias.index_add(1, &Tensor::from_slice(&group.last).to_device(device), &added);
        }
        Ok(scores + bias)
    }
}
