//! wav2vec 2.0 and its heirs: strided convolutions over raw audio, convolutional positions, a transformer encoder.
//!
//! [`SpeechSpec`] says what varies: the norms of convolutions and frames ([`FeatureSpec`]), how positions are made, where
//! layers normalise, what follows the transformer. Heads read any of them.

mod config;
mod features;
mod heads;
mod hubert;
mod positions;
mod pretraining;

pub use config::{FeatureNorm, RawAudioConfig, SpeechConfig, Wav2Vec2Config};
pub use features::{ChannelNorm, FeatureEncoder, FeatureSpec, Frames};
pub use heads::{ClassifierSpec, XVectorSpec, clip_classifier, ctc, frame_classifier, x_vector};
pub use hubert::{Hubert, HubertConfig, hubert};
pub use positions::ConvPositions;
pub use pretraining::{QuantizerSpec, pretraining};

use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use crate::inputs::{Argument, Dim, Values};
use crate::model::{Architecture, Head, Module};
use crate::nn::heads::{Bare, Body, Features, Headed};
use crate::nn::{
    Activation, AttentionSpec, Context, Conv, ConvSpec, LayerSpec, Linear, Mask, MlpSpec, Norm, NormSpec, Placement,
    Stack, StackSpec,
};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Cache, Error, Inputs, Outputs, Result};

/// wav2vec 2.0 (Baevski et al., 2020); `transformers.models.wav2vec2`.
#[derive(Debug)]
pub struct Wav2Vec2;

impl Architecture for Wav2Vec2 {
    type Config = Wav2Vec2Config;
}

/// What varies among speech encoders over raw audio.
#[derive(Debug, Clone, PartialEq)]
pub struct SpeechSpec {
    /// `model_type`, and where the classes with a head keep the encoder.
    pub name: &'static str,
    /// The convolutions over raw audio.
    pub features: FeatureSpec,
    /// The normalisation of frames before they are projected to the transformer's width.
    pub projection_norm: Option<NormSpec>,
    /// Width of the transformer.
    pub hidden: i64,
    /// The convolution whose output is added as positions.
    pub position: ConvSpec<1>,
    /// Whether its input is normalised over the batch's statistics in training.
    pub position_norm: bool,
    /// The activation after it.
    pub position_activation: Activation,
    /// The normalisation of what enters the transformer.
    pub input_norm: Option<NormSpec>,
    /// The transformer.
    pub stack: StackSpec,
    /// Whether there is a vector that stands for masked frames.
    pub masked: bool,
    /// Whether masks of frames have an effect.
    pub augment: bool,
    /// Strided convolutions after the transformer.
    pub adapter: Option<AdapterSpec>,
}

/// Gated strided convolutions that shorten the sequence after the transformer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdapterSpec {
    /// Width of the transformer.
    pub inputs: i64,
    /// Channels; frames are projected and normalised first where this differs from `inputs`.
    pub outputs: i64,
    /// Number of convolutions.
    pub layers: i64,
    /// Their kernel.
    pub kernel: i64,
    /// Their stride.
    pub stride: i64,
}

impl SpeechSpec {
    /// How many frames the transformer sees.
    pub fn frames(&self) -> Frames {
        Frames::new(&self.features)
    }

    /// How many frames come out at the end.
    pub fn output_frames(&self) -> Frames {
        match self.adapter {
            Some(adapter) => self.frames().then(adapter.layers, adapter.stride),
            None => self.frames(),
        }
    }

    /// Width of what comes out at the end.
    pub fn output_width(&self) -> i64 {
        self.adapter.map_or(self.hidden, |adapter| adapter.outputs)
    }

    /// The fewest samples that leave `frames` at the end.
    fn samples(&self, frames: i64) -> i64 {
        let frames = self.adapter.map_or(frames, |adapter| {
            // One zero is added on both sides.
            (0..adapter.layers).fold(frames, |frames, _| ((frames - 1) * adapter.stride + adapter.kernel - 2).max(1))
        });
        self.frames().samples(frames)
    }
}

/// What wav2vec 2.0 is made of.
pub fn spec(config: &Wav2Vec2Config) -> SpeechSpec {
    let mut spec = plain("wav2vec2", config);
    let adapter = |width| {
        let mlp = MlpSpec::plain(config.hidden_size, width, Activation::Relu);
        (NormSpec::layer(1e-5), mlp)
    };
    let language = config.adapter_attn_dim.filter(|_| config.do_stable_layer_norm).map(adapter);
    spec.stack.layers.iter_mut().for_each(|layer| layer.adapter = language);
    spec.adapter = config.add_adapter.then_some(AdapterSpec {
        inputs: config.hidden_size,
        outputs: config.output_hidden_size,
        layers: config.num_adapter_layers,
        kernel: config.adapter_kernel_size,
        stride: config.adapter_stride,
    });
    spec
}

/// What speech encoders over raw audio have in common; `name` is the architecture's.
pub fn plain(name: &'static str, config: &SpeechConfig) -> SpeechSpec {
    let norm = NormSpec::layer(config.layer_norm_eps);
    let stable = config.do_stable_layer_norm;
    let mlp = MlpSpec::plain(config.hidden_size, config.intermediate_size, config.hidden_act);
    let attention = AttentionSpec::even(config.hidden_size, config.num_attention_heads);
    let layer = LayerSpec {
        placement: if stable { Placement::Pre } else { Placement::Post },
        ..LayerSpec::new(attention, mlp, norm)
    };
    SpeechSpec {
        name,
        features: config.features(),
        projection_norm: Some(norm),
        hidden: config.hidden_size,
        position: config.positions(),
        position_norm: false,
        position_activation: config.feat_extract_activation,
        input_norm: (!stable).then_some(norm),
        stack: StackSpec { layers: vec![layer; config.num_hidden_layers as usize], final_norm: stable.then_some(norm) },
        masked: config.masked(),
        augment: config.apply_spec_augment,
        adapter: None,
    }
}

fn names() -> NameTable {
    NameTable::new().names(&[
        ("features", "feature_extractor.conv_layers"),
        ("features.*.norm", "feature_extractor.conv_layers.*.layer_norm"),
        ("projection_norm", "feature_projection.layer_norm"),
        ("projection", "feature_projection.projection"),
        ("position", "encoder.pos_conv_embed.conv"),
        ("position_norm", "encoder.pos_conv_embed.batch_norm"),
        ("norm", "encoder.layer_norm"),
        ("layers", "encoder.layers"),
        ("layers.*.attention.q", "encoder.layers.*.attention.q_proj"),
        ("layers.*.attention.k", "encoder.layers.*.attention.k_proj"),
        ("layers.*.attention.v", "encoder.layers.*.attention.v_proj"),
        ("layers.*.attention.o", "encoder.layers.*.attention.out_proj"),
        ("layers.*.attention_norm", "encoder.layers.*.layer_norm"),
        ("layers.*.mlp.up", "encoder.layers.*.feed_forward.intermediate_dense"),
        ("layers.*.mlp.down", "encoder.layers.*.feed_forward.output_dense"),
        ("layers.*.mlp_norm", "encoder.layers.*.final_layer_norm"),
        ("layers.*.adapter.up", "encoder.layers.*.adapter_layer.linear_1"),
        ("layers.*.adapter.down", "encoder.layers.*.adapter_layer.linear_2"),
        ("layers.*.adapter_norm", "encoder.layers.*.adapter_layer.norm"),
    ])
}

/// A speech encoder over raw audio: everything but the heads.
#[derive(Debug)]
pub struct SpeechBody {
    spec: SpeechSpec,
    frames: Frames,
    features: FeatureEncoder,
    projection_norm: Option<Norm>,
    projection: Linear,
    masked: Option<Weight>,
    positions: ConvPositions,
    input_norm: Option<Norm>,
    stack: Stack,
    adapter: Option<Adapter>,
    /// The fewest samples that it takes.
    samples: i64,
    extracted: bool,
    all_layers: bool,
}

impl SpeechBody {
    /// Loads the body from the root of a class's weights, below its name or not.
    pub fn load(spec: &SpeechSpec, weights: &Weights) -> Self {
        let weights = weights.either(&[spec.name, ""]).named(names());
        let norm = |norm: NormSpec| Norm::load(&weights.at("norm"), norm, spec.hidden);
        let channels = spec.features.channels();
        Self {
            frames: spec.frames(),
            features: FeatureEncoder::load(&weights.at("features"), &spec.features),
            projection_norm: spec
                .projection_norm
                .map(|norm| Norm::load(&weights.at("projection_norm"), norm, channels)),
            projection: Linear::load(&weights.at("projection"), channels, spec.hidden, true),
            masked: weights.weight_if(spec.masked, "masked_spec_embed", &[spec.hidden]),
            positions: ConvPositions::load(&weights, spec.position, spec.position_activation, spec.position_norm),
            input_norm: spec.input_norm.map(norm),
            stack: Stack::load(&weights, &spec.stack),
            adapter: spec.adapter.map(|adapter| Adapter::load(&weights.at("adapter"), adapter)),
            samples: spec.samples(1),
            extracted: false,
            all_layers: false,
            spec: spec.clone(),
        }
    }

    /// With the output `extract_features`: the frames before the transformer, normalised.
    pub fn with_extracted(self) -> Self {
        Self { extracted: true, ..self }
    }

    /// With the hidden states of all layers recorded where `wanted`, whether the caller wants them or not.
    pub fn with_all_layers(self, wanted: bool) -> Self {
        Self { all_layers: wanted, ..self }
    }

    /// For a head that needs at least so many frames.
    pub fn with_least_frames(self, frames: i64) -> Self {
        Self { samples: self.spec.samples(frames), ..self }
    }

    /// Puts the vector of masked frames where `masked` (`[batch, frames]`) is true.
    fn mask_frames(&self, x: Tensor, masked: Option<&Tensor>) -> Result<Tensor> {
        let Some(masked) = masked.filter(|_| self.spec.augment) else { return Ok(x) };
        let frames = x.size()[1];
        if masked.size()[1] != frames {
            let message = format!("has {} frames, the audio gives {frames}", masked.size()[1]);
            return Err(Error::input("mask_time_indices", message));
        }
        let vector = self.masked.as_ref().ok_or_else(|| {
            Error::input("mask_time_indices", "the model has no vector for masked frames (`mask_time_prob` is 0)")
        })?;
        Ok(vector.where_self(&masked.to_kind(Kind::Bool).unsqueeze(-1), &x))
    }
}

impl Body for SpeechBody {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{AtLeast, Named};
        let samples = AtLeast("samples", self.samples);
        vec![
            Argument::required("input_values", Values::Float, &[Named("batch"), samples]),
            Argument::optional("attention_mask", Values::Mask, &[Named("batch"), samples]),
            Argument::optional("mask_time_indices", Values::Mask, &[Named("batch"), Named("frames")]),
        ]
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let frames = self.features.forward(inputs.need("input_values")?);
        let real = inputs.get("attention_mask").map(|mask| self.frames.mask(mask, frames.size()[1]));
        let extracted =
            self.projection_norm.as_ref().map_or_else(|| frames.shallow_clone(), |norm| norm.forward(&frames));
        let mut x = self.mask_frames(self.projection.forward(&extracted), inputs.get("mask_time_indices"))?;
        if let Some(real) = &real {
            x = x.masked_fill(&real.logical_not().unsqueeze(-1), 0.0);
        }
        x = &x + self.positions.forward(&x);
        if let Some(norm) = &self.input_norm {
            x = norm.forward(&x);
        }
        let mut context = Context::new(Mask::padding(real.as_ref()), inputs);
        context.hidden_states |= self.all_layers;
        let passed = self.stack.forward(x, &context, None);
        let hidden = match &self.adapter {
            Some(adapter) => adapter.forward(&passed.last),
            None => passed.last.shallow_clone(),
        };
        let mut rest = Outputs::new();
        if self.extracted {
            rest.insert("extract_features", extracted);
        }
        rest.extend(passed.recorded(""));
        Ok(Features { hidden, pooled: None, rest })
    }
}

/// Gated strided convolutions with their parameters.
#[derive(Debug)]
struct Adapter {
    projection: Option<(Linear, Norm)>,
    layers: Vec<Conv<1>>,
}

impl Adapter {
    fn load(weights: &Weights, spec: AdapterSpec) -> Self {
        let projection = || {
            let norm = Norm::load(&weights.at("proj_layer_norm"), NormSpec::layer(1e-5), spec.outputs);
            (Linear::load(&weights.at("proj"), spec.inputs, spec.outputs, true), norm)
        };
        let conv = ConvSpec {
            stride: [spec.stride],
            padding: [1],
            ..ConvSpec::new(spec.outputs, 2 * spec.outputs, [spec.kernel])
        };
        let layer = |index| Conv::load(&weights.at("layers").layer(index).at("conv"), conv);
        Self {
            projection: (spec.inputs != spec.outputs).then(projection),
            layers: (0..spec.layers as usize).map(layer).collect(),
        }
    }

    /// `[batch, frames, inputs]` to `[batch, fewer frames, outputs]`.
    fn forward(&self, x: &Tensor) -> Tensor {
        let x = match &self.projection {
            Some((linear, norm)) => norm.forward(&linear.forward(x)),
            None => x.shallow_clone(),
        };
        self.layers.iter().fold(x.transpose(1, 2), |x, conv| conv.forward(&x).glu(1)).transpose(1, 2)
    }
}

/// What the classification heads of `config` are made of.
pub fn classifier(config: &SpeechConfig) -> ClassifierSpec {
    ClassifierSpec {
        labels: config.num_labels,
        projection: config.classifier_proj_size,
        weighted: config.use_weighted_layer_sum,
    }
}

impl Head<tasks::FeatureExtraction> for Wav2Vec2 {
    fn load(config: &Wav2Vec2Config, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(SpeechBody::load(&spec(config), weights).with_extracted(), Bare)))
    }
}

impl Head<tasks::AutomaticSpeechRecognition> for Wav2Vec2 {
    fn load(config: &Wav2Vec2Config, weights: &Weights) -> Result<Box<dyn Module>> {
        ctc(&spec(config), config.vocab_size, weights)
    }
}

impl Head<tasks::AudioClassification> for Wav2Vec2 {
    fn load(config: &Wav2Vec2Config, weights: &Weights) -> Result<Box<dyn Module>> {
        clip_classifier(&spec(config), classifier(config), weights)
    }
}

impl Head<tasks::AudioFrameClassification> for Wav2Vec2 {
    fn load(config: &Wav2Vec2Config, weights: &Weights) -> Result<Box<dyn Module>> {
        frame_classifier(&spec(config), classifier(config), weights)
    }
}

impl Head<tasks::AudioXvector> for Wav2Vec2 {
    fn load(config: &Wav2Vec2Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let x_vectors = XVectorSpec {
            channels: config.tdnn_dim.clone(),
            kernels: config.tdnn_kernel.clone(),
            dilations: config.tdnn_dilation.clone(),
            outputs: config.xvector_output_dim,
        };
        x_vector(&spec(config), classifier(config), &x_vectors, weights)
    }
}

impl Head<tasks::Pretraining> for Wav2Vec2 {
    fn load(config: &Wav2Vec2Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let quantizer = QuantizerSpec {
            groups: config.num_codevector_groups,
            codes: config.num_codevectors_per_group,
            width: config.codevector_dim,
            projection: config.proj_codevector_dim,
            temperature: config.contrastive_logits_temperature,
            diversity: config.diversity_loss_weight,
        };
        pretraining(&spec(config), quantizer, weights)
    }
}
