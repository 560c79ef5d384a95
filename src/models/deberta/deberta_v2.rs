use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::{divides, positive};
use crate::models::bert::{
    EmbeddingsSpec, EncoderSpec, IdTable, LayersSpec, Names, Positions, Projection, Relative, Vector, encoder,
};
use crate::nn::heads::{PredictionBias, PredictionSpec, TransformSpec};
use crate::nn::{
    Activation, AttentionSpec, ConvBranchSpec, DisentangledSpec, FeedForwardSpec, LayerSpec, MixerSpec, MlpSpec,
    NormSpec, Placement, RelativeTableSpec,
};
use crate::weights::NameTable;
use crate::{Error, Result};

/// Terms of disentangled attention that look at positions; `pos_att_type` of configurations.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PositionTerm {
    /// Content to position.
    C2p,
    /// Position to content.
    P2c,
}

impl crate::proofs::Takes for PositionTerm {
    const KIND: crate::proofs::Kind = crate::proofs::Kind::Str;
}

crate::config! {
    /// Configuration of [`DebertaV2`].
    pub struct DebertaV2Config("deberta-v2") {
        /// Tokens in the vocabulary.
        vocab_size: i64 = 128100,
        /// Width of the hidden states.
        hidden_size: i64 = 1536,
        /// Width of the embeddings; that of the hidden states where nothing is said.
        embedding_size: Option<i64> = None,
        /// Number of layers.
        num_hidden_layers: i64 = 24,
        /// Attention heads per layer.
        num_attention_heads: i64 = 24,
        /// Width of a head; the heads share `hidden_size` where nothing is said.
        attention_head_size: Option<i64> = None,
        /// Width of the feed-forward layers.
        intermediate_size: i64 = 6144,
        /// Activation of the feed-forward layers and of the prediction head.
        hidden_act: Activation = Activation::Gelu,
        /// Length of the position table.
        max_position_embeddings: i64 = 512,
        /// Number of segments; none where 0.
        type_vocab_size: i64 = 0,
        /// Added to variances.
        layer_norm_eps: f64 = 1e-7,
        /// The token of padding, whose embedding is not trained.
        pad_token_id: Option<i64> = Some(0),
        /// Whether attention knows of relative positions.
        relative_attention: bool = false,
        /// Relative positions on either side; `max_position_embeddings` where less than 1.
        max_relative_positions: i64 = -1,
        /// Buckets of relative positions on either side; one for each position where less than 1.
        position_buckets: i64 = -1,
        /// Whether the table of relative positions is normalised: `layer_norm`, or `none`.
        norm_rel_ebd: String = "none".into(),
        /// Whether positions are projected by the matrices of the content.
        share_att_key: bool = false,
        /// Which terms of attention look at positions.
        pos_att_type: Option<Vec<PositionTerm>> = None,
        /// Whether positions are added to the embeddings.
        position_biased_input: bool = true,
        /// Tokens that the convolution beside the first layer sees; there is none where it is 0.
        conv_kernel_size: i64 = 0,
        /// Groups that its channels are split into.
        conv_groups: i64 = 1,
        /// Its activation.
        conv_act: Activation = Activation::Tanh,
        /// Activation of the pooler of the heads.
        pooler_hidden_act: Activation = Activation::Gelu,
        /// Whether the prediction head is the one of older versions, which has a matrix of its own to tie.
        legacy: bool = true,
        /// Whether that head uses the table of word embeddings.
        tie_word_embeddings: bool = true,
    }
    undeclared: [
        "embedding_size", "attention_head_size", "position_buckets", "norm_rel_ebd", "share_att_key", "conv_kernel_size",
        "conv_groups", "conv_act",
    ]
    ignored: [
        "hidden_dropout_prob", "attention_probs_dropout_prob", "pooler_dropout", "pooler_hidden_size",
    ]
    upgrade: upgrade;
    validate: validate;
}

/// Brings `pos_att_type` from `p2c|c2p` to a list, and checks the width of the pooler, which is that of its input.
fn upgrade(fields: &mut Map<String, Value>, default: &DebertaV2Config) -> Result<()> {
    if let Some(Value::String(terms)) = fields.get("pos_att_type") {
        let terms: Vec<_> = terms.to_lowercase().split('|').map(|term| Value::from(term.trim())).collect();
        fields.insert("pos_att_type".into(), terms.into());
    }
    let hidden = fields.get("hidden_size").cloned().unwrap_or(default.hidden_size.into());
    match fields.get("pooler_hidden_size") {
        Some(width) if !width.is_null() && *width != hidden => {
            let message = format!("must be `hidden_size` ({hidden}), the width of what the pooler reads, got {width}");
            Err(Error::config("deberta-v2", "pooler_hidden_size", message))
        }
        _ => Ok(()),
    }
}

impl DebertaV2Config {
    fn embedding_size(&self) -> i64 {
        self.embedding_size.unwrap_or(self.hidden_size)
    }

    fn head_dim(&self) -> i64 {
        self.attention_head_size.unwrap_or(self.hidden_size / self.num_attention_heads.max(1))
    }

    fn looks_at(&self, term: PositionTerm) -> bool {
        self.pos_att_type.as_ref().is_some_and(|terms| terms.contains(&term))
    }

    /// Relative positions on either side.
    fn max_relative(&self) -> i64 {
        match self.max_relative_positions {
            given @ 1.. => given,
            _ => self.max_position_embeddings,
        }
    }

    /// Buckets on either side, and the distance from which on all are in the last one.
    fn buckets(&self) -> Option<(i64, i64)> {
        (self.position_buckets > 0).then_some((self.position_buckets, self.max_relative()))
    }
}

fn validate(config: &DebertaV2Config) -> Result<()> {
    let wrong = |field: &str, message: String| Err(Error::config("deberta-v2", field, message));
    let (hidden, heads) = (("hidden_size", config.hidden_size), ("num_attention_heads", config.num_attention_heads));
    divides("deberta-v2", hidden, heads)?;
    positive(
        "deberta-v2",
        &[
            ("vocab_size", config.vocab_size),
            ("embedding_size", config.embedding_size()),
            ("num_hidden_layers", config.num_hidden_layers),
            ("intermediate_size", config.intermediate_size),
            ("max_position_embeddings", config.max_position_embeddings),
            ("max_relative_positions", config.max_relative()),
            ("conv_groups", config.conv_groups),
        ],
    )?;
    if config.head_dim() * config.num_attention_heads != config.hidden_size {
        return wrong("attention_head_size", format!("the heads must share `hidden_size` ({})", config.hidden_size));
    }
    if config.type_vocab_size != 0 {
        positive("deberta-v2", &[("type_vocab_size", config.type_vocab_size)])?;
    }
    if let Some((buckets, most)) = config.buckets() {
        positive("deberta-v2", &[("position_buckets", buckets)])?;
        if buckets < 2 || most - 1 <= buckets / 2 {
            let message =
                format!("{buckets} buckets need 2 at least, and relative positions beyond half of them, got {most}");
            return wrong("position_buckets", message);
        }
    }
    let norms = ["none", "layer_norm"];
    if !norms.contains(&config.norm_rel_ebd.as_str()) {
        return wrong("norm_rel_ebd", format!("`{}` is not one of {}", config.norm_rel_ebd, norms.join(", ")));
    }
    if config.norm_rel_ebd != "none" && !config.relative_attention {
        return wrong("norm_rel_ebd", "there is no table of positions without `relative_attention`".into());
    }
    if config.conv_kernel_size > 0 {
        if config.conv_kernel_size % 2 == 0 {
            return wrong("conv_kernel_size", format!("must be odd, got {}", config.conv_kernel_size));
        }
        divides("deberta-v2", hidden, ("conv_groups", config.conv_groups))?;
    }
    if !config.legacy && config.embedding_size() != config.hidden_size {
        let message = "the prediction head multiplies by the embeddings, which must be as wide as `hidden_size`";
        return wrong("embedding_size", message.into());
    }
    Ok(())
}

encoder! {
    /// DeBERTa v2 and v3 (He et al., 2020 and 2021); `transformers.models.deberta_v2`.
    pub struct DebertaV2(DebertaV2Config) = spec;
    [FeatureExtraction, FillMask, TextClassification, TokenClassification, QuestionAnswering, MultipleChoice]
}

/// The encoder of DeBERTa v2 and v3.
pub fn spec(config: &DebertaV2Config) -> Result<EncoderSpec> {
    let (hidden, norm) = (config.hidden_size, NormSpec::layer(config.layer_norm_eps));
    let (c2p, p2c) = (config.looks_at(PositionTerm::C2p), config.looks_at(PositionTerm::P2c));
    let mut embeddings = EmbeddingsSpec {
        hidden,
        padding: config.pad_token_id,
        blank_padding: true,
        ..EmbeddingsSpec::new(config.vocab_size, config.embedding_size(), config.max_position_embeddings, norm)
    };
    if !config.position_biased_input {
        embeddings.positions = Positions::None;
    }
    if config.type_vocab_size > 0 {
        embeddings.tables.push(IdTable::segments(config.type_vocab_size));
    }
    if config.embedding_size() != hidden {
        embeddings.projection = Projection::BeforeNorm;
    }

    // Scores are the sum of up to three terms.
    let terms = 1 + i64::from(c2p) + i64::from(p2c);
    let scale = ((config.head_dim() * terms) as f64).powf(-0.5);
    let attention =
        AttentionSpec { scale, eager: true, filled: true, ..AttentionSpec::even(hidden, config.num_attention_heads) };
    let mixer = match config.relative_attention {
        false => MixerSpec::Attention(attention),
        true => MixerSpec::Disentangled(DisentangledSpec {
            attention,
            content_to_position: c2p,
            position_to_content: p2c,
            shared: config.share_att_key,
            key_bias: true,
        }),
    };
    let mlp = FeedForwardSpec::Mlp(MlpSpec::plain(hidden, config.intermediate_size, config.hidden_act));
    let layer = LayerSpec { placement: Placement::Post, ..LayerSpec::of(hidden, mixer, mlp, norm) };
    let relative = RelativeTableSpec {
        hidden,
        span: config.buckets().map_or(config.max_relative(), |(buckets, _)| buckets),
        buckets: config.buckets(),
        norm: (config.norm_rel_ebd == "layer_norm").then_some(norm),
    };
    let conv = ConvBranchSpec {
        hidden,
        kernel: config.conv_kernel_size,
        groups: config.conv_groups,
        activation: config.conv_act,
        norm,
    };
    let layers = LayersSpec {
        relative: config.relative_attention.then_some(Relative::Vectors(relative)),
        conv: (config.conv_kernel_size > 0).then_some(conv),
        blind_padding: true,
        ..LayersSpec::new(layer, config.num_hidden_layers)
    };

    let outputs = config.embedding_size();
    let prediction = PredictionSpec {
        transform: TransformSpec { inputs: hidden, outputs, bias: true, activation: config.hidden_act, norm },
        transforms: true,
        vocabulary: config.vocab_size,
        tied: config.tie_word_embeddings || !config.legacy,
        bias: PredictionBias::Own,
    };
    let mut spec = EncoderSpec::new(embeddings, layers, prediction, names(config.legacy));
    spec.pooler = None;
    spec.heads.sequence = Vector::Dense(config.pooler_hidden_act);
    spec.heads.choice = Vector::Dense(config.pooler_hidden_act);
    spec.labels = config.num_labels;
    if !config.position_biased_input {
        spec.names.ignored = &["embeddings.position_ids", "embeddings.position_embeddings.weight"];
    }
    Ok(spec)
}

fn names(legacy: bool) -> Names {
    let body = NameTable::new().names(&[
        ("word", "embeddings.word_embeddings"),
        ("position", "embeddings.position_embeddings"),
        ("segment", "embeddings.token_type_embeddings"),
        ("embedding_norm", "embeddings.LayerNorm"),
        ("projection", "embeddings.embed_proj"),
        ("relative.table", "encoder.rel_embeddings"),
        ("relative.norm", "encoder.LayerNorm"),
        ("branch.conv", "encoder.conv.conv"),
        ("branch.norm", "encoder.conv.LayerNorm"),
        ("layers", "encoder.layer"),
        ("layers.*.attention.q", "encoder.layer.*.attention.self.query_proj"),
        ("layers.*.attention.k", "encoder.layer.*.attention.self.key_proj"),
        ("layers.*.attention.v", "encoder.layer.*.attention.self.value_proj"),
        ("layers.*.attention.o", "encoder.layer.*.attention.output.dense"),
        ("layers.*.attention.position_key", "encoder.layer.*.attention.self.pos_key_proj"),
        ("layers.*.attention.position_query", "encoder.layer.*.attention.self.pos_query_proj"),
        ("layers.*.attention_norm", "encoder.layer.*.attention.output.LayerNorm"),
        ("layers.*.mlp.up", "encoder.layer.*.intermediate.dense"),
        ("layers.*.mlp.down", "encoder.layer.*.output.dense"),
        ("layers.*.mlp_norm", "encoder.layer.*.output.LayerNorm"),
    ]);
    let prediction = match legacy {
        true => [
            ("prediction", "cls.predictions"),
            ("prediction.dense", "cls.predictions.transform.dense"),
            ("prediction.norm", "cls.predictions.transform.LayerNorm"),
        ],
        false => [
            ("prediction", "lm_predictions.lm_head"),
            ("prediction.dense", "lm_predictions.lm_head.dense"),
            ("prediction.norm", "lm_predictions.lm_head.LayerNorm"),
        ],
    };
    Names::new("deberta", body)
        .with_heads(&prediction)
        .with_heads(&[("sequence.dense", "pooler.dense"), ("choice.dense", "pooler.dense")])
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::config::ModelConfig;

    #[test]
    fn terms_are_a_list_or_one_string() {
        let read =
            |terms: Value| DebertaV2Config::from_json(&json!({ "pos_att_type": terms })).map(|it| it.pos_att_type);
        let both = Some(vec![PositionTerm::P2c, PositionTerm::C2p]);
        assert_eq!(read(json!("P2C | c2p")).unwrap(), both);
        assert_eq!(read(json!(["p2c", "c2p"])).unwrap(), both);
        assert_eq!(read(json!(null)).unwrap(), None);
        assert!(read(json!("p2p")).unwrap_err().to_string().contains("pos_att_type"));
    }

    #[test]
    fn what_does_not_fit_is_refused_by_name() {
        for (field, value) in [
            ("conv_kernel_size", json!(2)),
            ("pooler_hidden_size", json!(7)),
            ("attention_head_size", json!(7)),
            ("norm_rel_ebd", json!("layer_norm")),
            ("position_buckets", json!(4000)),
        ] {
            let error = DebertaV2Config::from_json(&json!({ field: value })).unwrap_err();
            assert!(matches!(&error, Error::Config { field: named, .. } if named == field), "{field}: {error}");
        }
    }
}
