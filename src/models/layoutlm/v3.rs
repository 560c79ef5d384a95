use tch::Tensor;

use super::body::{LayoutBody, LayoutSpec, PlacesSpec, VisualSpec, text_tokens};
use crate::config::{holds_patches, positive};
use crate::model::{Architecture, Head, Module};
use crate::models::bert::{self, BertConfig};
use crate::nn::heads::{Bare, Features, Headed, Readout};
use crate::nn::{Activation, BoxSpec, NormSpec, PatchSpec, Perceptron, Positions, RelativeBiasSpec, StackSpec};
use crate::weights::{NameTable, Weights};
use crate::{Error, Inputs, Outputs, Result, tasks};

crate::config! {
    /// Configuration of [`LayoutLmV3`].
    pub struct LayoutLmV3Config("layoutlmv3"): BertConfig {
        /// Rows of the tables of coordinates, heights and widths.
        max_2d_position_embeddings: i64 = 1024,
        /// Width of the vector of a coordinate.
        coordinate_size: i64 = 128,
        /// Width of the vector of a height or width.
        shape_size: i64 = 128,
        /// Whether attention is biased by distances in the text.
        has_relative_attention_bias: bool = true,
        /// Buckets of those distances.
        rel_pos_bins: i64 = 32,
        /// From this distance on, all are in the last bucket.
        max_rel_pos: i64 = 128,
        /// Whether attention is biased by distances on the page, too; without those in the text they count for nothing.
        has_spatial_attention_bias: bool = true,
        /// Buckets of those distances.
        rel_2d_pos_bins: i64 = 64,
        /// From this distance on, all are in the last bucket.
        max_rel_2d_pos: i64 = 256,
        /// Whether there is a text.
        text_embed: bool = true,
        /// Whether there may be an image of the page.
        visual_embed: bool = true,
        /// Its height and width.
        input_size: i64 = 224,
        /// Its channels.
        num_channels: i64 = 3,
        /// Height and width of a patch.
        patch_size: i64 = 16,
    }
    defaults: { vocab_size: 50265, pad_token_id: Some(1), layer_norm_eps: 1e-5 }
    without: ["is_decoder", "add_cross_attention", "tie_word_embeddings"]
    validate: validate;
}

fn validate(config: &LayoutLmV3Config) -> Result<()> {
    let name = "layoutlmv3";
    holds_patches(name, [config.input_size; 2], [config.patch_size; 2]).map_err(|error| match error {
        Error::Config { model_type, field, message } if field == "image_size" => {
            Error::Config { model_type, field: "input_size".into(), message }
        }
        other => other,
    })?;
    let LayoutLmV3Config { max_2d_position_embeddings, coordinate_size, shape_size, num_channels, .. } = *config;
    positive(
        name,
        &[
            ("max_2d_position_embeddings", max_2d_position_embeddings),
            ("coordinate_size", coordinate_size),
            ("shape_size", shape_size),
            ("num_channels", num_channels),
        ],
    )?;
    let width = 4 * coordinate_size + 2 * shape_size;
    if width != config.hidden_size {
        let message = format!("4 of {coordinate_size} and 2 of `shape_size` are {width}, not `hidden_size`");
        return Err(Error::config(name, "coordinate_size", message));
    }
    for ((field, bins), (farthest, distance)) in [
        (("rel_pos_bins", config.rel_pos_bins), ("max_rel_pos", config.max_rel_pos)),
        (("rel_2d_pos_bins", config.rel_2d_pos_bins), ("max_rel_2d_pos", config.max_rel_2d_pos)),
    ] {
        // A quarter of the buckets are single distances in one direction.
        if bins < 4 || bins % 2 != 0 || distance <= bins / 4 {
            let message =
                format!("{bins} must be even, at least 4, and a quarter of it below `{farthest}` ({distance})");
            return Err(Error::config(name, field, message));
        }
    }
    bert::first_position(name, config).map(drop)
}

/// LayoutLMv3 (Huang et al., 2022); `transformers.models.layoutlmv3`.
#[derive(Debug)]
pub struct LayoutLmV3;

impl Architecture for LayoutLmV3 {
    type Config = LayoutLmV3Config;
}

/// BERT with RoBERTa's positions, boxes, patches after the text, and biases by both kinds of places.
///
/// Its softmax is that of CogView, which is smaller in between and gives the same.
fn spec(config: &LayoutLmV3Config) -> Result<(LayoutSpec, NameTable)> {
    let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
    let mut bert = bert::spec(config)?;
    bert.embeddings.positions = bert::first_position("layoutlmv3", config)?;
    bert.embeddings.boxes = Some(BoxSpec {
        count: config.max_2d_position_embeddings,
        coordinate: config.coordinate_size,
        extent: config.shape_size,
    });
    let LayoutLmV3Config { input_size, patch_size, num_channels, .. } = *config;
    let visual = VisualSpec {
        patches: PatchSpec {
            positions: Positions::Fixed,
            ..PatchSpec::new(num_channels, hidden, [input_size; 2], [patch_size; 2], &["class"])
        },
        norm: NormSpec::layer(1e-6),
        joined_norm: NormSpec::layer(config.layer_norm_eps),
    };
    let bias = |exists: bool, buckets, max_distance| {
        exists.then_some(RelativeBiasSpec { heads, buckets, max_distance, bidirectional: true })
    };
    let places = PlacesSpec {
        text: bias(config.has_relative_attention_bias, config.rel_pos_bins, config.max_rel_pos),
        page: bias(config.has_spatial_attention_bias, config.rel_2d_pos_bins, config.max_rel_2d_pos),
        scale: ((hidden / heads) as f64).powf(-0.5),
    };
    let spec = LayoutSpec {
        text: config.text_embed.then_some(bert.embeddings),
        visual: config.visual_embed.then_some(visual),
        places,
        stack: StackSpec { layers: bert.layers.layers, final_norm: None },
    };
    let names = bert
        .names
        .body
        .names(&[
            ("boxes.x", "embeddings.x_position_embeddings"),
            ("boxes.y", "embeddings.y_position_embeddings"),
            ("boxes.height", "embeddings.h_position_embeddings"),
            ("boxes.width", "embeddings.w_position_embeddings"),
            ("patch", "patch_embed.proj"),
            ("class", "cls_token"),
            ("positions", "pos_embed"),
            ("visual_norm", "norm"),
            ("joined_norm", "LayerNorm"),
        ])
        .transposed("places.text", "encoder.rel_pos_bias")
        .transposed("places.across", "encoder.rel_pos_x_bias")
        .transposed("places.down", "encoder.rel_pos_y_bias");
    Ok((spec, names))
}

fn body(config: &LayoutLmV3Config, weights: &Weights) -> Result<LayoutBody> {
    let (spec, names) = spec(config)?;
    let weights = weights.either(&["layoutlmv3", ""]).named(names);
    weights.ignore("embeddings.position_ids");
    Ok(LayoutBody::load(&weights, &spec))
}

/// Scores of `labels` labels, from a dense layer and a tanh.
fn scores(config: &LayoutLmV3Config, weights: &Weights, labels: i64) -> Perceptron {
    let weights = weights.named(NameTable::new().names(&[("0", "dense"), ("1", "out_proj")]));
    Perceptron::load(&weights, &[config.hidden_size, config.hidden_size, labels], Activation::Tanh)
}

/// `logits` of the first token, which stands for the document.
#[derive(Debug)]
struct OfDocument(Perceptron);

impl Readout for OfDocument {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        Ok(Outputs::new().with("logits", self.0.forward(&features.hidden.select(1, 0))))
    }
}

/// `logits` of every token of the text, and none of the patches.
#[derive(Debug)]
struct OfText(Perceptron);

impl Readout for OfText {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let text = features.hidden.narrow(1, 0, text_tokens(inputs));
        Ok(Outputs::new().with("logits", self.0.forward(&text)))
    }
}

/// `start_logits` and `end_logits` of an answer's span, patches included.
#[derive(Debug)]
struct OfSpan(Perceptron);

impl Readout for OfSpan {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        let logits = self.0.forward(&features.hidden);
        let of = |index| -> Tensor { logits.select(-1, index).contiguous() };
        Ok(Outputs::new().with("start_logits", of(0)).with("end_logits", of(1)))
    }
}

impl Head<tasks::FeatureExtraction> for LayoutLmV3 {
    fn load(config: &LayoutLmV3Config, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(body(config, weights)?, Bare)))
    }
}

impl Head<tasks::TextClassification> for LayoutLmV3 {
    fn load(config: &LayoutLmV3Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let head = OfDocument(scores(config, &weights.at("classifier"), config.num_labels));
        Ok(Box::new(Headed::new(body(config, weights)?, head)))
    }
}

/// From this many labels on, token classification has a dense layer before the scores.
const MANY_LABELS: i64 = 10;

impl Head<tasks::TokenClassification> for LayoutLmV3 {
    fn load(config: &LayoutLmV3Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let (at, labels) = (weights.at("classifier"), config.num_labels);
        let head = match labels < MANY_LABELS {
            true => {
                let own = at.named(NameTable::new().name("0", ""));
                Perceptron::load(&own, &[config.hidden_size, labels], Activation::Tanh)
            }
            false => scores(config, &at, labels),
        };
        Ok(Box::new(Headed::new(body(config, weights)?, OfText(head))))
    }
}

impl Head<tasks::QuestionAnswering> for LayoutLmV3 {
    fn load(config: &LayoutLmV3Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let head = OfSpan(scores(config, &weights.at("qa_outputs"), 2));
        Ok(Box::new(Headed::new(body(config, weights)?, head)))
    }
}

impl Head<tasks::DocumentQuestionAnswering> for LayoutLmV3 {
    fn load(config: &LayoutLmV3Config, weights: &Weights) -> Result<Box<dyn Module>> {
        <Self as Head<tasks::QuestionAnswering>>::load(config, weights)
    }
}
