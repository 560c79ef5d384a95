//! Pretraining: masked frames are told from distractors by what their unmasked features quantize to.

use tch::{Kind, Reduction, Tensor};
use tch_transformers_native::Weight;

use super::{SpeechBody, SpeechSpec};
use crate::config::{divides, positive};
use crate::inputs::{Argument, Dim, Values};
use crate::model::Module;
use crate::nn::Linear;
use crate::nn::heads::{Body, Features, Headed, Readout};
use crate::weights::Weights;
use crate::{Cache, Error, Inputs, Outputs, Result};

/// Product quantization of frames, and the losses of pretraining.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QuantizerSpec {
    /// Codebooks.
    pub groups: i64,
    /// Entries of each.
    pub codes: i64,
    /// Width of a quantized frame; a multiple of `groups`.
    pub width: i64,
    /// Width in which predicted and quantized frames are compared.
    pub projection: i64,
    /// What contrastive logits are divided by.
    pub temperature: f64,
    /// Weight of the diversity loss.
    pub diversity: f64,
}

/// Chooses one entry of each codebook for a frame and lays the entries side by side.
#[derive(Debug)]
struct Quantizer {
    groups: i64,
    codes: i64,
    scores: Linear,
    /// `[1, groups * codes, width / groups]`.
    codebooks: Weight,
}

impl Quantizer {
    fn load(weights: &Weights, channels: i64, spec: QuantizerSpec) -> Self {
        let QuantizerSpec { groups, codes, width, .. } = spec;
        Self {
            groups,
            codes,
            scores: Linear::load(&weights.at("weight_proj"), channels, groups * codes, true),
            codebooks: weights.weight("codevectors", &[1, groups * codes, width / groups]),
        }
    }

    /// The codes of `x` (`[batch, frames, channels]`): `[batch, frames, width]`, and the perplexity of their use among
    /// the frames in `masked` (`[batch, frames]`), or among all.
    fn forward(&self, x: &Tensor, masked: Option<&Tensor>) -> (Tensor, Tensor) {
        let (batch, frames) = (x.size()[0], x.size()[1]);
        let scores = self.scores.forward(x).view([batch * frames, self.groups, self.codes]);
        let chosen = scores.argmax(-1, true);
        let one_hot = scores.detach().zeros_like().scatter_value(-1, &chosen, 1.0);
        let entries = one_hot.view([batch * frames, -1]).unsqueeze(-1) * &*self.codebooks;
        let codes =
            entries.view([batch * frames, self.groups, self.codes, -1]).sum_dim_intlist([-2].as_slice(), false, None);
        (codes.view([batch, frames, -1]), Self::perplexity(&one_hot, masked))
    }

    fn perplexity(one_hot: &Tensor, masked: Option<&Tensor>) -> Tensor {
        let sum = |x: &Tensor| x.sum_dim_intlist([0].as_slice(), false, None);
        let shares = match masked {
            Some(masked) => {
                let outside = masked.logical_not().flatten(0, -1).view([-1, 1, 1]);
                sum(&one_hot.masked_fill(&outside, 0.0)) / masked.sum(None)
            }
            None => one_hot.mean_dim([0].as_slice(), false, None),
        };
        let entropy = shares.xlogy(&shares).sum_dim_intlist([-1].as_slice(), false, None).neg();
        entropy.exp().sum(None)
    }
}

/// The class with its quantizer.
///
/// # Errors
/// Where sizes do not fit each other.
pub fn pretraining(spec: &SpeechSpec, quantizer: QuantizerSpec, weights: &Weights) -> Result<Box<dyn Module>> {
    let sizes = [("num_codevectors_per_group", quantizer.codes), ("proj_codevector_dim", quantizer.projection)];
    positive(spec.name, &sizes)?;
    divides(spec.name, ("codevector_dim", quantizer.width), ("num_codevector_groups", quantizer.groups))?;
    if spec.output_width() != spec.hidden {
        return Err(Error::config(spec.name, "output_hidden_size", "must be `hidden_size` for pretraining"));
    }
    let head = Contrast {
        quantizer: Quantizer::load(&weights.at("quantizer"), spec.features.channels(), quantizer),
        states: Linear::load(&weights.at("project_hid"), spec.hidden, quantizer.projection, true),
        codes: Linear::load(&weights.at("project_q"), quantizer.width, quantizer.projection, true),
        spec: quantizer,
    };
    Ok(Box::new(Headed::new(WithNegatives(SpeechBody::load(spec, weights).with_extracted()), head)))
}

/// A body whose class also takes the indices of distractors.
#[derive(Debug)]
struct WithNegatives(SpeechBody);

impl Body for WithNegatives {
    fn arguments(&self) -> Vec<Argument> {
        let mut arguments = self.0.arguments();
        // No row of them belongs to a row of the batch: they point to frames of all rows.
        let shape = [Dim::Any, Dim::Named("frames"), Dim::Named("negatives")];
        arguments.push(Argument::optional("sampled_negative_indices", Values::Integer, &shape));
        arguments
    }

    fn run(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<Features> {
        self.0.run(inputs, cache)
    }
}

#[derive(Debug)]
struct Contrast {
    spec: QuantizerSpec,
    quantizer: Quantizer,
    states: Linear,
    codes: Linear,
}

impl Contrast {
    /// The distractors' codes, `[negatives, batch, frames, projection]`.
    fn negatives(codes: &Tensor, indices: &Tensor) -> Result<Tensor> {
        let (batch, frames, width) = codes.size3().map_err(|error| Error::Libtorch(error.to_string()))?;
        let wrong = |message| Err(Error::input("sampled_negative_indices", message));
        if indices.size()[..2] != [batch, frames] {
            let found = indices.size();
            return wrong(format!("has shape {found:?}, expected [{batch}, {frames}, negatives], as the audio gives"));
        }
        let (low, high) = indices.aminmax(None::<i64>, false);
        let (low, high, all) = (low.int64_value(&[]), high.int64_value(&[]), batch * frames);
        if low < 0 || high >= all {
            let worst = if low < 0 { low } else { high };
            return wrong(format!("holds {worst}; values must be from 0 to {} (frames of the batch)", all - 1));
        }
        let rows = codes.reshape([-1, width]).index_select(0, &indices.to_kind(Kind::Int64).flatten(0, -1));
        Ok(rows.view([batch, frames, -1, width]).permute([2, 0, 1, 3]))
    }

    /// Cross-entropy of finding the right code among the distractors, summed over the masked frames.
    fn contrastive_loss(&self, states: &Tensor, codes: &Tensor, negatives: &Tensor, masked: &Tensor) -> Tensor {
        let candidates = Tensor::cat(&[&codes.unsqueeze(0), negatives], 0);
        let similarity =
            Tensor::cosine_similarity(&states.to_kind(Kind::Float), &candidates.to_kind(Kind::Float), -1, 1e-8);
        let logits = similarity.to_kind(candidates.kind()) / self.spec.temperature;
        // A distractor equal to the right code is none.
        let same = negatives.eq_tensor(codes).all_dim(-1, false);
        let none = same.narrow(0, 0, 1).zeros_like();
        let logits = logits.masked_fill(&Tensor::cat(&[none, same], 0), f64::NEG_INFINITY);
        let size = logits.size()[0];
        let logits = logits.transpose(0, 2).reshape([-1, size]).to_kind(Kind::Float);
        let target = ((masked.to_kind(Kind::Int64) - 1) * -IGNORED).transpose(0, 1).flatten(0, -1);
        logits.cross_entropy_loss::<Tensor>(&target, None, Reduction::Sum, IGNORED, 0.0)
    }
}

/// The target of a frame that does not count.
const IGNORED: i64 = -100;

impl Readout for Contrast {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let Some(extracted) = features.rest.get("extract_features") else {
            return Err(Error::input("extract_features", "the body of this class does not return them"));
        };
        let masked = inputs.get("mask_time_indices").map(|masked| masked.to_kind(Kind::Bool));
        let states = self.states.forward(&features.hidden);
        let (codes, perplexity) = self.quantizer.forward(extracted, masked.as_ref());
        let codes = self.codes.forward(&codes);
        let outputs = Outputs::new()
            .with("projected_states", states.shallow_clone())
            .with("projected_quantized_states", codes.shallow_clone())
            .with("codevector_perplexity", perplexity.shallow_clone());
        let Some(indices) = inputs.get("sampled_negative_indices") else { return Ok(outputs) };
        let masked = masked.ok_or_else(|| Error::input("mask_time_indices", "is missing; the losses need it"))?;
        if states.size()[1] != codes.size()[1] {
            let message = "the adapter shortens the sequence, so that frames and codes cannot be compared";
            return Err(Error::input("sampled_negative_indices", message));
        }
        let contrastive = self.contrastive_loss(&states, &codes, &Self::negatives(&codes, indices)?, &masked);
        let all = (self.spec.groups * self.spec.codes) as f64;
        let diversity = (perplexity.neg() + all) / all * masked.sum(None);
        let loss = &contrastive + &diversity * self.spec.diversity;
        let outputs = outputs.with("contrastive_loss", contrastive).with("diversity_loss", diversity);
        Ok(outputs.with("loss", loss))
    }

    fn returns(&self, name: &str, _: &Inputs) -> bool {
        name != "extract_features"
    }
}
