use serde_json::{Map, Value};

use crate::Result;
use crate::config::{Size2d, divides, holds_patches, positive};
use crate::nn::Activation;

crate::config! {
    /// Configuration of [`Vit`](super::Vit).
    pub struct VitConfig("vit") {
        /// Width of the hidden states.
        hidden_size: i64 = 768,
        /// Number of layers.
        num_hidden_layers: i64 = 12,
        /// Attention heads per layer.
        num_attention_heads: i64 = 12,
        /// Width of the feed-forward layers.
        intermediate_size: i64 = 3072,
        /// Activation of the feed-forward layers.
        hidden_act: Activation = Activation::Gelu,
        /// Added to variances.
        layer_norm_eps: f64 = 1e-12,
        /// Size of the images.
        image_size: Size2d = Size2d::Square(224),
        /// Size of a patch.
        patch_size: Size2d = Size2d::Square(16),
        /// Channels of the images.
        num_channels: i64 = 3,
        /// Whether queries, keys and values have a bias.
        qkv_bias: bool = true,
        /// Side of the square of pixels that masked image modelling reconstructs from a token.
        encoder_stride: i64 = 16,
        /// Width of the pooled vector; `hidden_size` where the file does not say.
        pooler_output_size: i64 = 768,
        /// Activation of the pooled vector.
        pooler_act: Activation = Activation::Tanh,
    }
    ignored: ["hidden_dropout_prob", "attention_probs_dropout_prob"]
    upgrade: upgrade;
    validate: validate;
}

fn upgrade(fields: &mut Map<String, Value>, default: &VitConfig) -> Result<()> {
    let given = fields.get("pooler_output_size").is_some_and(|size| !size.is_null() && *size != 0);
    if !given {
        let hidden = fields.get("hidden_size").cloned().unwrap_or_else(|| default.hidden_size.into());
        fields.insert("pooler_output_size".into(), hidden);
    }
    Ok(())
}

fn validate(config: &VitConfig) -> Result<()> {
    divides("vit", ("hidden_size", config.hidden_size), ("num_attention_heads", config.num_attention_heads))?;
    holds_patches("vit", config.image_size.sides(), config.patch_size.sides())?;
    positive(
        "vit",
        &[
            ("num_hidden_layers", config.num_hidden_layers),
            ("intermediate_size", config.intermediate_size),
            ("num_channels", config.num_channels),
            ("encoder_stride", config.encoder_stride),
            ("pooler_output_size", config.pooler_output_size),
        ],
    )
}
