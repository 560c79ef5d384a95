use serde_json::{Map, Value, json};
use tch::{Kind, Tensor};

use super::mask_head::MaskHead;
use super::positions::{MOST_LEARNED, MapPositions};
use crate::auto;
use crate::config::{divides, positive};
use crate::inputs::{Argument, Dim, Values};
use crate::model::{Architecture, Head, Module};
use crate::models::convnet;
use crate::nn::{
    Activation, AttentionSpec, Context, Conv, ConvSpec, Embedding, LayerSpec, Linear, Mask, MlpSpec, NormSpec,
    Placement, Stack, StackSpec,
};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Cache, Error, Inputs, Outputs, Result};

crate::config! {
    /// Configuration of [`Detr`].
    pub struct DetrConfig("detr") {
        /// The backbone: any of the roster that has one, or a ResNet of timm (`timm_backbone`).
        backbone_config: Value = timm("resnet50", 3),
        /// Channels of the images.
        num_channels: i64 = 3,
        /// Objects that are looked for.
        num_queries: i64 = 100,
        /// Layers of the encoder.
        encoder_layers: i64 = 6,
        /// Width of its feed-forward layers.
        encoder_ffn_dim: i64 = 2048,
        /// Its attention heads per layer.
        encoder_attention_heads: i64 = 8,
        /// Layers of the decoder.
        decoder_layers: i64 = 6,
        /// Width of its feed-forward layers.
        decoder_ffn_dim: i64 = 2048,
        /// Its attention heads per layer.
        decoder_attention_heads: i64 = 8,
        /// Activation of the feed-forward layers and of the mask head.
        activation_function: Activation = Activation::Relu,
        /// Width of the hidden states.
        d_model: i64 = 256,
        /// Whether intermediate layers are read, too; not supported.
        auxiliary_loss: bool = false,
        /// `sine` or `learned`.
        position_embedding_type: String = "sine".to_owned(),
        /// Whether the last stage of timm's backbone keeps its resolution; not supported.
        dilation: bool = false,
    }
    ignored: [
        "encoder_layerdrop", "decoder_layerdrop", "dropout", "attention_dropout", "activation_dropout", "init_std",
        "init_xavier_std", "class_cost", "bbox_cost", "giou_cost", "mask_loss_coefficient", "dice_loss_coefficient",
        "bbox_loss_coefficient", "giou_loss_coefficient", "eos_coefficient",
    ]
    aliases: [
        ("hidden_size", "d_model"),
        ("num_attention_heads", "encoder_attention_heads"),
        ("num_hidden_layers", "encoder_layers"),
    ]
    parts: ["backbone_config"]
    upgrade: upgrade;
    validate: validate;
}

/// The configuration of timm's backbone `name`.
fn timm(name: &str, channels: i64) -> Value {
    json!({"model_type": TIMM, "backbone": name, "num_channels": channels, "out_indices": [1, 2, 3, 4]})
}

const TIMM: &str = "timm_backbone";

/// Older files name timm's backbone beside the other fields.
fn upgrade(fields: &mut Map<String, Value>, default: &DetrConfig) -> Result<()> {
    let name = fields.remove("backbone").filter(Value::is_string).unwrap_or_else(|| json!("resnet50"));
    fields.remove("use_timm_backbone");
    match fields.get_mut("backbone_config").filter(|config| !config.is_null()) {
        Some(Value::Object(backbone)) if backbone.get("model_type").is_some_and(|kind| kind == TIMM) => {
            // What only training and other backbones of timm read.
            let kept = ["model_type", "backbone", "num_channels", "out_indices", "output_stride"];
            backbone.retain(|key, value| kept.contains(&key.as_str()) && !value.is_null());
        }
        Some(_) => {}
        None => {
            let channels = fields.get("num_channels").and_then(Value::as_i64).unwrap_or(default.num_channels);
            fields.insert("backbone_config".into(), timm(name.as_str().unwrap_or_default(), channels));
        }
    }
    Ok(())
}

fn validate(config: &DetrConfig) -> Result<()> {
    let wrong = |field: &str, message: &str| Err(Error::config("detr", field, message));
    let width = ("d_model", config.d_model);
    divides("detr", width, ("encoder_attention_heads", config.encoder_attention_heads))?;
    divides("detr", width, ("decoder_attention_heads", config.decoder_attention_heads))?;
    divides("detr", width, ("4", 4))?;
    positive(
        "detr",
        &[
            ("num_channels", config.num_channels),
            ("num_queries", config.num_queries),
            ("encoder_layers", config.encoder_layers),
            ("decoder_layers", config.decoder_layers),
            ("encoder_ffn_dim", config.encoder_ffn_dim),
            ("decoder_ffn_dim", config.decoder_ffn_dim),
        ],
    )?;
    if !["sine", "learned"].contains(&config.position_embedding_type.as_str()) {
        return wrong("position_embedding_type", "is not one of `sine`, `learned`");
    }
    if config.auxiliary_loss {
        return wrong("auxiliary_loss", "must be false: outputs of intermediate layers are not supported");
    }
    if config.dilation || config.backbone_config.get("output_stride").is_some() {
        return wrong("dilation", "must be false: dilated backbones are not supported");
    }
    if !config.backbone_config.is_object() {
        return wrong("backbone_config", "is not a configuration");
    }
    Ok(())
}

/// DETR (Carion et al., 2020); `transformers.models.detr`.
#[derive(Debug)]
pub struct Detr;

impl Architecture for Detr {
    type Config = DetrConfig;
}

/// Layers that normalise the sum of each sublayer.
fn stack(config: &DetrConfig, (layers, heads, intermediate): (i64, i64, i64), decoder: bool) -> StackSpec {
    let attention = AttentionSpec::even(config.d_model, heads);
    let mlp = MlpSpec::plain(config.d_model, intermediate, config.activation_function);
    let norm = NormSpec::layer(1e-5);
    let layer = LayerSpec {
        cross: decoder.then_some(attention),
        placement: Placement::Post,
        ..LayerSpec::new(attention, mlp, norm)
    };
    StackSpec { layers: vec![layer; layers as usize], final_norm: decoder.then_some(norm) }
}

/// Names of either stack, of files on the hub or as the modules of `transformers` 5 are called.
fn names(weights: &Weights) -> NameTable {
    let table = NameTable::new().names(&[
        ("norm", "layernorm"),
        ("layers.*.attention", "layers.*.self_attn"),
        ("layers.*.attention_norm", "layers.*.self_attn_layer_norm"),
        ("layers.*.cross", "layers.*.encoder_attn"),
        ("layers.*.cross_norm", "layers.*.encoder_attn_layer_norm"),
        ("layers.*.mlp_norm", "layers.*.final_layer_norm"),
    ]);
    match weights.at("layers.0.mlp").is_empty() {
        false => table
            .names(&[("layers.*.mlp.up", "layers.*.mlp.fc1"), ("layers.*.mlp.down", "layers.*.mlp.fc2")])
            .segments(&[("q", "q_proj"), ("k", "k_proj"), ("v", "v_proj"), ("o", "o_proj")]),
        true => table.names(&[("layers.*.mlp.up", "layers.*.fc1"), ("layers.*.mlp.down", "layers.*.fc2")]).segments(&[
            ("q", "q_proj"),
            ("k", "k_proj"),
            ("v", "v_proj"),
            ("o", "out_proj"),
        ]),
    }
}

/// The backbone that `config` names, and the channels of its maps, fine to coarse.
fn backbone(config: &DetrConfig, weights: &Weights) -> Result<Box<dyn Module>> {
    let place = if weights.at("backbone.model").is_empty() { "backbone.conv_encoder.model" } else { "backbone.model" };
    let weights = weights.at(place);
    match config.backbone_config.get("model_type").and_then(Value::as_str) {
        Some(TIMM) => {
            let name = config.backbone_config.get("backbone").and_then(Value::as_str).unwrap_or_default();
            convnet::timm_resnet(name, config.num_channels, &weights)
        }
        _ => auto::part(&config.backbone_config, "backbone", &weights),
    }
}

/// The transformer on the last map of a backbone.
#[derive(Debug)]
struct Body {
    channels: i64,
    hidden: i64,
    backbone: Box<dyn Module>,
    positions: MapPositions,
    projection: Conv<2>,
    queries: Embedding,
    encoder: Stack,
    decoder: Stack,
}

/// What the body makes of an image.
struct Seen {
    /// The maps of the backbone, fine to coarse.
    maps: Vec<Tensor>,
    /// The last one projected, `[batch, hidden, height, width]`.
    projected: Tensor,
    /// Which of its places are real, `[batch, places]`.
    real: Tensor,
    /// Output of the encoder, `[batch, places, hidden]`.
    memory: Tensor,
    /// Output of the decoder, `[batch, queries, hidden]`.
    found: Tensor,
    rest: Outputs,
}

impl Body {
    fn load(config: &DetrConfig, weights: &Weights) -> Result<Self> {
        let hidden = config.d_model;
        let backbone = backbone(config, weights)?;
        let channels = backbone.widths().last().copied().ok_or_else(|| {
            Error::config("detr", "backbone_config", "this backbone does not say how many channels its maps have")
        })?;
        let positions = match config.position_embedding_type.as_str() {
            "learned" => MapPositions::learned(&weights.at("position_embedding"), hidden),
            _ => MapPositions::Sine { width: hidden },
        };
        let stack = |place: &str, sizes, decoder| {
            let weights = weights.at(place);
            let names = names(&weights);
            Stack::load(&weights.named(names), &stack(config, sizes, decoder))
        };
        Ok(Self {
            channels: config.num_channels,
            hidden,
            backbone,
            positions,
            projection: Conv::load(&weights.at("input_projection"), ConvSpec::new(channels, hidden, [1; 2])),
            queries: Embedding::load(&weights.at("query_position_embeddings"), config.num_queries, hidden),
            encoder: stack(
                "encoder",
                (config.encoder_layers, config.encoder_attention_heads, config.encoder_ffn_dim),
                false,
            ),
            decoder: stack(
                "decoder",
                (config.decoder_layers, config.decoder_attention_heads, config.decoder_ffn_dim),
                true,
            ),
        })
    }

    fn arguments(&self) -> Vec<Argument> {
        use Dim::{Exactly, Named};
        let queries = self.queries.table().size()[0];
        let image = [Named("batch"), Exactly(self.channels), Named("height"), Named("width")];
        vec![
            Argument::required("pixel_values", Values::Float, &image),
            Argument::optional("pixel_mask", Values::Mask, &[image[0], image[2], image[3]]),
            Argument::optional("decoder_attention_mask", Values::Mask, &[Named("batch"), Exactly(queries)]),
            Argument::optional(
                "decoder_inputs_embeds",
                Values::Float,
                &[Named("batch"), Exactly(queries), Exactly(self.hidden)],
            ),
        ]
    }

    fn run(&self, inputs: &Inputs) -> Result<Seen> {
        let image = inputs.need("pixel_values")?;
        let features = self.backbone.forward(&Inputs::new().with("pixel_values", image.shallow_clone()), None)?;
        let maps: Vec<Tensor> = (0..)
            .map_while(|index| features.get(&format!("feature_maps.{index}")).map(Tensor::shallow_clone))
            .collect();
        let last = maps.last().ok_or_else(|| Error::input("pixel_values", "the backbone makes no maps"))?;
        let projected = self.projection.forward(last);
        let size = projected.size();
        let (batch, height, width) = (size[0], size[2], size[3]);
        if matches!(self.positions, MapPositions::Learned { .. }) && height.max(width) > MOST_LEARNED {
            let message = format!("makes a map of {height}x{width}; positions are learned up to {MOST_LEARNED}");
            return Err(Error::input("pixel_values", message));
        }
        let real = match inputs.get("pixel_mask") {
            Some(mask) => {
                mask.to_kind(Kind::Float).unsqueeze(1).upsample_nearest2d([height, width], None, None).squeeze_dim(1)
            }
            None => Tensor::ones([batch, height, width], (Kind::Float, image.device())),
        };
        let positions = self.positions.of(&real, projected.kind());
        let real = real.flatten(1, 2).to_kind(Kind::Bool);
        let context =
            Context::new(Mask::padding(Some(&real)), inputs).with_positions(Some(positions.shallow_clone()), None);
        let encoded = self.encoder.forward(projected.flatten(2, 3).transpose(1, 2), &context, None);
        let memory = encoded.last.shallow_clone();

        let queries = self.queries.table().unsqueeze(0).expand([batch, -1, -1], false);
        let start = inputs.get("decoder_inputs_embeds").map_or_else(|| queries.zeros_like(), Tensor::shallow_clone);
        let context = Context::new(Mask::padding(inputs.get("decoder_attention_mask")), inputs)
            .with_memory(Some(memory.shallow_clone()), Mask::padding(Some(&real)))
            .with_positions(Some(queries), Some(positions));
        let decoded = self.decoder.forward(start, &context, None).tied();
        let found = decoded.last.shallow_clone();

        let mut rest = decoded.recorded("decoder_");
        rest.insert("encoder_last_hidden_state", memory.shallow_clone());
        rest.extend(encoded.recorded("encoder_"));
        Ok(Seen { maps, projected, real, memory, found, rest })
    }
}

#[derive(Debug)]
struct Bare(Body);

impl Module for Bare {
    fn arguments(&self) -> Vec<Argument> {
        self.0.arguments()
    }

    fn forward(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Outputs> {
        let seen = self.0.run(inputs)?;
        let mut outputs = Outputs::new().with("last_hidden_state", seen.found);
        outputs.extend(seen.rest);
        Ok(outputs)
    }
}

impl Head<tasks::FeatureExtraction> for Detr {
    fn load(config: &DetrConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Bare(Body::load(config, &weights.either(&["", "model"]))?)))
    }
}

/// Of each query `logits` of its label, the last one for no object, and `pred_boxes`: center, height and width as shares
/// of the image. With a mask head `pred_masks`, too.
#[derive(Debug)]
struct Detection {
    body: Body,
    labels: Linear,
    boxes: [Linear; 3],
    masks: Option<MaskHead>,
}

impl Detection {
    /// Loads `model`, `class_labels_classifier` and `bbox_predictor`.
    fn load(config: &DetrConfig, weights: &Weights) -> Result<Self> {
        let width = config.d_model;
        let layer =
            |index, outputs| Linear::load(&weights.at("bbox_predictor.layers").layer(index), width, outputs, true);
        Ok(Self {
            body: Body::load(config, &weights.at("model"))?,
            labels: Linear::load(&weights.at("class_labels_classifier"), width, config.num_labels + 1, true),
            boxes: [layer(0, width), layer(1, width), layer(2, 4)],
            masks: None,
        })
    }
}

impl Module for Detection {
    fn arguments(&self) -> Vec<Argument> {
        self.body.arguments()
    }

    fn forward(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Outputs> {
        let seen = self.body.run(inputs)?;
        let [first, second, third] = &self.boxes;
        let boxes = third.forward(&second.forward(&first.forward(&seen.found).relu()).relu()).sigmoid();
        let mut outputs = Outputs::new().with("logits", self.labels.forward(&seen.found)).with("pred_boxes", boxes);
        if let Some(masks) = &self.masks {
            let masks = masks.forward(&seen.found, &seen.memory, &seen.real, &seen.projected, &seen.maps);
            outputs.insert("pred_masks", masks);
        }
        outputs.insert("last_hidden_state", seen.found);
        outputs.extend(seen.rest);
        Ok(outputs)
    }
}

impl Head<tasks::ObjectDetection> for Detr {
    fn load(config: &DetrConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Detection::load(config, weights)?))
    }
}

impl Head<tasks::ImageSegmentation> for Detr {
    fn load(config: &DetrConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let heads = config.encoder_attention_heads;
        if (config.d_model + heads) % 8 != 0 || config.d_model < 16 {
            let message = format!("{} and {heads} heads must sum up to a multiple of 8 for masks", config.d_model);
            return Err(Error::config("detr", "d_model", message));
        }
        let detection = Detection::load(config, &weights.at("detr"))?;
        let &[fine, middle, coarse, _] = detection.body.backbone.widths() else {
            return Err(Error::config("detr", "backbone_config", "must make four maps, from which masks are refined"));
        };
        let maps = [coarse, middle, fine];
        let masks = MaskHead::load(weights, config.d_model, heads, maps, config.activation_function);
        Ok(Box::new(Detection { masks: Some(masks), ..detection }))
    }
}
