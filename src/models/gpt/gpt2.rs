use crate::config::{divides, positive};
use crate::inputs::{Argument, Dim, Values};
use crate::model::{Architecture, Head, Module};
use crate::models::decoder::{
    DecoderBody, DecoderLayer, DecoderSpec, LearnedPositions, LmHead, Names, Vocabulary, decoder_classes,
};
use crate::nn::heads::Body;
use crate::nn::{Activation, AttentionSpec, LayerSpec, MlpSpec, NormSpec, Summary, SummarySpec, SummaryType};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Cache, Inputs, Outputs, Result};

crate::config! {
    /// Configuration of [`Gpt2`].
    pub struct Gpt2Config("gpt2") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 50257,
        /// Length of the position table.
        n_positions: i64 = 1024,
        /// Width of the hidden states.
        n_embd: i64 = 768,
        /// Number of layers.
        n_layer: i64 = 12,
        /// Attention heads per layer.
        n_head: i64 = 12,
        /// Width of the feed-forward layers; four times `n_embd` where `None`.
        n_inner: Option<i64> = None,
        /// Activation of the feed-forward layers.
        activation_function: Activation = Activation::GeluNew,
        /// Added to variances.
        layer_norm_epsilon: f64 = 1e-5,
        /// What the multiple choice head makes of a sequence.
        summary_type: SummaryType = SummaryType::ClsIndex,
        /// Whether it is projected.
        summary_use_proj: bool = true,
        /// Applied to the projection.
        summary_activation: Option<Activation> = None,
        /// Whether it is projected to one score.
        summary_proj_to_labels: bool = true,
        /// Whether scores are divided by the root of the head's width.
        scale_attn_weights: bool = true,
        /// Whether scores are divided by the number of the layer.
        scale_attn_by_inverse_layer_idx: bool = false,
        /// Whether layers attend to a second sequence.
        add_cross_attention: bool = false,
        /// Whether the head over the vocabulary uses the table of token embeddings.
        tie_word_embeddings: bool = true,
        /// The token that fills rows up.
        pad_token_id: Option<i64> = None,
    }
    // `reorder_and_upcast_attn` changes eager attention in half precision only, which is not the default.
    ignored: ["resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_first_dropout", "reorder_and_upcast_attn"]
    aliases: [
        ("hidden_size", "n_embd"),
        ("max_position_embeddings", "n_positions"),
        ("num_attention_heads", "n_head"),
        ("num_hidden_layers", "n_layer"),
    ]
    validate: validate;
}

fn validate(config: &Gpt2Config) -> Result<()> {
    divides("gpt2", ("n_embd", config.n_embd), ("n_head", config.n_head))?;
    positive(
        "gpt2",
        &[
            ("vocab_size", config.vocab_size),
            ("n_positions", config.n_positions),
            ("n_layer", config.n_layer),
            ("n_inner", config.n_inner.unwrap_or(1)),
        ],
    )
}

/// GPT-2 (Radford et al., 2019); `transformers.models.gpt2`.
#[derive(Debug)]
pub struct Gpt2;

impl Architecture for Gpt2 {
    type Config = Gpt2Config;
}

/// GPT-2's decoder.
pub fn spec(config: &Gpt2Config) -> Result<DecoderSpec> {
    let hidden = config.n_embd;
    let norm = NormSpec::layer(config.layer_norm_epsilon);
    let layer = |index: i64| {
        let mut attention = AttentionSpec::even(hidden, config.n_head);
        if !config.scale_attn_weights {
            attention.scale = 1.0;
        }
        if config.scale_attn_by_inverse_layer_idx {
            attention.scale /= (index + 1) as f64;
        }
        let mlp = MlpSpec::plain(hidden, config.n_inner.unwrap_or(4 * hidden), config.activation_function);
        let cross = config.add_cross_attention.then_some(attention);
        DecoderLayer::new(LayerSpec { cross, ..LayerSpec::new(attention, mlp, norm) })
    };
    let names = Names {
        prefix: "transformer",
        span_prefix: "transformer",
        token_head: "classifier",
        // Causal masks as constants.
        ignored: &["attention.bias", "attention.masked_bias", "cross.bias", "cross.masked_bias"],
        ..Names::new(names(hidden))
    };
    Ok(DecoderSpec {
        positions: Some(LearnedPositions { count: config.n_positions, offset: 0 }),
        token_types: true,
        lm_head: LmHead { tied: config.tie_word_embeddings, bias: false },
        labels: config.num_labels,
        pad_token: config.pad_token_id,
        ..DecoderSpec::new(config.vocab_size, (0..config.n_layer).map(layer).collect(), norm, names)
    })
}

fn names(hidden: i64) -> NameTable {
    NameTable::new()
        .names(&[
            ("token", "wte"),
            ("position", "wpe"),
            ("norm", "ln_f"),
            ("layers", "h"),
            ("layers.*.attention_norm", "h.*.ln_1"),
            ("layers.*.cross_norm", "h.*.ln_cross_attn"),
            ("layers.*.mlp_norm", "h.*.ln_2"),
            ("layers.*.attention", "h.*.attn"),
            ("layers.*.cross", "h.*.crossattention"),
        ])
        .fused(
            "h.*.attn.c_attn",
            &[("layers.*.attention.q", hidden), ("layers.*.attention.k", hidden), ("layers.*.attention.v", hidden)],
            true,
        )
        .transposed("layers.*.attention.o", "h.*.attn.c_proj")
        .transposed("layers.*.cross.q", "h.*.crossattention.q_attn")
        .fused("h.*.crossattention.c_attn", &[("layers.*.cross.k", hidden), ("layers.*.cross.v", hidden)], true)
        .transposed("layers.*.cross.o", "h.*.crossattention.c_proj")
        .transposed("layers.*.mlp.up", "h.*.mlp.c_fc")
        .transposed("layers.*.mlp.down", "h.*.mlp.c_proj")
}

decoder_classes!(
    Gpt2,
    spec,
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
);

/// A language model that also scores each of several choices.
#[derive(Debug)]
struct DoubleHeads {
    body: DecoderBody,
    lm_head: Vocabulary,
    summary: Summary,
}

impl Head<tasks::DoubleHeads> for Gpt2 {
    fn load(config: &Gpt2Config, weights: &Weights) -> Result<Box<dyn Module>> {
        let spec = spec(config)?;
        let places = [spec.names.prefix, ""];
        let body = DecoderBody::load(spec, weights, &places);
        let projected = if config.summary_proj_to_labels { 1 } else { config.n_embd };
        let summary = SummarySpec {
            kind: config.summary_type,
            projection: config.summary_use_proj.then_some(projected),
            activation: config.summary_activation,
        };
        let summary = Summary::load(&weights.at("multiple_choice_head"), config.n_embd, summary);
        Ok(Box::new(DoubleHeads { lm_head: body.vocabulary(weights), body, summary }))
    }
}

impl Module for DoubleHeads {
    fn arguments(&self) -> Vec<Argument> {
        let mut arguments = self.body.arguments();
        arguments.retain(|argument| !argument.name.starts_with("encoder_"));
        for argument in &mut arguments {
            match argument.name {
                // Shared by all choices, as in the reference.
                "position_ids" => argument.shape[0] = Dim::Exactly(1),
                _ => argument.shape.insert(1, Dim::Named("choices")),
            }
        }
        let choices = [Dim::Named("batch"), Dim::Named("choices")];
        arguments.push(Argument::optional("mc_token_ids", Values::Integer, &choices));
        arguments
    }

    fn forward(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<Outputs> {
        let main = inputs.get("input_ids").or(inputs.get("inputs_embeds"));
        let leading = main.map_or_else(Vec::new, |main| main.size()[..2].to_vec());
        let mut rows = inputs.map(|name, tensor| match name {
            "position_ids" => tensor.shallow_clone(),
            _ => tensor.flatten(0, 1),
        });
        rows.remove("mc_token_ids");
        let features = self.body.run(&rows, cache)?;
        let shape = [&leading[..], &features.hidden.size()[1..]].concat();
        let hidden = features.hidden.view(&shape[..]);
        let summary = self.summary.forward(&hidden, inputs.get("mc_token_ids"))?;
        let mut outputs =
            Outputs::new().with("logits", self.lm_head.forward(&hidden)).with("mc_logits", summary.squeeze_dim(-1));
        outputs.extend(features.rest);
        let last = format!("hidden_states.{}", self.body.spec().layers.len());
        if outputs.get(&last).is_some() {
            outputs.insert(last, hidden);
        }
        Ok(outputs)
    }
}
