//! TrOCR's decoder: BART's on its own, which reads what a vision encoder made of an image.

use super::config::counts_unpadded;
use super::{Seq2seqConfig, alone, bart};
use crate::config::{divides, positive};
use crate::model::{Architecture, Head, Module};
use crate::models::seq2seq::PositionSpec;
use crate::nn::Activation;
use crate::weights::Weights;
use crate::{Result, tasks};

crate::config! {
    /// Configuration of [`Trocr`].
    pub struct TrocrConfig("trocr") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 50265,
        /// Width of the hidden states.
        d_model: i64 = 1024,
        /// Number of layers.
        decoder_layers: i64 = 12,
        /// Attention heads per layer.
        decoder_attention_heads: i64 = 16,
        /// Width of the feed-forward layers.
        decoder_ffn_dim: i64 = 4096,
        /// Activation of the feed-forward layers.
        activation_function: Activation = Activation::Gelu,
        /// Positions that tokens can take, where they are learned.
        max_position_embeddings: i64 = 512,
        /// Whether the vectors of tokens are multiplied by the root of their width.
        scale_embedding: bool = false,
        /// Whether positions are learned; they are sinusoids where not.
        use_learned_position_embeddings: bool = true,
        /// Whether the sum of tokens and positions is normalised.
        layernorm_embedding: bool = true,
        /// Width of the states that an encoder made; `d_model` where nothing is said.
        cross_attention_hidden_size: Option<i64> = None,
        /// The token of padding, whose vector training leaves alone.
        pad_token_id: Option<i64> = Some(1),
        /// Whether the head uses the table of tokens.
        tie_word_embeddings: bool = true,
    }
    ignored: ["dropout", "attention_dropout", "activation_dropout", "decoder_layerdrop", "init_std", "is_decoder"]
    aliases: [
        ("hidden_size", "d_model"),
        ("num_hidden_layers", "decoder_layers"),
        ("num_attention_heads", "decoder_attention_heads"),
    ]
    validate: validate;
}

fn validate(config: &TrocrConfig) -> Result<()> {
    divides("trocr", ("d_model", config.d_model), ("decoder_attention_heads", config.decoder_attention_heads))?;
    positive(
        "trocr",
        &[
            ("vocab_size", config.vocab_size),
            ("decoder_layers", config.decoder_layers),
            ("decoder_ffn_dim", config.decoder_ffn_dim),
            ("max_position_embeddings", config.max_position_embeddings),
            ("cross_attention_hidden_size", config.cross_attention_hidden_size.unwrap_or(1)),
        ],
    )?;
    match config.use_learned_position_embeddings {
        true => Ok(()),
        false => counts_unpadded("trocr", config.pad_token_id, config.d_model),
    }
}

/// TrOCR's decoder (Li et al., 2021); `transformers.models.trocr`.
#[derive(Debug)]
pub struct Trocr;

impl Architecture for Trocr {
    type Config = TrocrConfig;
}

impl Head<tasks::TextGeneration> for Trocr {
    fn load(config: &TrocrConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let as_bart = Seq2seqConfig {
            vocab_size: config.vocab_size,
            max_position_embeddings: config.max_position_embeddings,
            decoder_layers: config.decoder_layers,
            decoder_ffn_dim: config.decoder_ffn_dim,
            decoder_attention_heads: config.decoder_attention_heads,
            activation_function: config.activation_function,
            d_model: config.d_model,
            scale_embedding: config.scale_embedding,
            pad_token_id: config.pad_token_id,
            ..Seq2seqConfig::default()
        };
        let mut spec = bart(&as_bart).decoder;
        if !config.layernorm_embedding {
            spec.embedding_norm = None;
        }
        if !config.use_learned_position_embeddings {
            spec.positions = PositionSpec::Unpadded { padding: config.pad_token_id.unwrap_or_default() };
        }
        let source = config.cross_attention_hidden_size.unwrap_or(config.d_model);
        for layer in &mut spec.stack.layers {
            layer.cross.iter_mut().for_each(|cross| cross.source = source);
        }
        let rows = (!config.tie_word_embeddings).then_some([config.vocab_size, config.d_model]);
        Ok(alone(spec, weights, "output_projection", rows))
    }
}
