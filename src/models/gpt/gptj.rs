use super::GptConfig;
use crate::models::decoder::{DecoderLayer, DecoderSpec, LmHead, Names, decoder};
use crate::nn::rope::{Pairing, RopeScaling, RopeSpec};
use crate::nn::{Arrangement, Biases};
use crate::weights::NameTable;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`Gptj`].
    pub struct GptjConfig("gptj"): GptConfig {
        /// Elements of a head that are rotated.
        rotary_dim: i64 = 64,
    }
    defaults: { vocab_size: 50400, n_positions: 2048, n_embd: 4096, n_layer: 28, n_head: 16, tie_word_embeddings: false }
    validate: |config: &GptjConfig| check_rotary("gptj", config.rotary_dim, config.n_embd / config.n_head);
}

/// Checks that `rotary_dim` of `model_type` makes pairs within a head of `head_dim`.
pub fn check_rotary(model_type: &str, rotary_dim: i64, head_dim: i64) -> Result<()> {
    match rotary_dim {
        2.. if rotary_dim % 2 == 0 && rotary_dim <= head_dim => Ok(()),
        _ => {
            let message = format!("{rotary_dim} elements of a head of {head_dim} form no pairs");
            Err(Error::config(model_type, "rotary_dim", message))
        }
    }
}

decoder! {
    /// GPT-J (Wang and Komatsuzaki, 2021): attention and feed-forward side by side on one norm, neighbouring elements of
    /// a part of each head rotated; `transformers.models.gptj`.
    pub struct Gptj(GptjConfig) = spec;
    [FeatureExtraction, TextGeneration, TextClassification, QuestionAnswering]
}

/// GPT-J's decoder.
pub fn spec(config: &GptjConfig) -> Result<DecoderSpec> {
    let rope = RopeSpec {
        theta: 10_000.0,
        width: config.rotary_dim,
        scaling: RopeScaling::None,
        pairing: Pairing::Interleaved,
        axes: Vec::new(),
    };
    let mut layer = config.layer();
    layer.arrangement = Arrangement::Parallel;
    let layer = DecoderLayer { rope: Some(rope), ..DecoderLayer::new(layer) };
    let spec = config.spec(|_| layer.clone(), Names::below("transformer", names()));
    let spec =
        DecoderSpec { most_tokens: Some(config.n_positions), lm_head: LmHead { bias: true, ..spec.lm_head }, ..spec };
    Ok(spec.with_attention(|attention| {
        attention.bias = Biases::NONE;
        attention.eager = true;
    }))
}

fn names() -> NameTable {
    NameTable::new().names(&[
        ("token", "wte"),
        ("norm", "ln_f"),
        ("layers", "h"),
        ("layers.*.attention_norm", "h.*.ln_1"),
        ("layers.*.attention", "h.*.attn"),
        ("layers.*.attention.q", "h.*.attn.q_proj"),
        ("layers.*.attention.k", "h.*.attn.k_proj"),
        ("layers.*.attention.v", "h.*.attn.v_proj"),
        ("layers.*.attention.o", "h.*.attn.out_proj"),
        ("layers.*.mlp.up", "h.*.mlp.fc_in"),
        ("layers.*.mlp.down", "h.*.mlp.fc_out"),
    ])
}
