use super::{EncoderBody, EncoderSpec, Pretraining, Vector};
use crate::model::{Generation, Module};
use crate::nn::heads::{Bare, Features, Headed, PerChoice, PerSequence, PerToken, Prediction, Readout, Span, pooled};
use crate::nn::{Activation, Linear};
use crate::tasks::{self, Task};
use crate::weights::Weights;
use crate::{Inputs, Outputs, Result};

/// A task that every encoder can have a class for.
pub trait Class: Task {
    /// Builds the class.
    fn load(spec: EncoderSpec, weights: &Weights) -> Box<dyn Module>;
}

/// Declares an architecture of the blueprint: `encoder! { pub struct Bert(BertConfig) = spec; [FillMask, …] }`, where
/// `spec` makes an [`EncoderSpec`] of the configuration.
macro_rules! encoder {
    (
        $(#[$meta:meta])*
        pub struct $architecture:ident($config:ty) = $spec:path;
        $classes:tt
    ) => {
        $crate::models::classes::architecture! {
            $(#[$meta])*
            pub struct $architecture($config) = $spec;
            $crate::models::bert::Class;
            $classes
        }
    };
}
pub(crate) use encoder;

/// The body of a class with a head, and the vector that the head `name` reads.
fn below(spec: &EncoderSpec, weights: &Weights, vector: Option<(Vector, &str)>) -> EncoderBody {
    EncoderBody::load(spec, weights, &[spec.names.prefix, ""], vector)
}

/// Scores of `outputs` labels under the head `name`.
fn scores(spec: &EncoderSpec, weights: &Weights, name: &str, outputs: i64) -> Linear {
    let at = weights.named(spec.names.heads.clone()).at(name);
    Linear::load(&at, spec.embeddings.hidden, outputs, true)
}

fn prediction(spec: &EncoderSpec, weights: &Weights, body: &EncoderBody) -> Prediction {
    let at = weights.named(spec.names.heads.clone()).at("prediction");
    Prediction::load(&at, spec.heads.prediction, &body.words())
}

impl Class for tasks::FeatureExtraction {
    fn load(spec: EncoderSpec, weights: &Weights) -> Box<dyn Module> {
        let pooler = spec.pooler.map(|_| (Vector::Pooler, ""));
        Box::new(Headed::new(EncoderBody::load(&spec, weights, &["", spec.names.prefix], pooler), Bare))
    }
}

impl Class for tasks::FillMask {
    fn load(spec: EncoderSpec, weights: &Weights) -> Box<dyn Module> {
        let body = below(&spec, weights, None);
        let head = prediction(&spec, weights, &body);
        Box::new(Headed::new(body, head))
    }
}

impl Class for tasks::TextGeneration {
    fn load(spec: EncoderSpec, weights: &Weights) -> Box<dyn Module> {
        let body = below(&spec, weights, None);
        let head = prediction(&spec, weights, &body);
        match spec.layers.causal {
            true => Box::new(Headed::generating(body, head, Generation::DecoderOnly)),
            false => Box::new(Headed::new(body, head)),
        }
    }
}

impl Class for tasks::TextClassification {
    fn load(spec: EncoderSpec, weights: &Weights) -> Box<dyn Module> {
        let body = below(&spec, weights, Some((spec.heads.sequence, "sequence")));
        Box::new(Headed::new(body, PerSequence(scores(&spec, weights, "sequence.scores", spec.labels))))
    }
}

impl Class for tasks::TokenClassification {
    fn load(spec: EncoderSpec, weights: &Weights) -> Box<dyn Module> {
        let head = PerToken(scores(&spec, weights, "token", spec.labels));
        Box::new(Headed::new(below(&spec, weights, None), head))
    }
}

impl Class for tasks::QuestionAnswering {
    fn load(spec: EncoderSpec, weights: &Weights) -> Box<dyn Module> {
        let head = Span(scores(&spec, weights, "span", 2));
        Box::new(Headed::new(below(&spec, weights, None), head))
    }
}

impl Class for tasks::MultipleChoice {
    fn load(spec: EncoderSpec, weights: &Weights) -> Box<dyn Module> {
        let body = below(&spec, weights, Some((spec.heads.choice, "choice")));
        Box::new(PerChoice::new(body, scores(&spec, weights, "choice.scores", 1)))
    }
}

impl Class for tasks::NextSentencePrediction {
    fn load(spec: EncoderSpec, weights: &Weights) -> Box<dyn Module> {
        let head = PerSequence(scores(&spec, weights, "sentence", 2));
        Box::new(Headed::new(below(&spec, weights, Some((Vector::Pooler, "sentence"))), head))
    }
}

impl Class for tasks::Pretraining {
    fn load(spec: EncoderSpec, weights: &Weights) -> Box<dyn Module> {
        match spec.heads.pretraining {
            Pretraining::Sentences { output, labels } => {
                let body = below(&spec, weights, Some((Vector::Pooler, "sentence")));
                let prediction = prediction(&spec, weights, &body);
                let sentence = scores(&spec, weights, "sentence", labels);
                Box::new(Headed::new(body, TokensAndSentences { prediction, sentence, output }))
            }
            Pretraining::Replaced(activation) => {
                let at = weights.named(spec.names.heads.clone()).at("replaced");
                let width = spec.embeddings.hidden;
                let dense = Linear::load(&at.at("dense"), width, width, true);
                let head = Replaced { dense, activation, score: Linear::load(&at.at("scores"), width, 1, true) };
                Box::new(Headed::new(below(&spec, weights, None), head))
            }
        }
    }
}

/// Masked tokens, and how two sentences relate, at once.
#[derive(Debug)]
struct TokensAndSentences {
    prediction: Prediction,
    sentence: Linear,
    output: &'static str,
}

impl Readout for TokensAndSentences {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        Ok(Outputs::new()
            .with("prediction_logits", self.prediction.forward(&features.hidden))
            .with(self.output, self.sentence.forward(pooled(features)?)))
    }
}

/// Whether each token was replaced.
#[derive(Debug)]
struct Replaced {
    dense: Linear,
    activation: Activation,
    score: Linear,
}

impl Readout for Replaced {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        let x = self.activation.apply(&self.dense.forward(&features.hidden));
        Ok(Outputs::new().with("logits", self.score.forward(&x).squeeze_dim(-1)))
    }
}
