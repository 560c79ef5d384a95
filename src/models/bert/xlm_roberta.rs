use super::roberta::{first_position, heir};
use super::{BertConfig, EncoderSpec, Names, encoder, original};
use crate::Result;

crate::config! {
    /// Configuration of [`XlmRoberta`].
    pub struct XlmRobertaConfig("xlm-roberta"): BertConfig {}
    defaults: { pad_token_id: Some(1) }
    validate: |config: &XlmRobertaConfig| first_position("xlm-roberta", config).map(drop);
}

encoder! {
    /// XLM-RoBERTa (Conneau et al., 2019), RoBERTa in a hundred languages; `transformers.models.xlm_roberta`.
    pub struct XlmRoberta(XlmRobertaConfig) = spec;
    [
        FeatureExtraction, FillMask, TextGeneration, TextClassification, TokenClassification, QuestionAnswering,
        MultipleChoice,
    ]
}

/// XLM-RoBERTa's encoder: RoBERTa's.
pub fn spec(config: &XlmRobertaConfig) -> Result<EncoderSpec> {
    heir(config, first_position("xlm-roberta", config)?, Names::new("roberta", original::names()))
}
