//! What stands after a decoder of spectrograms.

use crate::nn::heads::{Features, Readout};
use crate::nn::{BatchNorm, Conv, ConvSpec, Linear};
use crate::weights::Weights;
use crate::{Inputs, Outputs, Result};

use super::SpeechT5Config;

/// A `spectrogram`, several frames for each step of the decoder, refined by convolutions (Shen et al., 2017), and
/// `stop_logits` of each frame being the last.
///
/// The reference keeps the logits for its own loop over frames; here they are an output, for callers to write theirs.
#[derive(Debug)]
pub struct SpectrogramPostnet {
    bands: i64,
    frames: Linear,
    stop: Linear,
    layers: Vec<(Conv<1>, Option<BatchNorm>)>,
}

impl SpectrogramPostnet {
    /// Loads the postnet from its place.
    pub fn load(config: &SpeechT5Config, weights: &Weights) -> Self {
        let SpeechT5Config { num_mel_bins: bands, reduction_factor: steps, .. } = *config;
        let hidden_size = config.hidden_size;
        let (count, kernel) = (config.speech_decoder_postnet_layers, config.speech_decoder_postnet_kernel);
        let layer = |index| {
            let channels = |end: bool| if end { bands } else { config.speech_decoder_postnet_units };
            let (inputs, outputs) = (channels(index == 0), channels(index + 1 == count));
            let conv = ConvSpec { padding: [kernel / 2], bias: false, ..ConvSpec::new(inputs, outputs, [kernel]) };
            let weights = weights.at("layers").layer(index as usize);
            Conv::load(&weights.at("conv"), conv).folded(BatchNorm::load(&weights.at("batch_norm"), outputs, 1e-5))
        };
        Self {
            bands,
            frames: Linear::load(&weights.at("feat_out"), hidden_size, bands * steps, true),
            stop: Linear::load(&weights.at("prob_out"), hidden_size, steps, true),
            layers: (0..count).map(layer).collect(),
        }
    }
}

impl Readout for SpectrogramPostnet {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        let x = &features.hidden;
        let batch = x.size()[0];
        let frames = self.frames.forward(x).view([batch, -1, self.bands]);
        let mut refined = frames.transpose(1, 2);
        for (index, (conv, norm)) in self.layers.iter().enumerate() {
            refined = conv.forward(&refined);
            if let Some(norm) = norm {
                refined = norm.forward(&refined);
            }
            if index + 1 < self.layers.len() {
                refined = refined.tanh();
            }
        }
        Ok(Outputs::new()
            .with("spectrogram", &frames + refined.transpose(1, 2))
            .with("stop_logits", self.stop.forward(x).view([batch, -1])))
    }
}
