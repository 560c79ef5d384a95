use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use crate::inputs::Argument;
use crate::model::Module;
use crate::models::decoder::{self, DecoderBody, DecoderSpec};
use crate::nn::heads::{
    Body, Features, Headed, PerChoice, PerSequence, PerToken, Prediction, PredictionSpec, Span, Transform,
};
use crate::nn::{Linear, token_at};
use crate::tasks::{self, Task};
use crate::weights::{NameTable, Weights};
use crate::{Cache, Inputs, Result};

/// What an encoder of this kind is made of.
#[derive(Debug, Clone)]
pub struct ModernSpec {
    /// The body.
    pub body: DecoderSpec,
    /// The head over the vocabulary, whose transform all other heads have, too.
    pub prediction: PredictionSpec,
    /// How a sequence becomes one vector.
    pub pooling: ClassifierPooling,
}

/// How a sequence becomes one vector; `classifier_pooling` of configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClassifierPooling {
    /// Its first token.
    Cls,
    /// The mean of its real tokens.
    Mean,
}

impl crate::proofs::Takes for ClassifierPooling {
    const KIND: crate::proofs::Kind = crate::proofs::Kind::Str;
}

/// A task that every encoder of this kind can have a class for.
pub trait Class: Task {
    /// Builds the class.
    fn load(spec: ModernSpec, weights: &Weights) -> Box<dyn Module>;
}

impl Class for tasks::FeatureExtraction {
    fn load(spec: ModernSpec, weights: &Weights) -> Box<dyn Module> {
        <Self as decoder::Class>::load(spec.body, weights)
    }
}

impl Class for tasks::FillMask {
    fn load(spec: ModernSpec, weights: &Weights) -> Box<dyn Module> {
        let body = DecoderBody::load(spec.body.clone(), weights, &[spec.body.names.prefix, ""]);
        let head = Prediction::load(&weights.named(names()), spec.prediction, &body.words());
        Box::new(Headed::new(body, head))
    }
}

impl Class for tasks::TextClassification {
    fn load(spec: ModernSpec, weights: &Weights) -> Box<dyn Module> {
        let head = PerSequence(scores(weights, &spec, spec.body.labels));
        let pooled = match spec.pooling {
            ClassifierPooling::Cls => Pooled::First,
            ClassifierPooling::Mean => Pooled::Mean,
        };
        Box::new(Headed::new(ModernBody::load(spec, weights, Some(pooled)), head))
    }
}

impl Class for tasks::MultipleChoice {
    fn load(spec: ModernSpec, weights: &Weights) -> Box<dyn Module> {
        let score = scores(weights, &spec, 1);
        let pooled = match spec.pooling {
            ClassifierPooling::Cls => Pooled::FirstReal,
            ClassifierPooling::Mean => Pooled::Mean,
        };
        Box::new(PerChoice::new(ModernBody::load(spec, weights, Some(pooled)), score))
    }
}

impl Class for tasks::TokenClassification {
    fn load(spec: ModernSpec, weights: &Weights) -> Box<dyn Module> {
        let head = PerToken(scores(weights, &spec, spec.body.labels));
        Box::new(Headed::new(ModernBody::load(spec, weights, None), head))
    }
}

impl Class for tasks::QuestionAnswering {
    fn load(spec: ModernSpec, weights: &Weights) -> Box<dyn Module> {
        let head = Span(scores(weights, &spec, 2));
        Box::new(Headed::new(ModernBody::load(spec, weights, None), head))
    }
}

/// The names of the transform.
fn names() -> NameTable {
    NameTable::new().names(&[("dense", "head.dense"), ("norm", "head.norm")])
}

fn scores(weights: &Weights, spec: &ModernSpec, outputs: i64) -> Linear {
    Linear::load(&weights.at("classifier"), spec.prediction.transform.outputs, outputs, true)
}

/// Which vector stands for a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pooled {
    First,
    FirstReal,
    Mean,
}

impl Pooled {
    /// `[batch, tokens, hidden]` to `[batch, hidden]`; `real` is `[batch, tokens]`.
    fn forward(self, hidden: &Tensor, real: Option<&Tensor>) -> Tensor {
        match (self, real) {
            (Self::First, _) | (Self::FirstReal, None) => hidden.select(1, 0),
            (Self::FirstReal, Some(real)) => token_at(hidden, &real.to_kind(Kind::Int64).argmax(-1, false)),
            (Self::Mean, None) => hidden.mean_dim(1, false, None::<Kind>),
            (Self::Mean, Some(real)) => {
                let real = real.to_kind(hidden.kind()).unsqueeze(-1);
                let sum = |x: &Tensor| x.sum_dim_intlist(1, false, None::<Kind>);
                sum(&(hidden * &real)) / sum(&real)
            }
        }
    }
}

/// The body with the transform of the heads: on every token, or on the vector of a sequence.
#[derive(Debug)]
pub struct ModernBody {
    body: DecoderBody,
    transform: Transform,
    pooled: Option<Pooled>,
}

impl ModernBody {
    /// Loads the body below its prefix or not, and `head`.
    fn load(spec: ModernSpec, weights: &Weights, pooled: Option<Pooled>) -> Self {
        let places = [spec.body.names.prefix, ""];
        let transform = Transform::load(&weights.named(names()), spec.prediction.transform);
        Self { body: DecoderBody::load(spec.body, weights, &places), transform, pooled }
    }
}

impl Body for ModernBody {
    fn arguments(&self) -> Vec<Argument> {
        self.body.arguments()
    }

    fn run(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<Features> {
        let features = self.body.run(inputs, cache)?;
        Ok(match self.pooled {
            Some(pooled) => {
                let vector = pooled.forward(&features.hidden, inputs.get("attention_mask"));
                Features { pooled: Some(self.transform.forward(&vector)), ..features }
            }
            None => Features { hidden: self.transform.forward(&features.hidden), ..features },
        })
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        self.body.embed(ids)
    }

    fn table(&self) -> Option<Weight> {
        self.body.table()
    }

    fn width(&self) -> Option<i64> {
        self.body.width()
    }
}
