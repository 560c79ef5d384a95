use super::{BertConfig, EncoderSpec, Names, Vector, encoder, original};
use crate::Result;
use crate::config::{divides, positive};
use crate::nn::Activation;
use crate::nn::heads::PredictionBias;
use crate::weights::NameTable;

crate::config! {
    /// Configuration of [`DistilBert`].
    pub struct DistilBertConfig("distilbert") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 30522,
        /// Length of the position table.
        max_position_embeddings: i64 = 512,
        /// Number of layers.
        n_layers: i64 = 6,
        /// Attention heads per layer.
        n_heads: i64 = 12,
        /// Width of the hidden states.
        dim: i64 = 768,
        /// Width of the feed-forward layers.
        hidden_dim: i64 = 3072,
        /// Activation of the feed-forward layers and of the prediction head.
        activation: Activation = Activation::Gelu,
        /// The token of padding, whose embedding is not trained.
        pad_token_id: Option<i64> = Some(0),
        /// Whether the prediction head uses the table of word embeddings.
        tie_word_embeddings: bool = true,
    }
    // Sinusoidal positions are what training starts from; a checkpoint holds its table either way.
    ignored: ["sinusoidal_pos_embds", "dropout", "attention_dropout", "qa_dropout", "seq_classif_dropout"]
    aliases: [("hidden_size", "dim"), ("num_attention_heads", "n_heads"), ("num_hidden_layers", "n_layers")]
    validate: |config: &DistilBertConfig| {
        divides("distilbert", ("dim", config.dim), ("n_heads", config.n_heads))?;
        positive("distilbert", &[
            ("vocab_size", config.vocab_size),
            ("n_layers", config.n_layers),
            ("hidden_dim", config.hidden_dim),
            ("max_position_embeddings", config.max_position_embeddings),
        ])
    };
}

encoder! {
    /// DistilBERT (Sanh et al., 2019); `transformers.models.distilbert`.
    pub struct DistilBert(DistilBertConfig) = spec;
    [FeatureExtraction, FillMask, TextClassification, TokenClassification, QuestionAnswering, MultipleChoice]
}

/// DistilBERT's encoder: BERT's without segments and pooler, under other names.
pub fn spec(config: &DistilBertConfig) -> Result<EncoderSpec> {
    let mut spec = original::spec(&BertConfig {
        vocab_size: config.vocab_size,
        hidden_size: config.dim,
        num_hidden_layers: config.n_layers,
        num_attention_heads: config.n_heads,
        intermediate_size: config.hidden_dim,
        hidden_act: config.activation,
        max_position_embeddings: config.max_position_embeddings,
        pad_token_id: config.pad_token_id,
        tie_word_embeddings: config.tie_word_embeddings,
        num_labels: config.num_labels,
        ..BertConfig::default()
    })?;
    spec.embeddings.tables.clear();
    spec.pooler = None;
    spec.heads.prediction.bias = PredictionBias::Decoder;
    spec.heads.sequence = Vector::Dense(Activation::Relu);
    spec.heads.choice = Vector::Dense(Activation::Relu);
    spec.names = names();
    Ok(spec)
}

fn names() -> Names {
    let body = NameTable::new().names(&[
        ("word", "embeddings.word_embeddings"),
        ("position", "embeddings.position_embeddings"),
        ("embedding_norm", "embeddings.LayerNorm"),
        ("layers", "transformer.layer"),
        ("layers.*.attention.q", "transformer.layer.*.attention.q_lin"),
        ("layers.*.attention.k", "transformer.layer.*.attention.k_lin"),
        ("layers.*.attention.v", "transformer.layer.*.attention.v_lin"),
        ("layers.*.attention.o", "transformer.layer.*.attention.out_lin"),
        ("layers.*.attention_norm", "transformer.layer.*.sa_layer_norm"),
        ("layers.*.mlp.up", "transformer.layer.*.ffn.lin1"),
        ("layers.*.mlp.down", "transformer.layer.*.ffn.lin2"),
        ("layers.*.mlp_norm", "transformer.layer.*.output_layer_norm"),
    ]);
    Names::new("distilbert", body).with_heads(&[
        ("prediction.dense", "vocab_transform"),
        ("prediction.norm", "vocab_layer_norm"),
        ("prediction.decoder", "vocab_projector"),
        ("sequence.dense", "pre_classifier"),
        ("choice.dense", "pre_classifier"),
    ])
}
