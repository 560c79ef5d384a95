use super::{BertConfig, EncoderSpec, Names, Pretraining, Projection, Vector, encoder, original};
use crate::Result;
use crate::config::positive;
use crate::nn::heads::PredictionBias;
use crate::nn::{Activation, SummarySpec, SummaryType};

crate::config! {
    /// Configuration of [`Electra`].
    pub struct ElectraConfig("electra"): BertConfig {
        /// Width of the embeddings.
        embedding_size: i64 = 128,
        /// How multiple choice makes one vector of a sequence.
        summary_type: SummaryType = SummaryType::First,
        /// Whether it projects the vector.
        summary_use_proj: bool = true,
        /// The activation that comes last.
        summary_activation: Option<Activation> = Some(Activation::Gelu),
    }
    defaults: { hidden_size: 256, num_attention_heads: 4, intermediate_size: 1024 }
    ignored: ["summary_last_dropout"]
    validate: |config: &ElectraConfig| positive("electra", &[("embedding_size", config.embedding_size)]);
}

encoder! {
    /// ELECTRA (Clark et al., 2020); `transformers.models.electra`.
    pub struct Electra(ElectraConfig) = spec;
    [
        FeatureExtraction, FillMask, TextGeneration, TextClassification, TokenClassification, QuestionAnswering,
        MultipleChoice, Pretraining,
    ]
}

/// ELECTRA's encoder: BERT's with narrower embeddings, and heads of its own.
pub fn spec(config: &ElectraConfig) -> Result<EncoderSpec> {
    let mut spec = original::spec(config)?;
    spec.embeddings.width = config.embedding_size;
    if config.embedding_size != config.hidden_size {
        spec.embeddings.projection = Projection::AfterNorm;
    }
    spec.pooler = None;
    spec.heads.prediction.transform.outputs = config.embedding_size;
    spec.heads.prediction.transform.activation = Activation::Gelu;
    spec.heads.prediction.bias = PredictionBias::Decoder;
    spec.heads.sequence = Vector::Dense(Activation::Gelu);
    spec.heads.choice = Vector::Summary(SummarySpec {
        kind: config.summary_type,
        projection: config.summary_use_proj.then_some(config.hidden_size),
        activation: config.summary_activation,
    });
    spec.heads.pretraining = Pretraining::Replaced(config.hidden_act);
    spec.names = Names::new("electra", original::names().name("projection", "embeddings_project")).with_heads(&[
        ("prediction", "generator_predictions"),
        ("prediction.norm", "generator_predictions.LayerNorm"),
        ("prediction.decoder", "generator_lm_head"),
        ("sequence", "classifier"),
        ("sequence.scores", "classifier.out_proj"),
        ("choice", "sequence_summary"),
        ("choice.scores", "classifier"),
        ("replaced", "discriminator_predictions"),
        ("replaced.scores", "discriminator_predictions.dense_prediction"),
    ]);
    Ok(spec)
}
