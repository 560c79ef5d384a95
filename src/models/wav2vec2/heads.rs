//! Heads that speech encoders share: CTC, classification of clips and frames, x-vectors.

use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use super::{Frames, SpeechBody, SpeechSpec};
use crate::config::{positive, same_length};
use crate::model::Module;
use crate::nn::heads::{Features, Headed, LayerSum, PerToken, ProjectedMean, Readout};
use crate::nn::{Activation, Conv, ConvSpec, Linear};
use crate::weights::Weights;
use crate::{Error, Inputs, Outputs, Result};

/// What the classification heads are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClassifierSpec {
    /// Number of labels.
    pub labels: i64,
    /// Width between the projector and the classifier of clips.
    pub projection: i64,
    /// Whether they read a weighted sum of all layers.
    pub weighted: bool,
}

/// A character of each frame, for connectionist temporal classification (Graves et al., 2006).
///
/// # Errors
/// Where the configuration has no `vocab_size`.
pub fn ctc(spec: &SpeechSpec, vocabulary: Option<i64>, weights: &Weights) -> Result<Box<dyn Module>> {
    let vocabulary = vocabulary.ok_or_else(|| {
        Error::config(spec.name, "vocab_size", "is null; the CTC head needs the number of characters")
    })?;
    let head = Linear::load(&weights.at("lm_head"), spec.output_width(), vocabulary, true);
    Ok(Box::new(Headed::new(SpeechBody::load(spec, weights), PerToken(head))))
}

/// Refuses convolutions after the transformer, with which this head does not exist.
fn without_adapter(spec: &SpeechSpec, head: &str) -> Result<()> {
    match spec.adapter {
        Some(_) => Err(Error::config(spec.name, "add_adapter", format!("must be false for {head}"))),
        None => Ok(()),
    }
}

/// `head` on `body`, over the layers that `classifier` says.
fn over_layers<R: Readout + 'static>(
    spec: &SpeechSpec,
    classifier: ClassifierSpec,
    weights: &Weights,
    body: SpeechBody,
    head: R,
) -> Box<dyn Module> {
    let head = LayerSum::load(weights, classifier.weighted, spec.stack.layers.len() as i64, head);
    Box::new(Headed::new(body.with_all_layers(classifier.weighted), head))
}

/// One label per clip, from the mean of its projected frames.
///
/// # Errors
/// Where the encoder has an adapter.
pub fn clip_classifier(spec: &SpeechSpec, classifier: ClassifierSpec, weights: &Weights) -> Result<Box<dyn Module>> {
    without_adapter(spec, "classification of clips")?;
    let mean = ProjectedMean::load(weights, spec.hidden, classifier.projection, classifier.labels);
    let head = PerClip { frames: spec.frames(), mean };
    Ok(over_layers(spec, classifier, weights, SpeechBody::load(spec, weights), head))
}

#[derive(Debug)]
struct PerClip {
    frames: Frames,
    mean: ProjectedMean,
}

impl Readout for PerClip {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let hidden = &features.hidden;
        let real = inputs.get("attention_mask").map(|mask| self.frames.mask(mask, hidden.size()[1]));
        Ok(Outputs::new().with("logits", self.mean.logits(hidden, real.as_ref())))
    }
}

/// Labels of every frame.
///
/// # Errors
/// Where the encoder has an adapter.
pub fn frame_classifier(spec: &SpeechSpec, classifier: ClassifierSpec, weights: &Weights) -> Result<Box<dyn Module>> {
    without_adapter(spec, "classification of frames")?;
    let head = PerToken(Linear::load(&weights.at("classifier"), spec.hidden, classifier.labels, true));
    Ok(over_layers(spec, classifier, weights, SpeechBody::load(spec, weights), head))
}

/// What an x-vector is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct XVectorSpec {
    /// Channels of each dilated convolution.
    pub channels: Vec<i64>,
    /// Their kernels.
    pub kernels: Vec<i64>,
    /// Their dilations.
    pub dilations: Vec<i64>,
    /// Width of the x-vector.
    pub outputs: i64,
}

/// One vector per clip that tells speakers apart (Snyder et al., 2018).
///
/// # Errors
/// Where the sizes of `x_vectors` do not fit each other or the encoder.
pub fn x_vector(
    spec: &SpeechSpec,
    classifier: ClassifierSpec,
    x_vectors: &XVectorSpec,
    weights: &Weights,
) -> Result<Box<dyn Module>> {
    let XVectorSpec { channels, kernels, dilations, outputs } = x_vectors;
    same_length(spec.name, ("tdnn_dim", channels), &[("tdnn_kernel", kernels), ("tdnn_dilation", dilations)])?;
    positive(spec.name, &[("xvector_output_dim", *outputs)])?;
    if spec.output_width() != spec.hidden {
        return Err(Error::config(spec.name, "output_hidden_size", "must be `hidden_size` for x-vectors"));
    }
    let sizes = std::iter::once(&channels[0]).chain(channels).zip(channels).zip(std::iter::zip(kernels, dilations));
    let layers = sizes.enumerate().map(|(index, ((inputs, outputs), (kernel, dilation)))| {
        let weights = weights.at("tdnn").layer(index).at("kernel");
        // The checkpoint keeps a matrix over the frames under the kernel, laid side by side.
        let matrix = weights.tensor("weight", &[*outputs, kernel * inputs]);
        let kernels = matrix.view([*outputs, *kernel, *inputs]).transpose(1, 2);
        let bias = weights.weight("bias", &[*outputs]);
        let conv = ConvSpec { dilation: [*dilation], ..ConvSpec::new(*inputs, *outputs, [*kernel]) };
        Conv::with(conv, Weight::new(kernels), Some(bias))
    });
    // What training pulls x-vectors towards; a part of the checkpoint all the same.
    let _objective = weights.weight("objective.weight", &[*outputs, classifier.labels]);
    let head = XVector {
        frames: spec.output_frames(),
        projector: Linear::load(&weights.at("projector"), spec.hidden, channels[0], true),
        layers: layers.collect(),
        kernels: kernels.clone(),
        features: Linear::load(&weights.at("feature_extractor"), 2 * channels[channels.len() - 1], *outputs, true),
        classifier: Linear::load(&weights.at("classifier"), *outputs, *outputs, true),
    };
    let least = std::iter::zip(kernels, dilations).map(|(kernel, dilation)| dilation * (kernel - 1)).sum::<i64>() + 1;
    let body = SpeechBody::load(spec, weights).with_least_frames(least);
    Ok(over_layers(spec, classifier, weights, body, head))
}

#[derive(Debug)]
struct XVector {
    frames: Frames,
    projector: Linear,
    layers: Vec<Conv<1>>,
    kernels: Vec<i64>,
    features: Linear,
    classifier: Linear,
}

impl XVector {
    /// Mean and standard deviation over the real frames: `[batch, frames, channels]` to `[batch, 2 * channels]`.
    fn pool(&self, x: &Tensor, attention_mask: Option<&Tensor>) -> Result<Tensor> {
        let statistics = |x: &Tensor, dim: i64| {
            Tensor::cat(&[x.mean_dim([dim].as_slice(), false, None), x.std_dim([dim].as_slice(), true, false)], -1)
        };
        let Some(mask) = attention_mask else { return Ok(statistics(x, 1)) };
        // As in transformers, dilations are not counted, and a negative length counts from the end.
        let shorter: i64 = self.kernels.iter().map(|kernel| kernel - 1).sum();
        let lengths = Vec::<i64>::try_from(self.frames.lengths(mask).to_kind(Kind::Int64) - shorter)
            .map_err(|error| Error::Libtorch(error.to_string()))?;
        let frames = x.size()[1];
        let length = |length: i64| (if length < 0 { frames + length } else { length }).clamp(0, frames);
        let rows = lengths.into_iter().enumerate();
        let pooled = rows.map(|(row, real)| statistics(&x.select(0, row as i64).narrow(0, 0, length(real)), 0));
        Ok(Tensor::stack(&pooled.collect::<Vec<_>>(), 0))
    }
}

impl Readout for XVector {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let projected = self.projector.forward(&features.hidden).transpose(1, 2);
        let x = self.layers.iter().fold(projected, |x, conv| Activation::Relu.apply(&conv.forward(&x)));
        let embeddings = self.features.forward(&self.pool(&x.transpose(1, 2), inputs.get("attention_mask"))?);
        let logits = self.classifier.forward(&embeddings);
        Ok(Outputs::new().with("logits", logits).with("embeddings", embeddings))
    }
}
