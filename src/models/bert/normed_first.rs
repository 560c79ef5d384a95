//! BERT and RoBERTa with layers that normalise their input.

use super::roberta::{first_position, heir};
use super::{BertConfig, EncoderSpec, Names, encoder, original};
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`MegatronBert`].
    pub struct MegatronBertConfig("megatron-bert"): BertConfig {}
    defaults: {
        vocab_size: 29056, hidden_size: 1024, num_hidden_layers: 24, num_attention_heads: 16, intermediate_size: 4096
    }
    without: ["classifier_dropout"]
    validate: |config: &MegatronBertConfig| match config.add_cross_attention {
        true => Err(Error::config("megatron-bert", "add_cross_attention", "must be false")),
        false => Ok(()),
    };
}

encoder! {
    /// Megatron's BERT (Shoeybi et al., 2019); `transformers.models.megatron_bert`.
    pub struct MegatronBert(MegatronBertConfig) = megatron_bert;
    [
        FeatureExtraction, FillMask, TextGeneration, TextClassification, TokenClassification, QuestionAnswering,
        MultipleChoice, NextSentencePrediction, Pretraining,
    ]
}

/// The first layer's norm stands in place of that of the embeddings.
fn megatron_bert(config: &MegatronBertConfig) -> Result<EncoderSpec> {
    let mut spec = original::spec(config)?.normed_first();
    spec.embeddings.norm = None;
    spec.names.body = spec.names.body.names(&[
        ("layers.*.attention_norm", "encoder.layer.*.attention.ln"),
        ("layers.*.cross_norm", "encoder.layer.*.crossattention.ln"),
        ("layers.*.mlp_norm", "encoder.layer.*.ln"),
        ("norm", "encoder.ln"),
    ]);
    Ok(spec)
}

crate::config! {
    /// Configuration of [`RobertaPreLayerNorm`].
    pub struct RobertaPreLayerNormConfig("roberta-prelayernorm"): BertConfig {}
    defaults: { vocab_size: 50265, pad_token_id: Some(1) }
    validate: |config: &RobertaPreLayerNormConfig| first_position("roberta-prelayernorm", config).map(drop);
}

encoder! {
    /// RoBERTa with norms first (Ott et al., 2019); `transformers.models.roberta_prelayernorm`.
    pub struct RobertaPreLayerNorm(RobertaPreLayerNormConfig) = roberta_prelayernorm;
    [
        FeatureExtraction, FillMask, TextGeneration, TextClassification, TokenClassification, QuestionAnswering,
        MultipleChoice,
    ]
}

fn roberta_prelayernorm(config: &RobertaPreLayerNormConfig) -> Result<EncoderSpec> {
    let body = original::names().names(&[
        ("layers.*.attention_norm", "encoder.layer.*.attention.LayerNorm"),
        ("layers.*.cross_norm", "encoder.layer.*.crossattention.LayerNorm"),
        ("layers.*.mlp_norm", "encoder.layer.*.intermediate.LayerNorm"),
        ("norm", "LayerNorm"),
    ]);
    let positions = first_position("roberta-prelayernorm", config)?;
    Ok(heir(config, positions, Names::new("roberta_prelayernorm", body))?.normed_first())
}

crate::config! {
    /// Configuration of [`XlmRobertaXl`].
    pub struct XlmRobertaXlConfig("xlm-roberta-xl"): BertConfig {}
    defaults: {
        vocab_size: 250880, hidden_size: 2560, num_hidden_layers: 36, num_attention_heads: 32,
        intermediate_size: 10240, max_position_embeddings: 514, type_vocab_size: 1, layer_norm_eps: 1e-5,
        pad_token_id: Some(1)
    }
    validate: |config: &XlmRobertaXlConfig| first_position("xlm-roberta-xl", config).map(drop);
}

encoder! {
    /// XLM-RoBERTa-XL (Goyal et al., 2021); `transformers.models.xlm_roberta_xl`.
    pub struct XlmRobertaXl(XlmRobertaXlConfig) = xlm_roberta_xl;
    [
        FeatureExtraction, FillMask, TextGeneration, TextClassification, TokenClassification, QuestionAnswering,
        MultipleChoice,
    ]
}

/// The first layer's norm stands in place of that of the embeddings.
fn xlm_roberta_xl(config: &XlmRobertaXlConfig) -> Result<EncoderSpec> {
    let body = original::names().names(&[
        ("layers.*.attention_norm", "encoder.layer.*.attention.self_attn_layer_norm"),
        ("layers.*.cross_norm", "encoder.layer.*.crossattention.self_attn_layer_norm"),
        ("layers.*.mlp_norm", "encoder.layer.*.LayerNorm"),
        ("norm", "encoder.LayerNorm"),
    ]);
    let positions = first_position("xlm-roberta-xl", config)?;
    let mut spec = heir(config, positions, Names::new("roberta", body))?.normed_first();
    spec.embeddings.norm = None;
    Ok(spec)
}
