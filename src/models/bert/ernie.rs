use super::{BertConfig, EncoderSpec, IdTable, Names, encoder, original};
use crate::Result;
use crate::config::positive;

crate::config! {
    /// Configuration of [`Ernie`].
    pub struct ErnieConfig("ernie"): BertConfig {
        /// Number of tasks.
        task_type_vocab_size: i64 = 3,
        /// Whether a vector of the task is added to each token's.
        use_task_id: bool = false,
    }
    validate: |config: &ErnieConfig| positive("ernie", &[("task_type_vocab_size", config.task_type_vocab_size)]);
}

encoder! {
    /// ERNIE (Sun et al., 2019); `transformers.models.ernie`.
    pub struct Ernie(ErnieConfig) = spec;
    [
        FeatureExtraction, FillMask, TextGeneration, TextClassification, TokenClassification, QuestionAnswering,
        MultipleChoice, NextSentencePrediction, Pretraining,
    ]
}

/// ERNIE's encoder: BERT's with a further table.
fn spec(config: &ErnieConfig) -> Result<EncoderSpec> {
    let mut spec = original::spec(config)?;
    if config.use_task_id {
        let tasks = IdTable { argument: "task_type_ids", name: "task", count: config.task_type_vocab_size };
        spec.embeddings.tables.push(tasks);
    }
    let body = original::names().name("task", "embeddings.task_type_embeddings");
    spec.names = Names { prefix: "ernie", body, ..spec.names };
    Ok(spec)
}
