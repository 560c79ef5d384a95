use super::GptConfig;
use crate::inputs::{Argument, Dim, Values};
use crate::model::{Architecture, Head, Module};
use crate::models::decoder::{
    DecoderBody, DecoderLayer, DecoderSpec, LearnedPositions, Names, Vocabulary, decoder_classes,
};
use crate::nn::heads::Body;
use crate::nn::{Activation, Summary, SummarySpec, SummaryType};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Cache, Inputs, Outputs, Result};

crate::config! {
    /// Configuration of [`Gpt2`].
    pub struct Gpt2Config("gpt2"): GptConfig {
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
    }
    // `reorder_and_upcast_attn` changes eager attention in half precision only, which is not the default.
    ignored: ["summary_first_dropout", "reorder_and_upcast_attn"]
}

/// GPT-2 (Radford et al., 2019); `transformers.models.gpt2`.
#[derive(Debug)]
pub struct Gpt2;

impl Architecture for Gpt2 {
    type Config = Gpt2Config;
}

/// GPT-2's decoder.
pub fn spec(config: &Gpt2Config) -> Result<DecoderSpec> {
    let layer = |index: i64| {
        let mut layer = config.layer();
        if let Some(attention) = layer.attention() {
            if !config.scale_attn_weights {
                attention.scale = 1.0;
            }
            if config.scale_attn_by_inverse_layer_idx {
                attention.scale /= (index + 1) as f64;
            }
            let cross = config.add_cross_attention.then_some(*attention);
            layer.cross = cross;
        }
        DecoderLayer::new(layer)
    };
    let names = Names {
        // Causal masks as constants.
        ignored: &["attention.bias", "attention.masked_bias", "cross.bias", "cross.masked_bias"],
        ..Names::below("transformer", names(config.n_embd))
    };
    Ok(DecoderSpec { positions: Some(LearnedPositions::new(config.n_positions)), ..config.spec(layer, names) })
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
