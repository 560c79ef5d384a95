//! What stands before encoder and decoder: it makes hidden states of audio, of text, or of a spectrogram.

use std::fmt::Debug;

use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use super::SpeechT5Config;
use crate::inputs::{Argument, Dim, Values};
use crate::models::wav2vec2::{ConvPositions, FeatureEncoder, Frames};
use crate::nn::{Embedding, Growth, Linear, Norm, NormSpec, Sinusoid};
use crate::weights::Weights;
use crate::{Error, Inputs, Result};

/// What stands before the encoder.
pub trait EncoderPrenet: Debug + Send + Sync {
    /// The arguments that it takes.
    fn arguments(&self) -> Vec<Argument>;

    /// The encoder's input, `[batch, tokens, width]`.
    fn forward(&self, inputs: &Inputs) -> Result<Tensor>;

    /// Which of its tokens are no padding, `[batch, tokens]`; `None` for all.
    fn real(&self, inputs: &Inputs) -> Option<Tensor> {
        inputs.get("attention_mask").map(Tensor::shallow_clone)
    }
}

/// Nothing: hidden states of this width come from the caller.
#[derive(Debug)]
pub struct Given(pub i64);

impl EncoderPrenet for Given {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{Exactly, Named};
        vec![
            Argument::required("input_values", Values::Float, &[Named("batch"), Named("tokens"), Exactly(self.0)]),
            Argument::optional("attention_mask", Values::Mask, &[Named("batch"), Named("encoded tokens")]),
        ]
    }

    fn forward(&self, inputs: &Inputs) -> Result<Tensor> {
        Ok(inputs.need("input_values")?.shallow_clone())
    }
}

/// Raw audio: strided convolutions, positions that a convolution reads off the frames, and those that count them.
#[derive(Debug)]
pub struct AudioPrenet {
    frames: Frames,
    features: FeatureEncoder,
    norm: Norm,
    projection: Linear,
    positions: ConvPositions,
    sinusoid: Sinusoid,
    padding: i64,
}

impl AudioPrenet {
    /// Loads the prenet from its place.
    pub fn load(config: &SpeechT5Config, weights: &Weights) -> Self {
        let width = config.hidden_size;
        let spec = config.features();
        if config.masked() {
            // Stands for masked frames, which only training has.
            weights.weight("masked_spec_embed", &[width]);
        }
        // Sinusoids, as older files carry them.
        weights.ignore("pos_sinusoidal_embed.weights");
        Self {
            frames: Frames::new(&spec),
            features: FeatureEncoder::load(&weights.at("features"), &spec),
            norm: Norm::load(&weights.at("projection_norm"), NormSpec::layer(config.layer_norm_eps), spec.channels()),
            projection: Linear::load(&weights.at("projection"), spec.channels(), width, true),
            positions: ConvPositions::load(weights, config.positions(), config.feat_extract_activation, false),
            sinusoid: Sinusoid { width, growth: Growth::Closed },
            padding: config.pad_token_id,
        }
    }
}

impl EncoderPrenet for AudioPrenet {
    fn arguments(&self) -> Vec<Argument> {
        let shape = [Dim::Named("batch"), Dim::AtLeast("samples", self.frames.samples(1))];
        vec![
            Argument::required("input_values", Values::Float, &shape),
            Argument::optional("attention_mask", Values::Mask, &shape),
        ]
    }

    fn forward(&self, inputs: &Inputs) -> Result<Tensor> {
        let frames = self.features.forward(inputs.need("input_values")?);
        let x = self.projection.forward(&self.norm.forward(&frames));
        let x = &x + self.positions.forward(&x);
        // Positions are counted as those of tokens are, with 1 for padded frames and 0 for all others as the tokens:
        // where `pad_token_id` is 0, it is the padded ones that have positions.
        let tokens = match self.real(inputs) {
            Some(real) => real.logical_not().to_kind(Kind::Int64),
            None => Tensor::zeros(&x.size()[..2], (Kind::Int64, x.device())),
        };
        Ok(&x + self.sinusoid.of_tokens(&tokens, self.padding, 0).to_kind(x.kind()))
    }

    /// By frames, where the mask of the inputs is by samples.
    fn real(&self, inputs: &Inputs) -> Option<Tensor> {
        let mask = inputs.get("attention_mask")?;
        let frames = match inputs.get("encoder_outputs") {
            Some(encoded) => encoded.size()[1],
            None => self.frames.count(mask.size()[1]),
        };
        Some(self.frames.mask(mask, frames))
    }
}

/// Sinusoids times a learned number (Li et al., 2018).
#[derive(Debug)]
struct ScaledPositions {
    sinusoid: Sinusoid,
    alpha: Weight,
}

impl ScaledPositions {
    /// Loads `encode_positions` of a prenet.
    fn load(weights: &Weights, width: i64) -> Self {
        let weights = weights.at("encode_positions");
        weights.ignore("pe");
        Self { sinusoid: Sinusoid { width, growth: Growth::Alternating }, alpha: weights.weight("alpha", &[]) }
    }

    /// `x` (`[batch, tokens, width]`) with the positions of tokens that come after `past` others.
    fn add(&self, x: &Tensor, past: i64) -> Tensor {
        let places = Tensor::arange_start(past, past + x.size()[1], (Kind::Int64, x.device()));
        x + &*self.alpha * self.sinusoid.at(&places).to_kind(x.kind())
    }
}

/// Text: vectors of tokens and positions.
#[derive(Debug)]
pub struct TextPrenet {
    vocabulary: i64,
    most: i64,
    tokens: Embedding,
    positions: ScaledPositions,
}

impl TextPrenet {
    /// Loads the prenet from its place.
    pub fn load(config: &SpeechT5Config, weights: &Weights) -> Self {
        let tokens = Embedding::load(&weights.at("embed_tokens"), config.vocab_size, config.hidden_size);
        Self {
            vocabulary: config.vocab_size,
            most: config.max_text_positions,
            tokens: tokens.with_padding(weights, Some(config.pad_token_id)),
            positions: ScaledPositions::load(weights, config.hidden_size),
        }
    }
}

impl EncoderPrenet for TextPrenet {
    fn arguments(&self) -> Vec<Argument> {
        let shape = [Dim::Named("batch"), Dim::AtMost("tokens", self.most)];
        let encoded = [Dim::Named("batch"), Dim::Named("encoded tokens")];
        vec![
            Argument::required("input_ids", Values::Ids(self.vocabulary), &shape),
            Argument::optional("attention_mask", Values::Mask, &encoded),
        ]
    }

    fn forward(&self, inputs: &Inputs) -> Result<Tensor> {
        Ok(self.positions.add(&self.tokens.forward(inputs.need("input_ids")?), 0))
    }
}

/// Spectrograms before the decoder: layers that drop elements at random, positions, and who speaks.
///
/// The randomness belongs to the model and is there in inference, too (Shen et al., 2017): libtorch's generator decides,
/// so that `tch::manual_seed` makes a pass repeatable.
#[derive(Debug)]
pub struct SpectrogramPrenet {
    most: i64,
    bands: i64,
    speaker_width: i64,
    /// The probability of keeping an element, as the reference has it: of `p` and of the divisor `1 - p`, too.
    kept: f64,
    layers: Vec<Linear>,
    last: Linear,
    positions: ScaledPositions,
    speaker: Linear,
}

impl SpectrogramPrenet {
    /// Loads the prenet from its place.
    pub fn load(config: &SpeechT5Config, weights: &Weights) -> Self {
        let (width, units) = (config.hidden_size, config.speech_decoder_prenet_units);
        let layer = |index| {
            let inputs = if index == 0 { config.num_mel_bins } else { units };
            Linear::load(&weights.at("layers").layer(index), inputs, units, true)
        };
        let speaker = config.speaker_embedding_dim;
        Self {
            most: config.max_speech_positions,
            bands: config.num_mel_bins,
            speaker_width: speaker,
            kept: config.speech_decoder_prenet_dropout,
            layers: (0..config.speech_decoder_prenet_layers as usize).map(layer).collect(),
            last: Linear::load(&weights.at("final_layer"), units, width, true),
            positions: ScaledPositions::load(weights, width),
            speaker: Linear::load(&weights.at("speaker_embeds_layer"), speaker + width, width, true),
        }
    }

    /// The arguments that it takes.
    pub fn arguments(&self) -> Vec<Argument> {
        use Dim::{AtMost, Exactly, Named};
        let shape = [Named("batch"), AtMost("decoder frames", self.most), Exactly(self.bands)];
        let speaker = [Named("batch"), Exactly(self.speaker_width)];
        vec![
            Argument::required("decoder_input_values", Values::Float, &shape),
            Argument::optional("speaker_embeddings", Values::Float, &speaker),
        ]
    }

    /// The decoder's input of frames that come after `past` others, `[batch, frames, width]`.
    pub fn forward(&self, inputs: &Inputs, past: i64) -> Result<Tensor> {
        let frames = inputs.need("decoder_input_values")?;
        let (new, most) = (frames.size()[1], self.most);
        if past + new > most {
            let message = format!("there are {past} frames in the cache and {new} new ones; the model takes {most}");
            return Err(Error::input("decoder_input_values", message));
        }
        let x = self.layers.iter().fold(frames.shallow_clone(), |x, layer| self.drop(&layer.forward(&x).relu()));
        let x = self.positions.add(&self.last.forward(&x), past);
        let Some(speaker) = inputs.get("speaker_embeddings") else { return Ok(x) };
        let length = speaker.square().sum_dim_intlist([1].as_slice(), true, None).sqrt().clamp_min(1e-12);
        let speaker = (speaker / length).unsqueeze(1).expand([-1, new, -1], false);
        Ok(self.speaker.forward(&Tensor::cat(&[x, speaker], 2)).relu())
    }

    /// `x` (`[batch, frames, units]`) with elements dropped at random, the same ones in every row.
    fn drop(&self, x: &Tensor) -> Tensor {
        let dropped = x.get(0).detach().bernoulli_p(self.kept).logical_not();
        x.masked_fill(&dropped, 0.0) / (1.0 - self.kept)
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::*;

    #[test]
    fn elements_are_dropped_alike_in_all_rows_and_repeatably() {
        let config = SpeechT5Config { speech_decoder_prenet_dropout: 0.75, ..SpeechT5Config::default() };
        let prenet = SpectrogramPrenet::load(&config, &Weights::nothing());
        let x = Tensor::ones([2, 50, 40], (Kind::Float, Device::Cpu));
        tch::manual_seed(3);
        let dropped = prenet.drop(&x);
        assert!(dropped.get(0).equal(&dropped.get(1)));
        let kept = dropped.gt(0);
        assert!(dropped.masked_select(&kept).eq(4).all().int64_value(&[]) == 1);
        let share = kept.to_kind(Kind::Float).mean(None).double_value(&[]);
        assert!((share - 0.75).abs() < 0.05, "{share}");
        tch::manual_seed(3);
        assert!(prenet.drop(&x).equal(&dropped));
    }
}
