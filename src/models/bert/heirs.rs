//! RoBERTa under other names.

use super::roberta::{first_position, heir};
use super::{BertConfig, EncoderSpec, Names, encoder, original};
use crate::Result;

crate::config! {
    /// Configuration of [`Camembert`].
    pub struct CamembertConfig("camembert"): BertConfig {}
    defaults: { pad_token_id: Some(1) }
    validate: |config: &CamembertConfig| first_position("camembert", config).map(drop);
}

encoder! {
    /// CamemBERT (Martin et al., 2019), RoBERTa for French; `transformers.models.camembert`.
    pub struct Camembert(CamembertConfig) = camembert;
    [
        FeatureExtraction, FillMask, TextGeneration, TextClassification, TokenClassification, QuestionAnswering,
        MultipleChoice,
    ]
}

fn camembert(config: &CamembertConfig) -> Result<EncoderSpec> {
    heir(config, first_position("camembert", config)?, Names::new("roberta", original::names()))
}

crate::config! {
    /// Configuration of [`Data2VecText`].
    pub struct Data2VecTextConfig("data2vec-text"): BertConfig {}
    defaults: { pad_token_id: Some(1) }
    validate: |config: &Data2VecTextConfig| first_position("data2vec-text", config).map(drop);
}

encoder! {
    /// The text model of data2vec (Baevski et al., 2022); `transformers.models.data2vec`.
    pub struct Data2VecText(Data2VecTextConfig) = data2vec_text;
    [
        FeatureExtraction, FillMask, TextGeneration, TextClassification, TokenClassification, QuestionAnswering,
        MultipleChoice,
    ]
}

fn data2vec_text(config: &Data2VecTextConfig) -> Result<EncoderSpec> {
    heir(config, first_position("data2vec-text", config)?, Names::new("data2vec_text", original::names()))
}
