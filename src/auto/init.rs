//! What each architecture draws its new parameters from: the `_init_weights` of its class in Python.

use std::f64::consts::SQRT_2;

use serde_json::Value;
use tch::{Kind, Tensor};

use super::entry;
use crate::nn::{Growth, Sinusoid};
use crate::weights::{Init, Inits};

use Init::{
    Constant, Lecun, LogCounts, LogUniform, Normal, NormalByInputs, NormalByOutputs, Positions, Steps, Truncated,
    Uniform, UniformByInputs, Xavier,
};

/// The numbers of a configuration: those of its file, else those of its class.
struct Numbers<'a> {
    json: &'a Value,
    fields: Value,
}

impl Numbers<'_> {
    fn find(&self, field: &str) -> Option<f64> {
        [self.json, &self.fields].iter().find_map(|fields| fields.get(field)?.as_f64())
    }

    fn get(&self, field: &str, default: f64) -> f64 {
        self.find(field).unwrap_or(default)
    }

    fn is(&self, field: &str) -> bool {
        let value = self.json.get(field).or_else(|| self.fields.get(field));
        value.and_then(Value::as_bool).unwrap_or(false)
    }

    /// The rules for the section `field`, an architecture or part called `model_type`.
    fn section(&self, field: &str, model_type: &str) -> Inits {
        let section = self.json.get(field).filter(|section| section.is_object()).or_else(|| self.fields.get(field));
        inits(model_type, section.unwrap_or(&Value::Null))
    }

    /// The model type that the section `field` names.
    fn type_of(&self, field: &str) -> Option<&str> {
        self.json.get(field)?.get("model_type")?.as_str()
    }
}

/// The standard deviation of a class whose configuration does not say any, where it is not 0.02.
fn usual_deviation(model_type: &str) -> f64 {
    match model_type {
        "mamba" => 0.1,
        "nemotron" => 0.0134,
        "starcoder2" => 0.018_042,
        "blip_vision_model" => 1e-10,
        // They know a factor alone.
        "t5" | "owlvit" => 1.0,
        "speecht5_hifigan" => 0.01,
        _ => 0.02,
    }
}

/// What the new parameters of `model_type`, an architecture or a part, are drawn from under the configuration `json`.
pub(super) fn inits(model_type: &str, json: &Value) -> Inits {
    let fields = entry(model_type).ok().and_then(|entry| {
        let functions = entry.part(model_type).map_or(&entry.config, |part| &part.config);
        (functions.parse)(json).ok()
    });
    let numbers = Numbers { json, fields: fields.unwrap_or_default() };
    let deviation = numbers.find("initializer_range").filter(|range| *range != 0.0);
    let deviation = deviation.or_else(|| numbers.find("init_std"));
    let usual = || match model_type {
        "t5" | "owlvit" => numbers.get("initializer_factor", 1.0),
        _ => usual_deviation(model_type),
    };
    let deviation = deviation.unwrap_or_else(usual);
    with_rules(model_type, &numbers, Inits::new(deviation), deviation)
}

fn with_rules(model_type: &str, numbers: &Numbers<'_>, plain: Inits, deviation: f64) -> Inits {
    let layers = numbers.get("num_hidden_layers", numbers.get("n_layer", numbers.get("num_layers", 1.0)));
    let factor = numbers.get("initializer_factor", 1.0);
    match model_type {
        // Scales of norms are one more than the parameter.
        "gemma" | "gemma2" | "gemma3_text" => plain.scale(0.0),
        "gpt2" => plain.rules(&[("c_proj.weight", Normal(deviation / (2.0 * layers).sqrt()))]),
        "gpt_oss" => plain.rules(&[("router.bias", Normal(deviation)), ("sinks", Normal(deviation))]),
        "jamba" => plain.rules(SCAN),
        "mamba" => mamba(numbers, plain, layers),
        "qwen3_next" => plain.scale(0.0).rules(&[
            ("linear_attn.norm.weight", Constant(1.0)),
            ("dt_bias", Constant(1.0)),
            ("A_log", LogUniform(0.01, 16.0)),
        ]),
        "modernbert" => modernbert(numbers, plain, deviation, layers),
        "distilbert" if numbers.is("sinusoidal_pos_embds") => {
            plain.rules(&[("position_embeddings.weight", Positions(turning_sinusoids))])
        }
        "t5" => t5(numbers, plain, factor),
        "audio-spectrogram-transformer" | "deit" | "yolos" | "layoutlmv3" | "swin" => plain.rules(ZERO_TOKENS),
        "beit" => {
            let scale = numbers.get("layer_scale_init_value", 0.1);
            plain.rules(ZERO_TOKENS).rules(&[("lambda_1", Constant(scale)), ("lambda_2", Constant(scale))])
        }
        "convnext" => {
            let scale = numbers.get("layer_scale_init_value", 1e-6);
            plain.rules(&[("layer_scale_parameter", Constant(scale))])
        }
        "dinov2" => plain.rules(&[("lambda1", Constant(numbers.get("layerscale_value", 1.0)))]),
        "resnet" => plain.rules(RESNET),
        "detr" => {
            let xavier = Xavier(numbers.get("init_xavier_std", 1.0));
            let backbone = numbers.type_of("backbone_config").unwrap_or("resnet");
            plain
                .rules(DETR)
                .rules(&[("bbox_attention.q_linear.weight", xavier), ("bbox_attention.k_linear.weight", xavier)])
                .part("backbone", numbers.section("backbone_config", backbone))
        }
        "clip_text_model" | "clip_vision_model" | "owlvit_text_model" | "owlvit_vision_model" => {
            clip_tower(model_type, numbers, plain, factor, deviation, layers)
        }
        "clip" | "owlvit" => dual(numbers, plain, model_type).rules(&[
            ("text_projection.weight", NormalByInputs(factor)),
            ("visual_projection.weight", NormalByInputs(factor)),
            ("classifier.weight", NormalByInputs(factor)),
            ("logit_scale", Constant(numbers.get("logit_scale_init_value", 2.6592))),
        ]),
        "siglip_text_model" | "siglip_vision_model" => plain.rules(SIGLIP),
        "siglip" => dual(numbers, plain, model_type).rules(&[
            ("logit_scale", Constant(0.0)),
            ("logit_bias", Constant(0.0)),
            ("classifier.weight", NormalByInputs(factor)),
        ]),
        "blip" => dual(numbers, plain, model_type)
            .rules(&[("logit_scale", Constant(numbers.get("logit_scale_init_value", 2.6592)))]),
        "hubert" => plain.rules(&[
            ("masked_spec_embed", Uniform(0.0, 1.0)),
            ("conv.weight", NormalByInputs(SQRT_2)),
            ("layer_weights", Constant(1.0 / (layers + 1.0))),
        ]),
        "wav2vec2" => plain.rules(SPEECH).rules(&[("layer_weights", Constant(1.0 / (layers + 1.0)))]),
        "speecht5" => plain.rules(SPEECH),
        "speecht5_hifigan" => plain.rules(&[("mean", Constant(0.0)), ("scale", Constant(1.0))]),
        "encodec" => plain.rules(ENCODEC),
        "whisper" => plain.rules(&[
            ("encoder.embed_positions.weight", Positions(closed_sinusoids)),
            ("layer_weights", Constant(1.0 / (layers + 1.0))),
        ]),
        _ => plain,
    }
}

/// Tokens and positions that start from 0.
const ZERO_TOKENS: &[(&str, Init)] = &[
    ("cls_token", Constant(0.0)),
    ("distillation_token", Constant(0.0)),
    ("detection_tokens", Constant(0.0)),
    ("position_embeddings", Constant(0.0)),
    ("mid_position_embeddings", Constant(0.0)),
    ("pos_embed", Constant(0.0)),
];

/// Selective scans: rates of decay, and what passes by.
const SCAN: &[(&str, Init)] = &[("A_log", LogCounts), ("D", Constant(1.0))];

const RESNET: &[(&str, Init)] = &[
    ("convolution.weight", NormalByOutputs(SQRT_2)),
    ("classifier.1.weight", UniformByInputs(1.0)),
    ("classifier.1.bias", UniformByInputs(1.0)),
];

/// The root of 3, which makes a uniform distribution's bound of its standard deviation.
const ROOT_3: f64 = 1.732_050_807_568_877_2;

const DETR: &[(&str, Init)] = &[
    ("mask_head.lay1.weight", UniformByInputs(ROOT_3)),
    ("mask_head.lay2.weight", UniformByInputs(ROOT_3)),
    ("mask_head.lay3.weight", UniformByInputs(ROOT_3)),
    ("mask_head.lay4.weight", UniformByInputs(ROOT_3)),
    ("mask_head.lay5.weight", UniformByInputs(ROOT_3)),
    ("mask_head.out_lay.weight", UniformByInputs(ROOT_3)),
    ("mask_head.adapter1.weight", UniformByInputs(ROOT_3)),
    ("mask_head.adapter2.weight", UniformByInputs(ROOT_3)),
    ("mask_head.adapter3.weight", UniformByInputs(ROOT_3)),
    ("row_embeddings.weight", Uniform(0.0, 1.0)),
    ("column_embeddings.weight", Uniform(0.0, 1.0)),
];

const SIGLIP: &[(&str, Init)] = &[
    ("position_embedding.weight", NormalByInputs(1.0)),
    ("token_embedding.weight", NormalByInputs(1.0)),
    ("self_attn.q_proj.weight", Xavier(1.0)),
    ("self_attn.k_proj.weight", Xavier(1.0)),
    ("self_attn.v_proj.weight", Xavier(1.0)),
    ("self_attn.out_proj.weight", Xavier(1.0)),
    ("mlp.fc1.weight", Xavier(1.0)),
    ("mlp.fc2.weight", Xavier(1.0)),
    ("mlp.fc1.bias", Normal(1e-6)),
    ("mlp.fc2.bias", Normal(1e-6)),
    ("probe", Xavier(1.0)),
    ("attention.in_proj_weight", Xavier(1.0)),
    ("attention.out_proj.weight", Lecun),
    ("patch_embedding.weight", Lecun),
    ("head.weight", Lecun),
];

/// Convolutions over sound, what reads them, and the quantizer of pretraining.
const SPEECH: &[(&str, Init)] = &[
    ("pos_conv_embed.conv.bias", Constant(0.0)),
    ("conv.weight", NormalByInputs(SQRT_2)),
    ("conv.bias", UniformByInputs(1.0)),
    ("feature_projection.projection.weight", UniformByInputs(1.0)),
    ("feature_projection.projection.bias", UniformByInputs(1.0)),
    ("masked_spec_embed", Uniform(0.0, 1.0)),
    ("encode_positions.alpha", Constant(1.0)),
    ("quantizer.codevectors", Uniform(0.0, 1.0)),
    ("quantizer.weight_proj.weight", Normal(1.0)),
    ("project_hid.weight", UniformByInputs(1.0)),
    ("project_hid.bias", UniformByInputs(1.0)),
    ("project_q.weight", UniformByInputs(1.0)),
    ("project_q.bias", UniformByInputs(1.0)),
    ("objective.weight", Normal(1.0)),
];

const ENCODEC: &[(&str, Init)] = &[
    ("conv.weight", NormalByInputs(SQRT_2)),
    ("conv.bias", UniformByInputs(1.0)),
    ("codebook.embed", Constant(0.0)),
    ("codebook.embed_avg", Constant(0.0)),
    ("codebook.cluster_size", Constant(0.0)),
    ("codebook.inited", Constant(1.0)),
];

fn mamba(numbers: &Numbers<'_>, plain: Inits, layers: f64) -> Inits {
    let rank = numbers.get("time_step_rank", (numbers.get("hidden_size", 768.0) / 16.0).ceil());
    let step = numbers.get("time_step_scale", 1.0) / rank.sqrt();
    let constant = numbers.json.get("time_step_init_scheme").and_then(Value::as_str) == Some("constant");
    let rescaled = if numbers.is("rescale_prenorm_residual") { layers.sqrt() } else { 1.0 };
    plain.rules(SCAN).rules(&[
        ("dt_proj.weight", if constant { Constant(step) } else { Uniform(-step, step) }),
        (
            "dt_proj.bias",
            Steps {
                least: numbers.get("time_step_min", 0.001),
                most: numbers.get("time_step_max", 0.1),
                floor: numbers.get("time_step_floor", 1e-4),
            },
        ),
        ("conv1d.weight", UniformByInputs(1.0)),
        ("out_proj.weight", UniformByInputs(1.0 / rescaled)),
    ])
}

/// Normal within a few standard deviations; narrower where the result is added to the residual stream.
fn modernbert(numbers: &Numbers<'_>, plain: Inits, deviation: f64, layers: f64) -> Inits {
    let cutoff = numbers.get("initializer_cutoff_factor", 2.0);
    let within = |deviation: f64| Truncated { deviation, bound: cutoff * deviation };
    let (inner, outer) = (within(deviation), within(deviation / (2.0 * layers).sqrt()));
    plain.rules(&[
        ("tok_embeddings.weight", inner),
        ("Wi.weight", inner),
        ("Wqkv.weight", inner),
        ("Wo.weight", outer),
        ("head.dense.weight", outer),
        ("decoder.weight", outer),
        ("classifier.weight", within(numbers.get("hidden_size", 768.0).powf(-0.5))),
    ])
}

/// Deviations that leave the size of vectors as it is; queries take the root of the width of a head with them.
fn t5(numbers: &Numbers<'_>, plain: Inits, factor: f64) -> Inits {
    let by_inputs = NormalByInputs(factor);
    let head = NormalByInputs(factor / numbers.get("d_kv", 64.0).sqrt());
    let bias = Normal(factor / numbers.get("d_model", 512.0).sqrt());
    plain.scale(factor).rules(&[
        ("SelfAttention.q.weight", head),
        ("EncDecAttention.q.weight", head),
        ("relative_attention_bias.weight", bias),
        ("k.weight", by_inputs),
        ("v.weight", by_inputs),
        ("o.weight", by_inputs),
        ("wi.weight", by_inputs),
        ("wi_0.weight", by_inputs),
        ("wi_1.weight", by_inputs),
        ("wo.weight", by_inputs),
        ("qa_outputs.weight", by_inputs),
        ("classification_head.dense.weight", by_inputs),
        ("classification_head.out_proj.weight", by_inputs),
    ])
}

/// A model of a text and an image tower, each with rules of its own.
fn dual(numbers: &Numbers<'_>, plain: Inits, model_type: &str) -> Inits {
    let (text, vision) = match model_type {
        "clip" => ("clip_text_model", "clip_vision_model"),
        "owlvit" => ("owlvit_text_model", "owlvit_vision_model"),
        "siglip" => ("siglip_text_model", "siglip_vision_model"),
        _ => ("blip_text_model", "blip_vision_model"),
    };
    plain
        .part("text_model", numbers.section("text_config", text))
        .part("vision_model", numbers.section("vision_config", vision))
}

/// A tower of CLIP; what is added to the residual stream is narrower the deeper the tower is.
fn clip_tower(
    model_type: &str,
    numbers: &Numbers<'_>,
    plain: Inits,
    factor: f64,
    deviation: f64,
    layers: f64,
) -> Inits {
    let width = numbers.get("hidden_size", 512.0).powf(-0.5) * factor;
    let depth = (2.0 * layers).powf(-0.5);
    let inner = Normal(width * depth);
    let embedding = if model_type.ends_with("text_model") { 0.02 } else { deviation };
    plain.rules(&[
        ("token_embedding.weight", Normal(embedding * factor)),
        ("position_embedding.weight", Normal(embedding * factor)),
        ("patch_embedding.weight", Normal(embedding * factor)),
        ("class_embedding", Normal(width)),
        ("q_proj.weight", inner),
        ("k_proj.weight", inner),
        ("v_proj.weight", inner),
        ("out_proj.weight", Normal(width)),
        ("fc1.weight", Normal(width / SQRT_2)),
        ("fc2.weight", inner),
        ("text_projection.weight", Normal(width)),
        ("visual_projection.weight", Normal(width)),
    ])
}

fn closed_sinusoids(positions: &Tensor, width: i64) -> Tensor {
    Sinusoid { width, growth: Growth::Closed }.at(positions)
}

/// Sines and cosines in turns.
fn turning_sinusoids(positions: &Tensor, width: i64) -> Tensor {
    Sinusoid { width, growth: Growth::Alternating }.at(positions).to_kind(Kind::Double)
}
