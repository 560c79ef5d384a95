use serde_json::{Map, Value};

use crate::config::{align_stages, positive};
use crate::nn::Activation;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`ResNet`](super::ResNet).
    pub struct ResNetConfig("resnet") {
        /// Channels of the images.
        num_channels: i64 = 3,
        /// Channels that the stem makes.
        embedding_size: i64 = 64,
        /// Channels that each stage makes.
        hidden_sizes: Vec<i64> = vec![256, 512, 1024, 2048],
        /// Blocks of each stage.
        depths: Vec<i64> = vec![3, 4, 6, 3],
        /// `basic` (two convolutions per block) or `bottleneck` (three).
        layer_type: String = "bottleneck".to_owned(),
        /// Activation of the stem, and of each block's sum.
        hidden_act: Activation = Activation::Relu,
        /// Whether the first stage halves height and width.
        downsample_in_first_stage: bool = false,
        /// Whether the first convolution of a bottleneck does so, and not the second.
        downsample_in_bottleneck: bool = false,
        /// Names of the stages, the stem first.
        stage_names: Vec<String> = stage_names(4),
        /// Stages whose output the backbone returns.
        out_features: Vec<String> = vec!["stage4".to_owned()],
        /// Their indices.
        out_indices: Vec<i64> = vec![4],
    }
    upgrade: upgrade;
    validate: validate;
}

fn stage_names(stages: usize) -> Vec<String> {
    let stages = (1..=stages).map(|stage| format!("stage{stage}"));
    std::iter::once("stem".to_owned()).chain(stages).collect()
}

fn upgrade(fields: &mut Map<String, Value>, default: &ResNetConfig) -> Result<()> {
    let depths = fields.get("depths").and_then(Value::as_array).map(Vec::len);
    align_stages("resnet", fields, &stage_names(depths.unwrap_or(default.depths.len())))
}

fn validate(config: &ResNetConfig) -> Result<()> {
    let wrong = |field: &str, message: String| Err(Error::config("resnet", field, message));
    if !["basic", "bottleneck"].contains(&config.layer_type.as_str()) {
        return wrong("layer_type", format!("`{}` is not one of `basic`, `bottleneck`", config.layer_type));
    }
    let (sizes, depths) = (config.hidden_sizes.len(), config.depths.len());
    if sizes != depths || depths == 0 {
        return wrong("hidden_sizes", format!("has {sizes} stages and `depths` has {depths}; both need one or more"));
    }
    let narrowest = if config.layer_type == "bottleneck" { super::REDUCTION } else { 1 };
    if let Some(size) = config.hidden_sizes.iter().find(|size| **size < narrowest) {
        return wrong("hidden_sizes", format!("{size} is too narrow; {} blocks need {narrowest}", config.layer_type));
    }
    let shallowest = config.depths.iter().copied().min().unwrap_or(0);
    positive(
        "resnet",
        &[("num_channels", config.num_channels), ("embedding_size", config.embedding_size), ("depths", shallowest)],
    )
}
