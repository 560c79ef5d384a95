use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Model;

/// A label and how much speaks for it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Label {
    /// Its name in `config.json`.
    pub label: String,
    /// Its probability, or what [`Function`] makes of its logit.
    pub score: f64,
}

/// What makes scores of the logits of a classifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Function {
    /// Each label for itself, from 0 to 1.
    Sigmoid,
    /// All labels together add up to 1.
    Softmax,
    /// The logits themselves.
    None,
}

impl Function {
    /// The scores of these logits.
    pub fn apply(self, logits: &[f32]) -> Vec<f64> {
        match self {
            Self::Sigmoid => logits.iter().map(|logit| 1.0 / (1.0 + (-f64::from(*logit)).exp())).collect(),
            Self::Softmax => softmax(logits),
            Self::None => logits.iter().map(|logit| f64::from(*logit)).collect(),
        }
    }
}

/// Probabilities that add up to 1.
pub(super) fn softmax(logits: &[f32]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = logits.iter().map(|logit| f64::from(logit - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
}

/// The place of the largest score, the first of several.
pub(super) fn argmax(scores: &[f64]) -> usize {
    scores.iter().enumerate().fold(0, |best, (place, score)| if *score > scores[best] { place } else { best })
}

/// The names that `config.json` gives the classes.
#[derive(Debug, Clone)]
pub(super) struct Labels {
    names: BTreeMap<usize, String>,
    /// In the order of the file.
    ids: Vec<(String, usize)>,
}

impl Labels {
    pub fn of(model: &Model) -> Self {
        let table = |field: &str| model.config().get(field).and_then(Value::as_object);
        let names: BTreeMap<usize, String> = table("id2label")
            .into_iter()
            .flatten()
            .filter_map(|(id, name)| Some((id.parse().ok()?, name.as_str()?.to_owned())))
            .collect();
        let ids = match table("label2id") {
            Some(ids) => ids.iter().filter_map(|(name, id)| Some((name.clone(), usize::try_from(id.as_u64()?).ok()?))),
            None => return Self { ids: names.iter().map(|(id, name)| (name.clone(), *id)).collect(), names },
        };
        Self { ids: ids.collect(), names }
    }

    /// The name of class `id`; Python's where the file has none.
    pub fn name(&self, id: usize) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| format!("LABEL_{id}"))
    }

    /// The first class whose name, in lower case, begins with `prefix`.
    pub fn beginning_with(&self, prefix: &str) -> Option<usize> {
        self.ids.iter().find(|(name, _)| name.to_lowercase().starts_with(prefix)).map(|(_, id)| *id)
    }
}
