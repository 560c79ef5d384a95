//! The settings of plain greedy decoding.

use super::GenerationConfig;

/// How far [`Model::generate`](crate::Model::generate) goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GenerationOptions {
    /// Tokens to add at most.
    pub max_new_tokens: usize,
    /// Tokens that end a row. Where there are none, every row gets `max_new_tokens`.
    pub eos_token_ids: Vec<i64>,
}

impl Default for GenerationOptions {
    /// 20 tokens, as in `transformers`, and no end.
    fn default() -> Self {
        Self { max_new_tokens: 20, eos_token_ids: Vec::new() }
    }
}

impl From<&GenerationOptions> for GenerationConfig {
    fn from(options: &GenerationOptions) -> Self {
        Self {
            max_new_tokens: Some(options.max_new_tokens),
            eos_token_id: options.eos_token_ids.clone(),
            ..Self::default()
        }
    }
}
