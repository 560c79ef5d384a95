//! Labelled tokens to entities.

use serde::Deserialize;
use tokenizers::Decoder;
use tokenizers::models::ModelWrapper;

use super::Entity;
use super::labels::{Labels, argmax};
use crate::text::Tokenizer;
use crate::{Error, Result};

/// How labelled tokens become entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Strategy {
    /// They do not: each token stands for itself.
    #[default]
    None,
    /// Neighbours of the same kind belong together, unless a label begins with `B-`.
    Simple,
    /// As [`Strategy::Simple`], of words with the label of their first token.
    First,
    /// As [`Strategy::Simple`], of words with the label that is likeliest in the mean of their tokens.
    Average,
    /// As [`Strategy::Simple`], of words with the label of their surest token.
    Max,
}

/// A token, as far as aggregation looks at it.
#[derive(Debug, Clone)]
pub(super) struct Token {
    pub word: String,
    /// A probability per label.
    pub scores: Vec<f64>,
    pub start: usize,
    pub end: usize,
    pub index: usize,
    /// It belongs to the word of the token before.
    pub continues: bool,
}

/// Whether the vocabulary marks tokens that continue a word.
pub(super) fn marks_pieces(tokenizer: &tokenizers::Tokenizer) -> bool {
    match tokenizer.get_model() {
        ModelWrapper::WordPiece(model) => !model.continuing_subword_prefix.is_empty(),
        ModelWrapper::BPE(model) => model.continuing_subword_prefix.as_ref().is_some_and(|prefix| !prefix.is_empty()),
        _ => false,
    }
}

/// What `strategy` makes of the tokens of a text.
pub(super) fn aggregated(
    tokens: Vec<Token>,
    strategy: Strategy,
    labels: &Labels,
    tokenizer: &Tokenizer,
) -> Result<Vec<Entity>> {
    let labelled = |token: Token| {
        let best = argmax(&token.scores);
        Entity {
            label: labels.name(best),
            score: token.scores.get(best).copied().unwrap_or_default(),
            index: Some(token.index),
            word: token.word,
            start: token.start,
            end: token.end,
        }
    };
    match strategy {
        Strategy::None => Ok(tokens.into_iter().map(labelled).collect()),
        Strategy::Simple => grouped(tokens.into_iter().map(labelled).collect(), tokenizer),
        _ => {
            let words = tokens.chunk_by(|_, next| next.continues).map(|word| united(word, strategy, labels, tokenizer));
            grouped(words.collect::<Result<_>>()?, tokenizer)
        }
    }
}

/// The tokens of a word with one label.
fn united(tokens: &[Token], strategy: Strategy, labels: &Labels, tokenizer: &Tokenizer) -> Result<Entity> {
    let surest = |token: &Token| token.scores.get(argmax(&token.scores)).copied().unwrap_or_default();
    let scores = match strategy {
        Strategy::Average => {
            let mean = |label: usize| tokens.iter().map(|token| token.scores[label]).sum::<f64>() / tokens.len() as f64;
            (0..tokens[0].scores.len()).map(mean).collect()
        }
        Strategy::Max => {
            let best =
                tokens.iter().fold(&tokens[0], |best, token| if surest(token) > surest(best) { token } else { best });
            best.scores.clone()
        }
        _ => tokens[0].scores.clone(),
    };
    let best = argmax(&scores);
    Ok(Entity {
        label: labels.name(best),
        score: scores.get(best).copied().unwrap_or_default(),
        index: None,
        word: joined(tokens.iter().map(|token| token.word.clone()).collect(), tokenizer)?,
        start: tokens[0].start,
        end: tokens[tokens.len() - 1].end,
    })
}

/// Neighbours of the same kind as one.
fn grouped(entities: Vec<Entity>, tokenizer: &Tokenizer) -> Result<Vec<Entity>> {
    let same = |last: &Entity, next: &Entity| kind(&last.label) == kind(&next.label) && !next.label.starts_with("B-");
    let group = |members: &[Entity]| {
        Ok(Entity {
            label: members[0].label.split_once('-').map_or(members[0].label.as_str(), |(_, kind)| kind).to_owned(),
            score: members.iter().map(|member| member.score).sum::<f64>() / members.len() as f64,
            index: None,
            word: joined(members.iter().map(|member| member.word.clone()).collect(), tokenizer)?,
            start: members[0].start,
            end: members[members.len() - 1].end,
        })
    };
    entities.chunk_by(same).map(group).collect()
}

/// The label without `B-` or `I-`.
fn kind(label: &str) -> &str {
    label.strip_prefix("B-").or_else(|| label.strip_prefix("I-")).unwrap_or(label)
}

/// Tokens as text.
fn joined(tokens: Vec<String>, tokenizer: &Tokenizer) -> Result<String> {
    match tokenizer.inner().get_decoder() {
        Some(decoder) => decoder.decode(tokens).map_err(|error| Error::Tokenizer(error.to_string())),
        None => Ok(tokens.join(" ")),
    }
}

/// Of entities that overlap, as pieces of a text that share tokens give them, the longest, and of equally long ones the
/// surest.
pub(super) fn without_overlap(mut entities: Vec<Entity>) -> Vec<Entity> {
    entities.sort_by_key(|entity| entity.start);
    let mut kept: Vec<Entity> = Vec::new();
    for entity in entities {
        match kept.last_mut() {
            Some(last) if (last.start..last.end).contains(&entity.start) => {
                let (new, old) = (entity.end - entity.start, last.end - last.start);
                if new > old || new == old && entity.score > last.score {
                    *last = entity;
                }
            }
            _ => kept.push(entity),
        }
    }
    kept
}
