//! ViT and its heirs: transformer encoders over image patches.

mod config;
mod tower;

pub use config::VitConfig;
pub use tower::{VisionSpec, VisionTower};

use crate::model::{Architecture, Head, Module};
use crate::nn::heads::{Bare, Classifier, Features, Headed, Readout};
use crate::nn::{
    AttentionSpec, Biases, Conv, ConvSpec, LayerSpec, MlpSpec, NormSpec, PatchSpec, Pooling, PoolingSpec, StackSpec,
};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Error, Inputs, Outputs, Result};

/// ViT (Dosovitskiy et al., 2020); `transformers.models.vit`.
#[derive(Debug)]
pub struct Vit;

impl Architecture for Vit {
    type Config = VitConfig;
}

/// The encoder; classes choose the pooling and whether there is a mask token.
fn spec(config: &VitConfig) -> VisionSpec {
    let qkv = config.qkv_bias;
    let attention = AttentionSpec {
        bias: Biases { q: qkv, k: qkv, v: qkv, o: true },
        ..AttentionSpec::even(config.hidden_size, config.num_attention_heads)
    };
    let mlp = MlpSpec::plain(config.hidden_size, config.intermediate_size, config.hidden_act);
    let layer = LayerSpec::new(attention, mlp, NormSpec::layer(config.layer_norm_eps));
    VisionSpec {
        patches: PatchSpec {
            channels: config.num_channels,
            hidden: config.hidden_size,
            image: config.image_size.sides(),
            patch: config.patch_size.sides(),
            bias: true,
            tokens: &["class"],
            mask_token: false,
            batched: true,
        },
        embedding_norm: None,
        stack: StackSpec {
            layers: vec![layer; config.num_hidden_layers as usize],
            final_norm: Some(NormSpec::layer(config.layer_norm_eps)),
        },
        pooling: None,
        attention_mask: true,
    }
}

/// Names below the base model, of files on the hub or as the modules of `transformers` 5 are called.
fn names(weights: &Weights) -> NameTable {
    let table = NameTable::new().names(&[
        ("class", "embeddings.cls_token"),
        ("mask", "embeddings.mask_token"),
        ("positions", "embeddings.position_embeddings"),
        ("patch", "embeddings.patch_embeddings.projection"),
        ("norm", "layernorm"),
    ]);
    if weights.has("layers.0.layernorm_before.weight") {
        return table.names(&[
            ("layers.*.attention.q", "layers.*.attention.q_proj"),
            ("layers.*.attention.k", "layers.*.attention.k_proj"),
            ("layers.*.attention.v", "layers.*.attention.v_proj"),
            ("layers.*.attention.o", "layers.*.attention.o_proj"),
            ("layers.*.attention_norm", "layers.*.layernorm_before"),
            ("layers.*.mlp.up", "layers.*.mlp.fc1"),
            ("layers.*.mlp.down", "layers.*.mlp.fc2"),
            ("layers.*.mlp_norm", "layers.*.layernorm_after"),
        ]);
    }
    table.names(&[
        ("layers.*.attention.q", "encoder.layer.*.attention.attention.query"),
        ("layers.*.attention.k", "encoder.layer.*.attention.attention.key"),
        ("layers.*.attention.v", "encoder.layer.*.attention.attention.value"),
        ("layers.*.attention.o", "encoder.layer.*.attention.output.dense"),
        ("layers.*.attention_norm", "encoder.layer.*.layernorm_before"),
        ("layers.*.mlp.up", "encoder.layer.*.intermediate.dense"),
        ("layers.*.mlp.down", "encoder.layer.*.output.dense"),
        ("layers.*.mlp_norm", "encoder.layer.*.layernorm_after"),
    ])
}

fn tower(weights: &Weights, spec: &VisionSpec) -> VisionTower {
    let weights = weights.either(&["vit", ""]);
    let names = names(&weights);
    VisionTower::load(&weights.named(names), spec)
}

impl Head<tasks::FeatureExtraction> for Vit {
    fn load(config: &VitConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let pooling = PoolingSpec::Dense { size: config.pooler_output_size, activation: config.pooler_act };
        let spec = VisionSpec { pooling: Some(pooling), ..spec(config) };
        Ok(Box::new(Headed::new(tower(weights, &spec), Bare)))
    }
}

impl Head<tasks::ImageClassification> for Vit {
    fn load(config: &VitConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let head = Classifier::load(&weights.at("classifier"), Pooling::First, config.hidden_size, config.num_labels);
        Ok(Box::new(Headed::new(tower(weights, &spec(config)), head)))
    }
}

/// `reconstruction` of the pixels from the tokens (SimMIM; Xie et al., 2021), and its `loss` over hidden patches.
#[derive(Debug)]
struct Reconstruction {
    decoder: Conv<2>,
    /// Side of the square of pixels that a token becomes.
    stride: i64,
    patch: [i64; 2],
    channels: i64,
}

impl Readout for Reconstruction {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let Self { stride, channels, .. } = *self;
        let hidden = inputs.get("bool_masked_pos");
        if hidden.is_some() && self.patch != [stride; 2] {
            let message = format!("needs `patch_size` ({:?}) to equal `encoder_stride` ({stride})", self.patch);
            return Err(Error::input("bool_masked_pos", message));
        }
        let patches = features.hidden.narrow(1, 1, features.hidden.size()[1] - 1);
        let size = patches.size();
        let (batch, count, width) = (size[0], size[1], size[2]);
        let side = count.isqrt();
        if side * side != count {
            let message = format!("has {count} patches, which are not a square to reconstruct");
            return Err(Error::input("pixel_values", message));
        }
        let map = patches.permute([0, 2, 1]).reshape([batch, width, side, side]);
        let reconstruction = self.decoder.forward(&map).pixel_shuffle(stride);
        let mut outputs = Outputs::new();
        if let Some(hidden) = hidden {
            let pixels = inputs.need("pixel_values")?;
            if pixels.size() != reconstruction.size() {
                let message = format!("has shape {:?}, its reconstruction {:?}", pixels.size(), reconstruction.size());
                return Err(Error::input("pixel_values", message));
            }
            let error = (pixels - &reconstruction).abs();
            let hidden = hidden.reshape([-1, side, side]).to_kind(error.kind());
            let hidden = hidden.repeat_interleave_self_int(stride, 1, None);
            let hidden = hidden.repeat_interleave_self_int(stride, 2, None).unsqueeze(1);
            let total = (error * &hidden).sum(None);
            outputs.insert("loss", total / (hidden.sum(None) + 1e-5) / channels as f64);
        }
        Ok(outputs.with("reconstruction", reconstruction))
    }
}

impl Head<tasks::MaskedImageModeling> for Vit {
    fn load(config: &VitConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let base = spec(config);
        let spec = VisionSpec { patches: PatchSpec { mask_token: true, ..base.patches }, ..base };
        let (stride, channels) = (config.encoder_stride, config.num_channels);
        let decoder = ConvSpec::new(config.hidden_size, stride * stride * channels, [1, 1]);
        let head = Reconstruction {
            decoder: Conv::load(&weights.at("decoder.0"), decoder),
            stride,
            patch: config.patch_size.sides(),
            channels,
        };
        Ok(Box::new(Headed::new(tower(weights, &spec), head)))
    }
}
