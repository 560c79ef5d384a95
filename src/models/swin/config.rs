use serde_json::{Map, Value};

use crate::config::{Size2d, align_stages, divides, holds_patches, positive, stem_and_stages};
use crate::nn::Activation;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`Swin`](super::Swin).
    pub struct SwinConfig("swin") {
        /// Size of the images that absolute positions are learned for.
        image_size: Size2d = Size2d::Square(224),
        /// Size of a patch.
        patch_size: Size2d = Size2d::Square(4),
        /// Channels of the images.
        num_channels: i64 = 3,
        /// Width of the first stage; each further one is twice as wide.
        embed_dim: i64 = 96,
        /// Layers of each stage.
        depths: Vec<i64> = vec![2, 2, 6, 2],
        /// Attention heads of each stage.
        num_heads: Vec<i64> = vec![3, 6, 12, 24],
        /// Rows and columns of a window.
        window_size: i64 = 7,
        /// How many times wider than the hidden states the feed-forward layers are.
        mlp_ratio: f64 = 4.0,
        /// Whether queries, keys and values have a bias.
        qkv_bias: bool = true,
        /// Activation of the feed-forward layers.
        hidden_act: Activation = Activation::Gelu,
        /// Whether patches have learned positions.
        use_absolute_embeddings: bool = false,
        /// Added to variances.
        layer_norm_eps: f64 = 1e-5,
        /// Side of the square of pixels that masked image modelling reconstructs from a token.
        encoder_stride: i64 = 32,
        /// Names of the stages, what goes into the first as `stem`.
        stage_names: Vec<String> = stem_and_stages(4),
        /// Stages whose output the backbone returns.
        out_features: Vec<String> = vec!["stage4".to_owned()],
        /// Their indices.
        out_indices: Vec<i64> = vec![4],
    }
    ignored: [
        "hidden_dropout_prob", "attention_probs_dropout_prob", "drop_path_rate", "num_layers", "num_hidden_layers",
        "hidden_size",
    ]
    aliases: [("num_attention_heads", "num_heads")]
    upgrade: upgrade;
    validate: validate;
}

impl SwinConfig {
    /// Width of each stage.
    pub fn widths(&self) -> impl Iterator<Item = i64> {
        let first = self.embed_dim;
        (0..self.depths.len() as u32).map(move |stage| first.saturating_mul(2i64.saturating_pow(stage)))
    }

    /// Width of the last stage.
    pub fn width(&self) -> i64 {
        self.widths().last().unwrap_or(self.embed_dim)
    }
}

fn upgrade(fields: &mut Map<String, Value>, default: &SwinConfig) -> Result<()> {
    let depths = fields.get("depths").and_then(Value::as_array).map_or(default.depths.len(), Vec::len);
    let first = fields.get("embed_dim").and_then(Value::as_i64).unwrap_or(default.embed_dim);
    let last = first.saturating_mul(2i64.saturating_pow(depths.saturating_sub(1) as u32));
    // Files repeat what follows from other fields.
    for (field, expected) in
        [("num_layers", depths as i64), ("num_hidden_layers", depths as i64), ("hidden_size", last)]
    {
        if let Some(given) = fields.get(field).filter(|given| **given != expected) {
            let message = format!("is {given}; `depths` and `embed_dim` make it {expected}");
            return Err(Error::config("swin", field, message));
        }
    }
    align_stages("swin", fields, &stem_and_stages(depths))
}

fn validate(config: &SwinConfig) -> Result<()> {
    let (depths, heads) = (config.depths.len(), config.num_heads.len());
    if depths != heads || depths == 0 {
        let message = format!("has {heads} stages and `depths` has {depths}; both need one or more");
        return Err(Error::config("swin", "num_heads", message));
    }
    for (width, heads) in std::iter::zip(config.widths(), &config.num_heads) {
        divides("swin", ("embed_dim", width), ("num_heads", *heads))?;
    }
    for width in [config.embed_dim, config.width()] {
        positive("swin", &[("mlp_ratio", (config.mlp_ratio * width as f64) as i64)])?;
    }
    holds_patches("swin", config.image_size.sides(), config.patch_size.sides())?;
    let shallowest = config.depths.iter().copied().min().unwrap_or(0);
    positive(
        "swin",
        &[
            ("depths", shallowest),
            ("num_channels", config.num_channels),
            ("window_size", config.window_size),
            ("encoder_stride", config.encoder_stride),
        ],
    )
}
