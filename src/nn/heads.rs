//! Heads: what a class reads out of the hidden states of a body.

use std::fmt::Debug;

use tch::Tensor;
use tch_transformers_native::Weight;

use super::{Activation, Linear, Norm, NormSpec, Passed, Pooling};
use crate::inputs::{Argument, Dim};
use crate::model::{Generation, Module};
use crate::weights::Weights;
use crate::{Cache, CacheFormula, Inputs, Outputs, Result};

/// The part of a class that all heads of an architecture share.
pub trait Body: Debug + Send + Sync {
    /// The arguments of the forward pass.
    fn arguments(&self) -> Vec<Argument>;

    /// Computes the hidden states.
    fn run(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<Features>;

    /// As [`Module::embed`].
    fn embed(&self, _ids: &Tensor) -> Option<Tensor> {
        None
    }

    /// As [`Module::table`].
    fn table(&self) -> Option<Weight> {
        None
    }

    /// As [`Module::width`].
    fn width(&self) -> Option<i64> {
        None
    }

    /// As [`Module::renewed_beyond`].
    fn renewed_beyond(&self) -> Option<i64> {
        None
    }

    /// As [`Module::cache_formula`].
    fn cache_formula(&self) -> CacheFormula {
        CacheFormula::default()
    }

    /// As [`Module::reads_both_ways`].
    fn reads_both_ways(&self) -> bool {
        false
    }
}

/// What a body computes.
#[derive(Debug)]
pub struct Features {
    /// `[batch, tokens, hidden]` (or feature maps, for those heads that read them).
    pub hidden: Tensor,
    /// One vector per sequence, `[batch, hidden]`, where the body has a pooler.
    pub pooled: Option<Tensor>,
    /// Intermediates and further outputs.
    pub rest: Outputs,
}

impl Features {
    /// What a stack of layers returned.
    pub fn passed(passed: Passed) -> Self {
        Self { hidden: passed.last.shallow_clone(), pooled: None, rest: passed.recorded("") }
    }
}

/// Reads outputs out of features.
pub trait Readout: Debug + Send + Sync {
    /// The outputs that come before the body's own.
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs>;

    /// Whether the class also returns the body's own output `name`, or only reads it.
    fn returns(&self, _name: &str, _inputs: &Inputs) -> bool {
        true
    }
}

/// A body with a head: a class.
#[derive(Debug)]
pub struct Headed<B, R> {
    body: B,
    head: R,
    generation: Option<Generation>,
}

impl<B: Body, R: Readout> Headed<B, R> {
    /// `body` with `head`.
    pub fn new(body: B, head: R) -> Self {
        Self { body, head, generation: None }
    }

    /// A class that generates.
    pub fn generating(body: B, head: R, generation: Generation) -> Self {
        Self { body, head, generation: Some(generation) }
    }
}

impl<B: Body, R: Readout> Module for Headed<B, R> {
    fn arguments(&self) -> Vec<Argument> {
        self.body.arguments()
    }

    fn forward(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<Outputs> {
        let features = self.body.run(inputs, cache)?;
        let mut outputs = self.head.read(&features, inputs)?;
        outputs.extend(features.rest.into_iter().filter(|(name, _)| self.head.returns(name, inputs)));
        Ok(outputs)
    }

    fn generation(&self) -> Option<Generation> {
        self.generation
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

    fn renewed_beyond(&self) -> Option<i64> {
        self.body.renewed_beyond()
    }

    fn cache_formula(&self) -> CacheFormula {
        self.body.cache_formula()
    }

    fn reads_both_ways(&self) -> bool {
        self.body.reads_both_ways()
    }
}

/// No head: `last_hidden_state` and, where there is a pooler, `pooler_output`.
#[derive(Debug)]
pub struct Bare;

impl Readout for Bare {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        let mut outputs = Outputs::new().with("last_hidden_state", features.hidden.shallow_clone());
        if let Some(pooled) = &features.pooled {
            outputs.insert("pooler_output", pooled.shallow_clone());
        }
        Ok(outputs)
    }
}

/// `logits` of every token.
#[derive(Debug)]
pub struct PerToken(pub Linear);

impl Readout for PerToken {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        Ok(Outputs::new().with("logits", self.0.forward(&features.hidden)))
    }
}

/// `logits` of the next token; of the last `logits_to_keep` tokens where the input says so.
#[derive(Debug)]
pub struct NextToken(pub Linear);

impl Readout for NextToken {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        Ok(Outputs::new().with("logits", self.0.forward(&last_tokens(&features.hidden, inputs))))
    }
}

/// The last `logits_to_keep` tokens of `[batch, tokens, hidden]`; all where the input does not say.
pub fn last_tokens(hidden: &Tensor, inputs: &Inputs) -> Tensor {
    let tokens = hidden.size()[1];
    match inputs.flag("logits_to_keep").and_then(serde_json::Value::as_i64) {
        Some(keep @ 1..) if keep < tokens => hidden.narrow(1, tokens - keep, keep),
        _ => hidden.shallow_clone(),
    }
}

/// `start_logits` and `end_logits` of an answer's span.
#[derive(Debug)]
pub struct Span(pub Linear);

impl Readout for Span {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        let logits = self.0.forward(&features.hidden);
        let of = |index| logits.select(-1, index).contiguous();
        Ok(Outputs::new().with("start_logits", of(0)).with("end_logits", of(1)))
    }
}

/// `logits` of a whole sequence, from its pooled vector.
#[derive(Debug)]
pub struct PerSequence(pub Linear);

impl Readout for PerSequence {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        Ok(Outputs::new().with("logits", self.0.forward(pooled(features)?)))
    }
}

/// A head over the weighted sum of all layers' hidden states, or over the last ones as they are.
///
/// The body of a weighted sum records the hidden states of its layers whether the caller wants them or not.
#[derive(Debug)]
pub struct LayerSum<R> {
    weights: Option<Weight>,
    head: R,
    shows_layers: bool,
}

impl<R: Readout> LayerSum<R> {
    /// Loads `layer_weights` `[layers + 1]` where `weighted`.
    pub fn load(weights: &Weights, weighted: bool, layers: i64, head: R) -> Self {
        let weights = weights.weight_if(weighted, "layer_weights", &[layers + 1]);
        Self { weights, head, shows_layers: false }
    }

    /// For classes that return the summed hidden states even where the caller did not ask for them.
    pub fn showing_layers(self) -> Self {
        Self { shows_layers: true, ..self }
    }

    /// Sums `hidden_states.0`, `hidden_states.1`, … of `features`.
    fn sum(&self, weights: &Tensor, features: &Features) -> Tensor {
        let states = (0..weights.size()[0]).filter_map(|index| features.rest.get(&format!("hidden_states.{index}")));
        let states = Tensor::stack(&states.collect::<Vec<_>>(), 1);
        let weights = weights.softmax(-1, weights.kind()).view([-1, 1, 1]);
        (states * weights).sum_dim_intlist([1].as_slice(), false, None)
    }
}

impl<R: Readout> Readout for LayerSum<R> {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let Some(weights) = &self.weights else { return self.head.read(features, inputs) };
        let summed = Features { hidden: self.sum(weights, features), pooled: None, rest: Outputs::new() };
        self.head.read(&summed, inputs)
    }

    fn returns(&self, name: &str, inputs: &Inputs) -> bool {
        let hidden = name.starts_with("hidden_states.") && !inputs.is_set("output_hidden_states");
        (self.shows_layers || !hidden) && self.head.returns(name, inputs)
    }
}

/// `logits` of a whole sequence: of the mean over its tokens, projected first.
#[derive(Debug)]
pub struct ProjectedMean {
    projector: Linear,
    classifier: Linear,
}

impl ProjectedMean {
    /// Loads `projector`, from `width` to `projection`, and `classifier` into `labels`.
    pub fn load(weights: &Weights, width: i64, projection: i64, labels: i64) -> Self {
        Self {
            projector: Linear::load(&weights.at("projector"), width, projection, true),
            classifier: Linear::load(&weights.at("classifier"), projection, labels, true),
        }
    }

    /// The logits `[batch, labels]` of `hidden` (`[batch, tokens, width]`), of the tokens in `real` (`[batch, tokens]`)
    /// where it is given.
    pub fn logits(&self, hidden: &Tensor, real: Option<&Tensor>) -> Tensor {
        let x = self.projector.forward(hidden);
        let sum = |x: &Tensor| x.sum_dim_intlist([1].as_slice(), false, None);
        let mean = match real {
            Some(real) => sum(&x.masked_fill(&real.logical_not().unsqueeze(-1), 0.0)) / sum(real).unsqueeze(-1),
            None => x.mean_dim([1].as_slice(), false, None),
        };
        self.classifier.forward(&mean)
    }
}

impl Readout for ProjectedMean {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        Ok(Outputs::new().with("logits", self.logits(&features.hidden, None)))
    }
}

/// The pooled vector, which this head cannot do without.
pub fn pooled(features: &Features) -> Result<&Tensor> {
    features.pooled.as_ref().ok_or_else(|| crate::Error::input("pooled", "the body of this class has no pooler"))
}

/// `logits` of a whole image or sequence, from a vector pooled here; the vector itself where there are no labels.
#[derive(Debug)]
pub struct Classifier {
    pooling: Pooling,
    scores: Option<Linear>,
}

impl Classifier {
    /// Loads the scores of `labels` labels from vectors of `width` that `pooling` makes.
    pub fn load(weights: &Weights, pooling: Pooling, width: i64, labels: i64) -> Self {
        Self { pooling, scores: (labels > 0).then(|| Linear::load(weights, width, labels, true)) }
    }
}

impl Readout for Classifier {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        let pooled = self.pooling.forward(&features.hidden);
        let logits = self.scores.as_ref().map_or_else(|| pooled.shallow_clone(), |scores| scores.forward(&pooled));
        Ok(Outputs::new().with("logits", logits))
    }
}

/// One score for each of several choices: every input is `[batch, choices, …]`, `logits` are `[batch, choices]`.
#[derive(Debug)]
pub struct PerChoice<B> {
    body: B,
    score: Linear,
}

impl<B: Body> PerChoice<B> {
    /// `body` with one score of its pooled vector.
    pub fn new(body: B, score: Linear) -> Self {
        Self { body, score }
    }
}

impl<B: Body> Module for PerChoice<B> {
    fn arguments(&self) -> Vec<Argument> {
        let mut arguments = self.body.arguments();
        arguments.iter_mut().for_each(|argument| argument.shape.insert(1, Dim::Named("choices")));
        arguments
    }

    fn forward(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Outputs> {
        let choices = match inputs.get("input_ids") {
            Some(ids) => ids.size()[1],
            None => inputs.need("inputs_embeds")?.size()[1],
        };
        let features = self.body.run(&inputs.map(|_, tensor| tensor.flatten(0, 1)), None)?;
        let logits = self.score.forward(pooled(&features)?).view([-1, choices]);
        let mut outputs = Outputs::new().with("logits", logits);
        outputs.extend(features.rest);
        Ok(outputs)
    }
}

/// `activation(dense(first token))`.
#[derive(Debug)]
pub struct Pooler {
    dense: Linear,
    activation: Activation,
}

impl Pooler {
    /// Loads `dense`, square of `size`.
    pub fn load(weights: &Weights, size: i64, activation: Activation) -> Self {
        Self::resizing(weights, size, size, activation)
    }

    /// Loads `dense` from `inputs` to `outputs`.
    pub fn resizing(weights: &Weights, inputs: i64, outputs: i64, activation: Activation) -> Self {
        Self { dense: Linear::load(&weights.at("dense"), inputs, outputs, true), activation }
    }

    /// `[batch, tokens, inputs]` to `[batch, outputs]`.
    pub fn forward(&self, hidden: &Tensor) -> Tensor {
        self.activation.apply(&self.dense.forward(&hidden.select(1, 0)))
    }
}

/// Dense, activation, normalisation: what prediction heads put before their scores.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TransformSpec {
    /// Width of the input.
    pub inputs: i64,
    /// Width of the output.
    pub outputs: i64,
    /// Whether the dense layer has a bias.
    pub bias: bool,
    /// The activation.
    pub activation: Activation,
    /// The normalisation.
    pub norm: NormSpec,
}

/// [`TransformSpec`] with its parameters.
#[derive(Debug)]
pub struct Transform {
    dense: Linear,
    activation: Activation,
    norm: Norm,
}

impl Transform {
    /// Loads `dense` and `norm`.
    pub fn load(weights: &Weights, spec: TransformSpec) -> Self {
        Self {
            dense: Linear::load(&weights.at("dense"), spec.inputs, spec.outputs, spec.bias),
            activation: spec.activation,
            norm: Norm::load(&weights.at("norm"), spec.norm, spec.outputs),
        }
    }

    /// `[…, inputs]` to `[…, outputs]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.norm.forward(&self.activation.apply(&self.dense.forward(x)))
    }
}

/// The head of masked language models: a transform, then the vocabulary.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PredictionSpec {
    /// What comes first.
    pub transform: TransformSpec,
    /// Whether it does; without it the vocabulary reads the hidden states, as wide as its output.
    pub transforms: bool,
    /// Tokens in the vocabulary.
    pub vocabulary: i64,
    /// Whether the vocabulary's matrix is the table of embeddings.
    pub tied: bool,
    /// Where the bias is stored.
    pub bias: PredictionBias,
}

/// Where the bias of a [`Prediction`] is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredictionBias {
    /// There is none.
    None,
    /// With the matrix.
    Decoder,
    /// As `bias`, of which the one with the matrix is a copy; without ties the latter counts, and both are stored.
    Own,
}

/// [`PredictionSpec`] with its parameters.
#[derive(Debug)]
pub struct Prediction {
    transform: Option<Transform>,
    decoder: Linear,
}

impl Prediction {
    /// Loads as the spec says `dense`, `norm`, `decoder.weight`, `decoder.bias`, `bias`; `table` is that of embeddings.
    pub fn load(weights: &Weights, spec: PredictionSpec, table: &Weight) -> Self {
        let (vocabulary, decoder) = (spec.vocabulary, weights.at("decoder"));
        let matrix = match spec.tied {
            true => decoder.matrix_tied("weight", table),
            false => decoder.matrix("weight", [vocabulary, spec.transform.outputs]),
        };
        let bias = match (spec.bias, spec.tied) {
            (PredictionBias::None, _) => None,
            (PredictionBias::Decoder, _) => Some(decoder.weight("bias", &[vocabulary])),
            (PredictionBias::Own, true) => {
                let bias = weights.weight_of(&["bias", "decoder.bias"], &[vocabulary]);
                Some(decoder.weight_tied("bias", &bias))
            }
            (PredictionBias::Own, false) => {
                let _unused = weights.weight("bias", &[vocabulary]);
                Some(decoder.weight("bias", &[vocabulary]))
            }
        };
        let transform = spec.transforms.then(|| Transform::load(weights, spec.transform));
        Self { transform, decoder: Linear::of(matrix, bias) }
    }

    /// `[…, hidden]` to `[…, vocabulary]`.
    pub fn forward(&self, hidden: &Tensor) -> Tensor {
        match &self.transform {
            Some(transform) => self.decoder.forward(&transform.forward(hidden)),
            None => self.decoder.forward(hidden),
        }
    }
}

impl Readout for Prediction {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        Ok(Outputs::new().with("logits", self.forward(&last_tokens(&features.hidden, inputs))))
    }
}
