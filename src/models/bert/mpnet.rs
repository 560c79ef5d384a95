use super::{BertConfig, EncoderSpec, Names, Positions, Relative, encoder, original, roberta};
use crate::nn::RelativeBiasSpec;
use crate::weights::NameTable;
use crate::{Error, Result};

/// Buckets of distances, whatever the length of their table.
const BUCKETS: i64 = 32;

/// The padding token, whatever `pad_token_id` says.
const PADDING: i64 = 1;

crate::config! {
    /// Configuration of [`MPNet`].
    pub struct MPNetConfig("mpnet"): BertConfig {
        /// Rows of the table of relative biases.
        relative_attention_num_buckets: i64 = 32,
    }
    defaults: { vocab_size: 30527, pad_token_id: Some(1) }
    without: ["type_vocab_size", "is_decoder", "add_cross_attention", "classifier_dropout"]
    validate: |config: &MPNetConfig| {
        let rows = config.relative_attention_num_buckets;
        if !(BUCKETS..=1 << 20).contains(&rows) {
            let message = format!("must be {BUCKETS} at least, which is how many the model looks up, got {rows}");
            return Err(Error::config("mpnet", "relative_attention_num_buckets", message));
        }
        if config.vocab_size <= PADDING || config.max_position_embeddings <= PADDING + 1 {
            let message = "leaves no token or no position after that of padding, which is 1".to_owned();
            return Err(Error::config("mpnet", "max_position_embeddings", message));
        }
        Ok(())
    };
}

encoder! {
    /// MPNet (Song et al., 2020); `transformers.models.mpnet`.
    pub struct MPNet(MPNetConfig) = spec;
    [FeatureExtraction, FillMask, TextClassification, TokenClassification, QuestionAnswering, MultipleChoice]
}

/// MPNet's encoder: RoBERTa's without segments, and with relative biases.
pub fn spec(config: &MPNetConfig) -> Result<EncoderSpec> {
    let positions = Positions::AfterPadding { count: config.max_position_embeddings, padding: PADDING };
    let mut spec = roberta::heir(config, positions, Names::new("mpnet", names()))?;
    spec.embeddings.padding = Some(PADDING);
    spec.embeddings.tables.clear();
    let heads = config.num_attention_heads;
    let bias = RelativeBiasSpec { heads, buckets: BUCKETS, max_distance: 128, bidirectional: true };
    spec.layers.relative = Some(Relative::Bias(bias, config.relative_attention_num_buckets));
    Ok(spec)
}

fn names() -> NameTable {
    original::names().names(&[
        ("relative", "encoder.relative_attention_bias"),
        ("layers.*.attention.q", "encoder.layer.*.attention.attn.q"),
        ("layers.*.attention.k", "encoder.layer.*.attention.attn.k"),
        ("layers.*.attention.v", "encoder.layer.*.attention.attn.v"),
        ("layers.*.attention.o", "encoder.layer.*.attention.attn.o"),
        ("layers.*.attention_norm", "encoder.layer.*.attention.LayerNorm"),
    ])
}
