use super::{BertConfig, EncoderSpec, Names, Projection, encoder, original};
use crate::Result;
use crate::config::positive;
use crate::nn::heads::PredictionBias;

crate::config! {
    /// Configuration of [`RemBert`].
    pub struct RemBertConfig("rembert"): BertConfig {
        /// Width of the embeddings.
        input_embedding_size: i64 = 256,
        /// Width of the prediction head.
        output_embedding_size: i64 = 1664,
    }
    defaults: {
        vocab_size: 250300, hidden_size: 1152, num_hidden_layers: 32, num_attention_heads: 18, intermediate_size: 4608
    }
    without: ["classifier_dropout", "tie_word_embeddings"]
    ignored: ["classifier_dropout_prob", "tie_word_embeddings"]
    validate: |config: &RemBertConfig| positive("rembert", &[
        ("input_embedding_size", config.input_embedding_size),
        ("output_embedding_size", config.output_embedding_size),
    ]);
}

encoder! {
    /// RemBERT (Chung et al., 2020); `transformers.models.rembert`.
    pub struct RemBert(RemBertConfig) = spec;
    [
        FeatureExtraction, FillMask, TextGeneration, TextClassification, TokenClassification, QuestionAnswering,
        MultipleChoice,
    ]
}

/// RemBERT's encoder: BERT's with narrower embeddings, and a prediction head of another width that nothing is tied to.
fn spec(config: &RemBertConfig) -> Result<EncoderSpec> {
    let mut spec = original::spec(config)?;
    spec.embeddings.width = config.input_embedding_size;
    spec.embeddings.projection = Projection::AfterNorm;
    spec.heads.prediction.transform.outputs = config.output_embedding_size;
    spec.heads.prediction.bias = PredictionBias::Decoder;
    spec.heads.prediction.tied = false;
    let body = original::names().name("projection", "encoder.embedding_hidden_mapping_in");
    spec.names = Names::new("rembert", body)
        .with_heads(&[("prediction", "cls.predictions"), ("prediction.norm", "cls.predictions.LayerNorm")]);
    Ok(spec)
}
