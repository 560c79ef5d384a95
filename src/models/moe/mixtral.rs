use super::check_choice;
use crate::Result;
use crate::models::decoder::{DecoderSpec, Names, decoder, names};
use crate::models::llama::{MistralConfig, mistral};
use crate::nn::moe::{RouterSpec, Score};
use crate::nn::rope::RopeParameters;
use crate::nn::{MlpSpec, MoeSpec};
use crate::weights::NameTable;

crate::config! {
    /// Configuration of [`Mixtral`].
    pub struct MixtralConfig("mixtral"): MistralConfig {
        /// Experts of a layer.
        num_local_experts: i64 = 8,
        /// Experts of a token.
        num_experts_per_tok: i64 = 2,
        /// Whether what the routers said, and how evenly they did, are outputs where the caller does not say.
        output_router_logits: bool = false,
    }
    defaults: { sliding_window: None, rms_norm_eps: 1e-5, rope_parameters: RopeParameters::plain(1e6) }
    ignored: ["router_aux_loss_coef", "router_jitter_noise"]
    aliases: [("num_experts", "num_local_experts")]
    validate: |config: &MixtralConfig| {
        let chosen = ("num_experts_per_tok", config.num_experts_per_tok);
        check_choice("mixtral", ("num_local_experts", config.num_local_experts), chosen)
    };
}

decoder! {
    /// Mixtral (Jiang et al., 2024), Mistral with experts; `transformers.models.mixtral`.
    pub struct Mixtral(MixtralConfig) = spec;
    [FeatureExtraction, TextGeneration, TextClassification, TokenClassification, QuestionAnswering]
}

/// Mixtral's decoder.
pub fn spec(config: &MixtralConfig) -> Result<DecoderSpec> {
    let router = RouterSpec::new(config.num_local_experts, config.num_experts_per_tok, Score::Softmax);
    let expert = MlpSpec::gated(config.hidden_size, config.intermediate_size, config.hidden_act);
    Ok(DecoderSpec {
        names: Names::new(table()),
        router_logits: Some(config.output_router_logits),
        balance: Some(config.num_experts_per_tok),
        ..mistral(config)?.with_experts(MoeSpec::new(router.renormalised(true), expert), |_| true)
    })
}

fn table() -> NameTable {
    names().names(&[
        ("layers.*.mlp", "layers.*.block_sparse_moe"),
        ("layers.*.mlp.router", "layers.*.block_sparse_moe.gate"),
        ("layers.*.mlp.experts.*.gate", "layers.*.block_sparse_moe.experts.*.w1"),
        ("layers.*.mlp.experts.*.up", "layers.*.block_sparse_moe.experts.*.w3"),
        ("layers.*.mlp.experts.*.down", "layers.*.block_sparse_moe.experts.*.w2"),
    ])
}
