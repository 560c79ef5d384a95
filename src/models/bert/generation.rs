use super::{BertConfig, EncoderSpec, Names, encoder, original};
use crate::Result;

crate::config! {
    /// Configuration of [`BertGeneration`].
    pub struct BertGenerationConfig("bert-generation"): BertConfig {}
    defaults: {
        vocab_size: 50358, hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16, intermediate_size: 4096
    }
    without: ["type_vocab_size", "classifier_dropout"]
}

encoder! {
    /// BERT for either side of a text generator (Rothe et al., 2019); `transformers.models.bert_generation`.
    pub struct BertGeneration(BertGenerationConfig) = spec;
    [FeatureExtraction, TextGeneration]
}

/// BERT's encoder without segments and pooler, and scores of the vocabulary right on its states.
fn spec(config: &BertGenerationConfig) -> Result<EncoderSpec> {
    let mut spec = original::spec(config)?;
    spec.embeddings.tables.clear();
    spec.pooler = None;
    spec.heads.prediction.transforms = false;
    spec.names = Names::new("bert", original::names()).with_heads(&[("prediction", "lm_head")]);
    Ok(spec)
}
