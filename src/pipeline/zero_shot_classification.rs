use serde::{Deserialize, Serialize};

use super::labels::{Labels, softmax};
use super::text::numbers;
use super::{OneOrMany, Options, Text, TypedPipeline};
use crate::auto::{AutoModelForSequenceClassification, Checkpoint};
use crate::text::{Strategy, Truncation};
use crate::{Error, Result};

/// Texts to labels that the caller brings: a checkpoint trained to tell whether a text entails another.
#[derive(Debug)]
pub struct ZeroShotClassification {
    text: Text,
    /// The class that stands for entailment; the last where `config.json` names none.
    entailment: Option<usize>,
}

/// The arguments of a call.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ZeroShotSettings {
    /// The labels, as a list or with commas between them.
    pub candidate_labels: OneOrMany,
    /// The sentence that a text may entail, with `{}` where the label goes. Default: `This example is {}.`
    pub hypothesis_template: String,
    /// Whether several labels can hold for a text: then each has a probability of its own. Otherwise they add up to 1.
    pub multi_label: bool,
}

impl Default for ZeroShotSettings {
    fn default() -> Self {
        let hypothesis_template = "This example is {}.".to_owned();
        Self { candidate_labels: OneOrMany::default(), hypothesis_template, multi_label: false }
    }
}

impl ZeroShotSettings {
    /// The default settings with these labels.
    pub fn labels<S: Into<String>>(labels: impl IntoIterator<Item = S>) -> Self {
        let labels = labels.into_iter().map(Into::into).collect();
        Self { candidate_labels: OneOrMany::Many(labels), ..Self::default() }
    }
}

/// The labels of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ZeroShot {
    /// The text.
    pub sequence: String,
    /// The labels, the likeliest first.
    pub labels: Vec<String>,
    /// Their probabilities.
    pub scores: Vec<f64>,
}

impl ZeroShotClassification {
    /// Loads a checkpoint, whose labels should have one that begins with `entail`.
    ///
    /// # Errors
    /// As [`Text::from_pretrained`].
    pub fn from_pretrained(checkpoint: impl Into<Checkpoint>, options: &Options) -> Result<Self> {
        let text =
            Text::from_pretrained(AutoModelForSequenceClassification::CLASS, checkpoint, options)?.for_whole_texts();
        let entailment = Labels::of(text.model()).beginning_with("entail");
        if entailment.is_none() {
            let class = text.model().class();
            tracing::warn!(class, "no label of config.json begins with `entail`; the last one is taken for it");
        }
        Ok(Self { text, entailment })
    }

    /// Tokenizer and model.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// How well each label fits each text.
    ///
    /// # Errors
    /// [`Error::Input`] for no labels and a template without `{}`, [`Error::Tokenizer`], and as
    /// [`Model::forward`](crate::Model::forward).
    pub fn classify(&self, texts: &[&str], settings: &ZeroShotSettings) -> Result<Vec<ZeroShot>> {
        let labels = settings.candidate_labels.split();
        if labels.is_empty() {
            return Err(Error::input("candidate_labels", "is empty; expected at least one label"));
        }
        let hypotheses =
            labels.iter().map(|label| filled(&settings.hypothesis_template, label)).collect::<Result<Vec<_>>>()?;
        let pairs: Vec<(&str, &str)> =
            texts.iter().flat_map(|text| hypotheses.iter().map(|hypothesis| (*text, hypothesis.as_str()))).collect();
        let first = Truncation { strategy: Strategy::OnlyFirst, ..self.text.truncation(true) };
        let tokenizer = self.text.tokenizer();
        let encodings = tokenizer.encode_pairs(&pairs, first).or_else(|_| {
            // A pair whose hypothesis alone is too long is not cut.
            let of = |pair| {
                let cut = tokenizer.encode_pairs(&[pair], first);
                cut.or_else(|_| tokenizer.encode_pairs(&[pair], Truncation::NONE))
            };
            pairs.iter().map(|pair| of(*pair)).collect::<Result<Vec<_>>>().map(|encodings| encodings.concat())
        })?;
        let logits: Vec<Vec<f32>> = self.text.rows(encodings, &["logits"], |_, rows| numbers(&rows[0]))?;
        let per_text = std::iter::zip(texts, logits.chunks(labels.len()));
        Ok(per_text.map(|(text, logits)| self.ranked(text, &labels, logits, settings.multi_label)).collect())
    }

    fn ranked(&self, text: &str, labels: &[String], logits: &[Vec<f32>], multi_label: bool) -> ZeroShot {
        let last = logits[0].len() - 1;
        let entailment = self.entailment.unwrap_or(last).min(last);
        let scores = if multi_label || labels.len() == 1 {
            let contradiction = if self.entailment == Some(0) { last } else { 0 };
            logits.iter().map(|logits| softmax(&[logits[contradiction], logits[entailment]])[1]).collect()
        } else {
            softmax(&logits.iter().map(|logits| logits[entailment]).collect::<Vec<_>>())
        };
        let mut order: Vec<usize> = (0..labels.len()).collect();
        order.sort_by(|left, right| scores[*left].total_cmp(&scores[*right]));
        order.reverse();
        ZeroShot {
            sequence: text.to_owned(),
            labels: order.iter().map(|place| labels[*place].clone()).collect(),
            scores: order.iter().map(|place| scores[*place]).collect(),
        }
    }
}

impl TypedPipeline for ZeroShotClassification {
    const TASK: &'static str = "zero-shot-classification";
    type Input = String;
    type Settings = ZeroShotSettings;
    type Output = ZeroShot;

    fn call(&self, inputs: &[String], settings: &ZeroShotSettings) -> Result<Vec<ZeroShot>> {
        self.classify(&inputs.iter().map(String::as_str).collect::<Vec<_>>(), settings)
    }
}

/// The template with the label in place of `{}` or `{0}`; `{{` and `}}` stand for braces.
fn filled(template: &str, label: &str) -> Result<String> {
    let wrong = |why: &str| {
        let rule = "expected `{}` where the label goes, and `{{` or `}}` for braces themselves";
        Error::input("hypothesis_template", format!("`{template}` {why}; {rule}"))
    };
    let (mut text, mut rest, mut found) = (String::new(), template, false);
    while let Some(at) = rest.find(['{', '}']) {
        text += &rest[..at];
        rest = &rest[at..];
        if let Some(after) = rest.strip_prefix("{{").or_else(|| rest.strip_prefix("}}")) {
            text += &rest[..1];
            rest = after;
        } else if let Some(after) = rest.strip_prefix("{0}").or_else(|| rest.strip_prefix("{}").filter(|_| !found)) {
            text += label;
            (rest, found) = (after, true);
        } else {
            return Err(wrong("cannot be filled in"));
        }
    }
    if found { Ok(text + rest) } else { Err(wrong("has no place for the label")) }
}

#[cfg(test)]
mod tests {
    use super::filled;

    #[test]
    fn templates_have_one_place_for_the_label() {
        let of = |template| filled(template, "a {} b").ok();
        assert_eq!(of("This example is {}.").as_deref(), Some("This example is a {} b."));
        assert_eq!(of("{0} {0}").as_deref(), Some("a {} b a {} b"));
        assert_eq!(of("{{{}}}").as_deref(), Some("{a {} b}"));
        for wrong in ["", "no place", "{{}}", "{", "}", "{} {}", "{label}", "{1}"] {
            assert_eq!(of(wrong), None, "{wrong}");
        }
    }
}
