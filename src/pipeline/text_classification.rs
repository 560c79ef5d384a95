use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::labels::Labels;
use super::text::numbers;
use super::{Function, Label, Options, Text, TypedPipeline};
use crate::Result;
use crate::auto::{AutoModelForSequenceClassification, Checkpoint};

/// Texts to labels: any checkpoint with a head for sequence classification.
#[derive(Debug)]
pub struct TextClassification {
    text: Text,
    labels: Labels,
}

/// A text, or a pair of texts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum TextInput {
    /// One text.
    Text(String),
    /// Two texts that are looked at together.
    Pair {
        /// The first.
        text: String,
        /// The second.
        text_pair: String,
    },
}

impl From<&str> for TextInput {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<(&str, &str)> for TextInput {
    fn from((text, text_pair): (&str, &str)) -> Self {
        Self::Pair { text: text.to_owned(), text_pair: text_pair.to_owned() }
    }
}

/// The arguments of a call.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TextClassificationSettings {
    /// How many labels.
    pub top_k: TopK,
    /// What makes scores of logits. Where it is not given: nothing for `problem_type` `regression`; the sigmoid for
    /// `multi_label_classification` and a single label; the softmax otherwise.
    pub function_to_apply: Option<Function>,
    /// Cut texts to the length that `tokenizer_config.json` allows, where the model has positions for more.
    pub truncation: bool,
    /// Cut texts to this many tokens.
    pub max_length: Option<usize>,
}

/// How many labels a text gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TopK {
    /// The best, which Python returns without a list around it.
    #[default]
    Best,
    /// The best so many, in a list.
    Count(usize),
    /// All, the best first; `null` in JSON.
    All,
}

impl<'de> Deserialize<'de> for TopK {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(Option::<usize>::deserialize(deserializer)?.map_or(Self::All, Self::Count))
    }
}

/// One label, or a list.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Labelled {
    /// With [`TopK::Best`].
    Best(Label),
    /// Otherwise, the best first.
    List(Vec<Label>),
}

impl TextClassification {
    /// Loads a checkpoint.
    ///
    /// # Errors
    /// As [`Text::from_pretrained`].
    pub fn from_pretrained(checkpoint: impl Into<Checkpoint>, options: &Options) -> Result<Self> {
        let text =
            Text::from_pretrained(AutoModelForSequenceClassification::CLASS, checkpoint, options)?.for_whole_texts();
        Ok(Self { labels: Labels::of(text.model()), text })
    }

    /// Tokenizer and model.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// The labels of each text, the best first.
    ///
    /// # Errors
    /// [`Error::Tokenizer`](crate::Error::Tokenizer), and as [`Model::forward`](crate::Model::forward).
    pub fn classify(&self, inputs: &[TextInput], settings: &TextClassificationSettings) -> Result<Vec<Vec<Label>>> {
        let logits = self.logits(inputs, settings)?;
        Ok(logits.iter().map(|logits| self.labels(logits, settings)).collect())
    }

    /// One logit per label for each text.
    fn logits(&self, inputs: &[TextInput], settings: &TextClassificationSettings) -> Result<Vec<Vec<f32>>> {
        let mut truncation = self.text.truncation(settings.truncation);
        if let Some(length) = settings.max_length {
            truncation.max_length = truncation.max_length.min(length);
        }
        let (mut texts, mut pairs) = (Vec::new(), Vec::new());
        let (mut of_texts, mut of_pairs) = (Vec::new(), Vec::new());
        for (place, input) in inputs.iter().enumerate() {
            match input {
                TextInput::Text(text) => {
                    texts.push(text.as_str());
                    of_texts.push(place);
                }
                TextInput::Pair { text, text_pair } => {
                    pairs.push((text.as_str(), text_pair.as_str()));
                    of_pairs.push(place);
                }
            }
        }
        let tokenizer = self.text.tokenizer();
        let singles = std::iter::zip(of_texts, tokenizer.encode_cut(&texts, truncation)?);
        let doubles = std::iter::zip(of_pairs, tokenizer.encode_pairs(&pairs, truncation)?);
        let mut encodings: Vec<_> = singles.chain(doubles).collect();
        encodings.sort_by_key(|(place, _)| *place);
        let encodings = encodings.into_iter().map(|(_, encoding)| encoding).collect();
        self.text.rows(encodings, &["logits"], |_, rows| numbers(&rows[0]))
    }

    fn labels(&self, logits: &[f32], settings: &TextClassificationSettings) -> Vec<Label> {
        let function = settings.function_to_apply.unwrap_or_else(|| self.function(logits.len()));
        let scores = function.apply(logits).into_iter().enumerate();
        let mut labels: Vec<_> = scores.map(|(id, score)| Label { label: self.labels.name(id), score }).collect();
        labels.sort_by(|left, right| right.score.total_cmp(&left.score));
        labels.truncate(match settings.top_k {
            TopK::Best => 1,
            TopK::Count(count) => count,
            TopK::All => usize::MAX,
        });
        labels
    }

    /// What `config.json` asks for.
    fn function(&self, labels: usize) -> Function {
        match self.text.model().config().get("problem_type").and_then(Value::as_str) {
            Some("regression") => Function::None,
            Some("multi_label_classification") => Function::Sigmoid,
            _ if labels == 1 => Function::Sigmoid,
            _ => Function::Softmax,
        }
    }
}

impl TypedPipeline for TextClassification {
    const TASK: &'static str = "text-classification";
    type Input = TextInput;
    type Settings = TextClassificationSettings;
    type Output = Labelled;

    fn call(&self, inputs: &[TextInput], settings: &Self::Settings) -> Result<Vec<Labelled>> {
        let shaped = |mut labels: Vec<Label>| match settings.top_k {
            TopK::Best if !labels.is_empty() => Labelled::Best(labels.swap_remove(0)),
            _ => Labelled::List(labels),
        };
        Ok(self.classify(inputs, settings)?.into_iter().map(shaped).collect())
    }
}
