use serde_json::{Map, Value};
use tch::{Kind, Tensor};

use super::ResidualQuantizer;
use super::seanet::{ConvNorm, PadMode, PieceSpec, SeaNet, SeaNetSpec};
use crate::config::positive;
use crate::inputs::{Argument, Dim, Values};
use crate::model::{Architecture, Head, Module};
use crate::nn::{Activation, ConvSpec};
use crate::tasks;
use crate::weights::Weights;
use crate::{Cache, Error, Inputs, Outputs, Result};

crate::config! {
    /// Configuration of [`Encodec`].
    pub struct EncodecConfig("encodec") {
        /// Kilobits per second that can be chosen.
        target_bandwidths: Vec<f64> = vec![1.5, 3.0, 6.0, 12.0, 24.0],
        /// Samples per second.
        sampling_rate: i64 = 24_000,
        /// 1 for mono, 2 for stereo.
        audio_channels: i64 = 1,
        /// Whether audio is brought to the same loudness before it is encoded.
        normalize: bool = false,
        /// Seconds of the chunks that audio is cut into; one chunk where `None`.
        chunk_length_s: Option<f64> = None,
        /// Share of a chunk that the next one repeats.
        overlap: Option<f64> = None,
        /// Width of a frame.
        hidden_size: i64 = 128,
        /// Channels of the first convolution, doubled by each that follows.
        num_filters: i64 = 32,
        /// Residual blocks before each change of the rate.
        num_residual_layers: i64 = 1,
        /// By how much the decoder's convolutions raise the rate.
        upsampling_ratios: Vec<i64> = vec![8, 5, 4, 2],
        /// How convolutions are normalised: `weight_norm` or `time_group_norm`.
        norm_type: ConvNorm = ConvNorm::WeightNorm,
        /// Kernel of the first convolution.
        kernel_size: i64 = 7,
        /// Kernel of the last one.
        last_kernel_size: i64 = 7,
        /// Kernel of the residual blocks.
        residual_kernel_size: i64 = 3,
        /// By how much the dilation grows from one residual block to the next.
        dilation_growth_rate: i64 = 2,
        /// Whether a step sees only those before it.
        use_causal_conv: bool = true,
        /// What stands beyond the ends of a signal.
        pad_mode: PadMode = PadMode::Reflect,
        /// How much narrower the middle of a residual block is.
        compress: i64 = 2,
        /// Recurrent layers.
        num_lstm_layers: i64 = 2,
        /// Which share of what a transposed convolution makes too much is cut off at the end.
        trim_right_ratio: f64 = 1.0,
        /// Codes of a codebook, a power of 2.
        codebook_size: i64 = 1024,
        /// Width of a code: that of a frame.
        codebook_dim: i64 = 128,
        /// Whether residual blocks convolve their input before they add it.
        use_conv_shortcut: bool = true,
    }
    upgrade: upgrade;
    validate: validate;
}

fn upgrade(fields: &mut Map<String, Value>, default: &EncodecConfig) -> Result<()> {
    if fields.get("codebook_dim").is_none_or(Value::is_null) {
        let width = fields.get("hidden_size").cloned().unwrap_or_else(|| default.hidden_size.into());
        fields.insert("codebook_dim".into(), width);
    }
    Ok(())
}

fn validate(config: &EncodecConfig) -> Result<()> {
    let wrong = |field: &str, message: String| Err(Error::config("encodec", field, message));
    let sizes = [
        ("sampling_rate", config.sampling_rate),
        ("hidden_size", config.hidden_size),
        ("num_filters", config.num_filters),
        ("kernel_size", config.kernel_size),
        ("last_kernel_size", config.last_kernel_size),
        ("residual_kernel_size", config.residual_kernel_size),
        ("dilation_growth_rate", config.dilation_growth_rate),
        ("compress", config.compress),
        ("num_lstm_layers", config.num_lstm_layers),
        ("num_residual_layers", config.num_residual_layers + 1),
        ("upsampling_ratios", config.upsampling_ratios.iter().copied().min().unwrap_or(0)),
    ];
    positive("encodec", &sizes)?;
    if config.upsampling_ratios.len() > 16 {
        return wrong("upsampling_ratios", "has more than 16 of them".into());
    }
    if !(1..=2).contains(&config.audio_channels) {
        return wrong("audio_channels", format!("must be 1 or 2, got {}", config.audio_channels));
    }
    if config.codebook_dim != config.hidden_size {
        return wrong(
            "codebook_dim",
            format!("must be `hidden_size` ({}), got {}", config.hidden_size, config.codebook_dim),
        );
    }
    if config.num_filters < config.compress {
        return wrong("compress", format!("leaves nothing of `num_filters` ({})", config.num_filters));
    }
    if config.codebook_size < 2 || config.codebook_size.count_ones() != 1 {
        return wrong("codebook_size", format!("must be a power of 2, got {}", config.codebook_size));
    }
    if !(config.use_causal_conv || config.trim_right_ratio == 1.0) || !(0.0..=1.0).contains(&config.trim_right_ratio) {
        let message = format!("must be from 0 to 1, and 1 without `use_causal_conv`; got {}", config.trim_right_ratio);
        return wrong("trim_right_ratio", message);
    }
    if config.target_bandwidths.iter().any(|bandwidth| !(*bandwidth > 0.0 && *bandwidth < 1e4))
        || config.codebooks() < 1
    {
        return wrong("target_bandwidths", "must be positive and enough for one codebook".into());
    }
    let chunk = config.chunk_length_s.unwrap_or(1.0);
    if !(chunk > 0.0 && chunk < 1e6) || config.chunk().is_some_and(|(length, _)| length < 1) {
        return wrong("chunk_length_s", format!("must be a sample at least, got {chunk}"));
    }
    match (config.chunk_length_s, config.overlap) {
        (Some(_), None) => wrong("overlap", "is missing, which `chunk_length_s` needs".into()),
        (_, Some(overlap)) if !(0.0..1.0).contains(&overlap) => {
            wrong("overlap", format!("must be from 0 to below 1, got {overlap}"))
        }
        _ => Ok(()),
    }
}

impl EncodecConfig {
    /// Frames per second.
    fn frame_rate(&self) -> i64 {
        let hop: i64 = self.upsampling_ratios.iter().product();
        (self.sampling_rate as f64 / hop as f64).ceil() as i64
    }

    /// Bits of a code.
    fn bits(&self) -> f64 {
        (self.codebook_size as f64).log2()
    }

    /// How many codebooks the largest bandwidth pays for.
    fn codebooks(&self) -> i64 {
        let largest = self.target_bandwidths.last().copied().unwrap_or(0.0);
        (1000.0 * largest / (self.frame_rate() as f64 * self.bits().ceil())).floor() as i64
    }

    /// How many `bandwidth` pays for, one at least.
    fn codebooks_for(&self, bandwidth: f64) -> usize {
        (bandwidth * 1000.0 / (self.bits() * self.frame_rate() as f64)).floor().max(1.0) as usize
    }

    /// Length of a chunk and distance to the next, in samples.
    fn chunk(&self) -> Option<(i64, i64)> {
        let length = (self.chunk_length_s? * self.sampling_rate as f64) as i64;
        let stride = ((1.0 - self.overlap.unwrap_or(0.0)) * length as f64) as i64;
        Some((length, stride.max(1)))
    }

    fn shared(&self) -> SeaNetSpec {
        SeaNetSpec {
            causal: self.use_causal_conv,
            pad: self.pad_mode,
            norm: self.norm_type,
            trim: self.trim_right_ratio,
        }
    }

    /// The residual blocks on `channels`.
    fn residuals(&self, channels: i64) -> impl Iterator<Item = PieceSpec> + use<> {
        let (narrow, growth) = (channels / self.compress, self.dilation_growth_rate);
        let (kernel, shortcut) = (self.residual_kernel_size, self.use_conv_shortcut);
        (0..self.num_residual_layers as u32).map(move |index| {
            let dilated =
                ConvSpec { dilation: [growth.saturating_pow(index)], ..ConvSpec::new(channels, narrow, [kernel]) };
            PieceSpec::Residual { convs: [dilated, ConvSpec::new(narrow, channels, [1])], shortcut }
        })
    }

    /// From samples to frames.
    fn encoder(&self) -> Vec<PieceSpec> {
        let mut channels = self.num_filters;
        let mut pieces = vec![PieceSpec::Conv(ConvSpec::new(self.audio_channels, channels, [self.kernel_size]))];
        for ratio in self.upsampling_ratios.iter().rev() {
            let down = ConvSpec { stride: [*ratio], ..ConvSpec::new(channels, 2 * channels, [2 * ratio]) };
            pieces.extend(self.residuals(channels));
            pieces.extend([ELU, PieceSpec::Conv(down)]);
            channels *= 2;
        }
        let last = ConvSpec::new(channels, self.hidden_size, [self.last_kernel_size]);
        pieces.extend([PieceSpec::Lstm { width: channels, layers: self.num_lstm_layers }, ELU, PieceSpec::Conv(last)]);
        pieces
    }

    /// And back.
    fn decoder(&self) -> Vec<PieceSpec> {
        let mut channels = self.num_filters << self.upsampling_ratios.len();
        let first = ConvSpec::new(self.hidden_size, channels, [self.kernel_size]);
        let mut pieces =
            vec![PieceSpec::Conv(first), PieceSpec::Lstm { width: channels, layers: self.num_lstm_layers }];
        for ratio in &self.upsampling_ratios {
            let up = ConvSpec { stride: [*ratio], ..ConvSpec::new(channels, channels / 2, [2 * ratio]) };
            channels /= 2;
            pieces.extend([ELU, PieceSpec::Up(up)]);
            pieces.extend(self.residuals(channels));
        }
        let last = ConvSpec::new(channels, self.audio_channels, [self.last_kernel_size]);
        pieces.extend([ELU, PieceSpec::Conv(last)]);
        pieces
    }
}

const ELU: PieceSpec = PieceSpec::Activation(Activation::Elu);

/// EnCodec (Défossez et al., 2022); `transformers.models.encodec`.
#[derive(Debug)]
pub struct Encodec;

impl Architecture for Encodec {
    type Config = EncodecConfig;
}

/// Audio to codes and back.
///
/// Takes `input_values` `[batch, channels, samples]`, `padding_mask` `[batch, 1 or channels, samples]` and the flag
/// `bandwidth`; or `audio_codes` `[chunks, batch, codebooks, frames]`, with `audio_scales` `[chunks, batch, 1]` where
/// audio is normalised, which are decoded only. Returns `audio_codes` and `audio_values` `[batch, channels, samples]`.
#[derive(Debug)]
struct Codec {
    config: EncodecConfig,
    encoder: SeaNet,
    quantizer: ResidualQuantizer,
    decoder: SeaNet,
}

/// The codes of a whole recording.
struct Encoded {
    /// `[batch, codebooks, frames]` of each chunk.
    chunks: Vec<Tensor>,
    /// What each was divided by, `[batch, 1, 1]`, where audio is normalised.
    scales: Vec<Option<Tensor>>,
}

impl Codec {
    fn load(config: &EncodecConfig, weights: &Weights) -> Self {
        let width = config.hidden_size;
        Self {
            encoder: SeaNet::load(&weights.at("encoder"), config.shared(), &config.encoder()),
            quantizer: ResidualQuantizer::load(
                &weights.at("quantizer"),
                config.codebooks(),
                config.codebook_size,
                width,
            ),
            decoder: SeaNet::load(&weights.at("decoder"), config.shared(), &config.decoder()),
            config: config.clone(),
        }
    }

    /// How many codebooks the inputs ask for.
    fn codebooks(&self, inputs: &Inputs) -> Result<usize> {
        let known = &self.config.target_bandwidths;
        let bandwidth = match inputs.flag("bandwidth") {
            None | Some(Value::Null) => known[0],
            Some(given) => given.as_f64().filter(|given| known.contains(given)).ok_or_else(|| {
                Error::input("bandwidth", format!("{given} is not one of `target_bandwidths`, {known:?}"))
            })?,
        };
        Ok(self.config.codebooks_for(bandwidth).min(self.quantizer.len()))
    }

    /// Samples of each chunk of `samples`: where it starts, and how many.
    fn cuts(&self, samples: i64) -> Vec<(i64, i64)> {
        let (length, stride) = self.config.chunk().unwrap_or((samples, samples));
        (0..samples).step_by(stride.max(1) as usize).map(|start| (start, length.min(samples - start))).collect()
    }

    fn encode(&self, audio: &Tensor, mask: Option<&Tensor>, codebooks: usize) -> Encoded {
        let mut encoded = Encoded { chunks: Vec::new(), scales: Vec::new() };
        let audio = match mask {
            Some(mask) => audio * mask.to_kind(Kind::Bool),
            None => audio.shallow_clone(),
        };
        for (start, length) in self.cuts(audio.size()[2]) {
            let chunk = audio.narrow(2, start, length);
            let scale = self.config.normalize.then(|| {
                let mono = chunk.mean_dim([1].as_slice(), true, None::<Kind>);
                mono.square().mean_dim([2].as_slice(), true, None::<Kind>).sqrt() + 1e-8
            });
            let chunk = scale.as_ref().map_or_else(|| chunk.shallow_clone(), |scale| &chunk / scale);
            encoded.chunks.push(self.quantizer.encode(&self.encoder.forward(&chunk), codebooks));
            encoded.scales.push(scale);
        }
        encoded
    }

    /// `[batch, channels, samples]` of all chunks, one fading into the next where they overlap.
    fn decode(&self, encoded: &Encoded) -> Tensor {
        let chunks = std::iter::zip(&encoded.chunks, &encoded.scales).map(|(codes, scale)| {
            let audio = self.decoder.forward(&self.quantizer.decode(codes));
            scale.as_ref().map_or_else(|| audio.shallow_clone(), |scale| &audio * scale)
        });
        let chunks: Vec<Tensor> = chunks.collect();
        match self.config.chunk() {
            Some((_, stride)) => overlapped(&chunks, stride),
            None => chunks.into_iter().next().unwrap_or_default(),
        }
    }

    /// What `audio_codes` and `audio_scales` of the inputs hold.
    fn given(&self, codes: &Tensor, scales: Option<&Tensor>) -> Result<Encoded> {
        if self.config.normalize && scales.is_none() {
            return Err(Error::input("audio_scales", "is missing; this codec normalises audio"));
        }
        let chunks = codes.unbind(0);
        if self.config.chunk_length_s.is_none() && chunks.len() != 1 {
            return Err(Error::input("audio_codes", format!("has {} chunks, this codec makes one", chunks.len())));
        }
        if codes.size()[2] > self.quantizer.len() as i64 {
            let message = format!("has {} codebooks, the model {}", codes.size()[2], self.quantizer.len());
            return Err(Error::input("audio_codes", message));
        }
        let scales = match scales {
            Some(scales) => scales.unsqueeze(-1).unbind(0).into_iter().map(Some).collect(),
            None => chunks.iter().map(|_| None).collect(),
        };
        Ok(Encoded { chunks, scales })
    }
}

/// Chunks `stride` samples apart as one signal: their mean where several overlap, each weighted by how near its middle a
/// sample is.
fn overlapped(chunks: &[Tensor], stride: i64) -> Tensor {
    let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else { return Tensor::default() };
    let options = (first.kind(), first.device());
    let (size, length) = (first.size(), first.size()[2]);
    let samples = stride * (chunks.len() as i64 - 1) + last.size()[2];
    let time = Tensor::linspace(0.0, 1.0, length + 2, options).narrow(0, 1, length);
    let weight: Tensor = 0.5 - (time - 0.5).abs();
    let mut sum = Tensor::zeros([size[0], size[1], samples], options);
    let weights = Tensor::zeros([samples], options);
    for (index, chunk) in chunks.iter().enumerate() {
        let (start, length) = (index as i64 * stride, chunk.size()[2]);
        let weight = weight.narrow(0, 0, length);
        let rest = samples - start - length;
        sum += (chunk * &weight).constant_pad_nd([start, rest]);
        let mut covered = weights.narrow(0, start, length);
        covered += weight;
    }
    sum / weights
}

impl Module for Codec {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{Any, Broadcast, Exactly, Named};
        let EncodecConfig { audio_channels, codebook_size, .. } = self.config;
        let audio = [Named("batch"), Exactly(audio_channels), Named("samples")];
        vec![
            Argument::optional("input_values", Values::Float, &audio),
            Argument::optional(
                "padding_mask",
                Values::Mask,
                &[Named("batch"), Broadcast("channels"), Named("samples")],
            ),
            Argument::optional("audio_codes", Values::Ids(codebook_size), &[Named("chunks"), Any, Any, Any]),
            Argument::optional("audio_scales", Values::Float, &[Named("chunks"), Any, Exactly(1)]),
        ]
    }

    fn forward(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Outputs> {
        let encoded = match inputs.get("audio_codes") {
            Some(codes) => self.given(codes, inputs.get("audio_scales"))?,
            None => {
                let mask = inputs.get("padding_mask");
                self.encode(inputs.need("input_values")?, mask, self.codebooks(inputs)?)
            }
        };
        let audio = self.decode(&encoded);
        let wanted = inputs.get("input_values").map_or(audio.size()[2], |given| given.size()[2]);
        let audio = audio.narrow(2, 0, audio.size()[2].min(wanted));
        // The last chunk may be shorter.
        let frames = encoded.chunks.first().map_or(0, |codes| codes.size()[2]);
        let codes = encoded.chunks.iter().map(|codes| codes.constant_pad_nd([0, frames - codes.size()[2]]));
        Ok(Outputs::new().with("audio_codes", Tensor::stack(&codes.collect::<Vec<_>>(), 0)).with("audio_values", audio))
    }
}

impl Head<tasks::FeatureExtraction> for Encodec {
    fn load(config: &EncodecConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Codec::load(config, weights)))
    }
}

impl Head<tasks::AudioTokenization> for Encodec {
    fn load(config: &EncodecConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Codec::load(config, weights)))
    }
}
