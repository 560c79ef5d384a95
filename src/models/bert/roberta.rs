use super::{BertConfig, EncoderSpec, Names, Positions, Vector, encoder, original};
use crate::nn::Activation;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`Roberta`].
    pub struct RobertaConfig("roberta"): BertConfig {}
    defaults: { vocab_size: 50265, pad_token_id: Some(1) }
    validate: |config: &RobertaConfig| first_position("roberta", config).map(drop);
}

/// How RoBERTa and its heirs count positions.
///
/// # Errors
/// When `pad_token_id` leaves no position to count from.
pub fn first_position(model_type: &str, config: &BertConfig) -> Result<Positions> {
    let count = config.max_position_embeddings;
    match config.pad_token_id {
        Some(padding) if (0..count - 1).contains(&padding) => Ok(Positions::AfterPadding { count, padding }),
        other => {
            let message = format!("positions count from one more than it, up to {count}; got {other:?}");
            Err(Error::config(model_type, "pad_token_id", message))
        }
    }
}

encoder! {
    /// RoBERTa (Liu et al., 2019); `transformers.models.roberta`.
    pub struct Roberta(RobertaConfig) = spec;
    [
        FeatureExtraction, FillMask, TextGeneration, TextClassification, TokenClassification, QuestionAnswering,
        MultipleChoice,
    ]
}

/// RoBERTa's encoder.
pub fn spec(config: &RobertaConfig) -> Result<EncoderSpec> {
    heir(config, first_position("roberta", config)?, Names::new("roberta", original::names()))
}

/// BERT's encoder with `positions` and the heads of RoBERTa.
pub fn heir(config: &BertConfig, positions: Positions, names: Names) -> Result<EncoderSpec> {
    let mut spec = original::spec(config)?;
    spec.embeddings.positions = positions;
    spec.heads.sequence = Vector::Dense(Activation::Tanh);
    spec.heads.prediction.transform.activation = Activation::Gelu;
    spec.names = names.with_heads(&[
        ("prediction", "lm_head"),
        ("prediction.norm", "lm_head.layer_norm"),
        ("sequence", "classifier"),
        ("sequence.scores", "classifier.out_proj"),
    ]);
    Ok(spec)
}
