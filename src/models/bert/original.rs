use super::{EmbeddingsSpec, EncoderSpec, IdTable, LayersSpec, Names, encoder};
use crate::config::{divides, positive};
use crate::nn::heads::{PredictionBias, PredictionSpec, TransformSpec};
use crate::nn::{Activation, AttentionSpec, LayerSpec, MlpSpec, NormSpec, Placement};
use crate::weights::NameTable;
use crate::{Error, Result};

crate::config! {
    /// Configuration of [`Bert`], from which those of its heirs derive.
    pub struct BertConfig("bert") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 30522,
        /// Width of the hidden states.
        hidden_size: i64 = 768,
        /// Number of layers.
        num_hidden_layers: i64 = 12,
        /// Attention heads per layer.
        num_attention_heads: i64 = 12,
        /// Width of the feed-forward layers.
        intermediate_size: i64 = 3072,
        /// Activation of the feed-forward layers and of the prediction head.
        hidden_act: Activation = Activation::Gelu,
        /// Length of the position table.
        max_position_embeddings: i64 = 512,
        /// Number of segments.
        type_vocab_size: i64 = 2,
        /// Added to variances.
        layer_norm_eps: f64 = 1e-12,
        /// The token of padding, whose embedding is not trained.
        pad_token_id: Option<i64> = Some(0),
        /// Whether tokens see only what came before them.
        is_decoder: bool = false,
        /// Whether layers attend to a second sequence.
        add_cross_attention: bool = false,
        /// Whether the prediction head uses the table of word embeddings.
        tie_word_embeddings: bool = true,
    }
    ignored: ["hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"]
    validate: validate;
}

fn validate(config: &BertConfig) -> Result<()> {
    if config.add_cross_attention && !config.is_decoder {
        return Err(Error::config("bert", "add_cross_attention", "needs `is_decoder` to be true".to_owned()));
    }
    divides("bert", ("hidden_size", config.hidden_size), ("num_attention_heads", config.num_attention_heads))?;
    positive(
        "bert",
        &[
            ("vocab_size", config.vocab_size),
            ("num_hidden_layers", config.num_hidden_layers),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("type_vocab_size", config.type_vocab_size),
        ],
    )
}

encoder! {
    /// BERT (Devlin et al., 2018); `transformers.models.bert`.
    pub struct Bert(BertConfig) = spec;
    [
        FeatureExtraction, FillMask, TextGeneration, TextClassification, TokenClassification, QuestionAnswering,
        MultipleChoice, NextSentencePrediction, Pretraining,
    ]
}

/// BERT's encoder.
pub fn spec(config: &BertConfig) -> Result<EncoderSpec> {
    let (hidden, norm) = (config.hidden_size, NormSpec::layer(config.layer_norm_eps));
    let embeddings = EmbeddingsSpec {
        padding: config.pad_token_id,
        tables: vec![IdTable::segments(config.type_vocab_size)],
        ..EmbeddingsSpec::new(config.vocab_size, hidden, config.max_position_embeddings, norm)
    };
    let attention = AttentionSpec::even(hidden, config.num_attention_heads);
    let mlp = MlpSpec::plain(hidden, config.intermediate_size, config.hidden_act);
    let layer = LayerSpec {
        cross: config.add_cross_attention.then_some(attention),
        placement: Placement::Post,
        ..LayerSpec::new(attention, mlp, norm)
    };
    let layers = LayersSpec { causal: config.is_decoder, ..LayersSpec::new(layer, config.num_hidden_layers) };
    let transform = TransformSpec { inputs: hidden, outputs: hidden, bias: true, activation: config.hidden_act, norm };
    let prediction = PredictionSpec {
        transform,
        transforms: true,
        vocabulary: config.vocab_size,
        tied: config.tie_word_embeddings,
        bias: PredictionBias::Own,
    };
    let names = Names::new("bert", names()).with_heads(&[
        ("prediction", "cls.predictions"),
        ("prediction.dense", "cls.predictions.transform.dense"),
        ("prediction.norm", "cls.predictions.transform.LayerNorm"),
        ("sentence", "cls.seq_relationship"),
    ]);
    Ok(EncoderSpec { labels: config.num_labels, ..EncoderSpec::new(embeddings, layers, prediction, names) })
}

/// The names of the parameters of BERT's body, which its heirs share.
pub fn names() -> NameTable {
    NameTable::new().names(&[
        ("word", "embeddings.word_embeddings"),
        ("position", "embeddings.position_embeddings"),
        ("segment", "embeddings.token_type_embeddings"),
        ("embedding_norm", "embeddings.LayerNorm"),
        ("layers", "encoder.layer"),
        ("layers.*.attention.q", "encoder.layer.*.attention.self.query"),
        ("layers.*.attention.k", "encoder.layer.*.attention.self.key"),
        ("layers.*.attention.v", "encoder.layer.*.attention.self.value"),
        ("layers.*.attention.o", "encoder.layer.*.attention.output.dense"),
        ("layers.*.attention_norm", "encoder.layer.*.attention.output.LayerNorm"),
        ("layers.*.cross.q", "encoder.layer.*.crossattention.self.query"),
        ("layers.*.cross.k", "encoder.layer.*.crossattention.self.key"),
        ("layers.*.cross.v", "encoder.layer.*.crossattention.self.value"),
        ("layers.*.cross.o", "encoder.layer.*.crossattention.output.dense"),
        ("layers.*.cross_norm", "encoder.layer.*.crossattention.output.LayerNorm"),
        ("layers.*.mlp.up", "encoder.layer.*.intermediate.dense"),
        ("layers.*.mlp.down", "encoder.layer.*.output.dense"),
        ("layers.*.mlp_norm", "encoder.layer.*.output.LayerNorm"),
    ])
}
