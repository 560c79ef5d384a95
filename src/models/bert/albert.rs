use super::{BertConfig, EncoderSpec, Names, Pretraining, Projection, Sharing, encoder, original};
use crate::Result;
use crate::config::positive;
use crate::nn::Activation;
use crate::weights::NameTable;

crate::config! {
    /// Configuration of [`Albert`].
    pub struct AlbertConfig("albert"): BertConfig {
        /// Width of the embeddings.
        embedding_size: i64 = 128,
        /// Groups of layers; each stands for an equal share of the depth.
        num_hidden_groups: i64 = 1,
        /// Layers of a group.
        inner_group_num: i64 = 1,
    }
    defaults: {
        vocab_size: 30000, hidden_size: 4096, num_attention_heads: 64, intermediate_size: 16384,
        hidden_act: Activation::GeluNew
    }
    without: ["is_decoder", "add_cross_attention", "classifier_dropout"]
    ignored: ["classifier_dropout_prob"]
    validate: |config: &AlbertConfig| positive("albert", &[
        ("embedding_size", config.embedding_size),
        ("num_hidden_groups", config.num_hidden_groups),
        ("inner_group_num", config.inner_group_num),
    ]);
}

encoder! {
    /// ALBERT (Lan et al., 2019); `transformers.models.albert`.
    pub struct Albert(AlbertConfig) = spec;
    [
        FeatureExtraction, FillMask, TextClassification, TokenClassification, QuestionAnswering, MultipleChoice,
        Pretraining,
    ]
}

/// ALBERT's encoder: BERT's with narrower embeddings and layers that stand for several.
pub fn spec(config: &AlbertConfig) -> Result<EncoderSpec> {
    let mut spec = original::spec(config)?;
    spec.embeddings.width = config.embedding_size;
    spec.embeddings.projection = Projection::AfterNorm;
    let (groups, inner) = (config.num_hidden_groups as usize, config.inner_group_num as usize);
    let depth = spec.layers.layers.len();
    let per_group = depth as f64 / groups as f64;
    let group = |layer| (layer as f64 / per_group) as usize;
    spec.layers.sharing = Some(Sharing { inner, groups: (0..depth).map(group).collect() });
    let layer = spec.layers.layers.first().cloned();
    spec.layers.layers = layer.into_iter().cycle().take(groups * inner).collect();
    spec.heads.prediction.transform.outputs = config.embedding_size;
    spec.heads.pretraining = Pretraining::Sentences { output: "sop_logits", labels: config.num_labels };
    spec.names = Names::new("albert", names()).with_heads(&[
        ("prediction", "predictions"),
        ("prediction.norm", "predictions.LayerNorm"),
        ("sentence", "sop_classifier.classifier"),
    ]);
    Ok(spec)
}

fn names() -> NameTable {
    original::names().names(&[
        ("projection", "encoder.embedding_hidden_mapping_in"),
        ("layers.*.layers", "encoder.albert_layer_groups.*.albert_layers"),
        ("layers.*.layers.*.attention.q", "encoder.albert_layer_groups.*.albert_layers.*.attention.query"),
        ("layers.*.layers.*.attention.k", "encoder.albert_layer_groups.*.albert_layers.*.attention.key"),
        ("layers.*.layers.*.attention.v", "encoder.albert_layer_groups.*.albert_layers.*.attention.value"),
        ("layers.*.layers.*.attention.o", "encoder.albert_layer_groups.*.albert_layers.*.attention.dense"),
        ("layers.*.layers.*.attention_norm", "encoder.albert_layer_groups.*.albert_layers.*.attention.LayerNorm"),
        ("layers.*.layers.*.mlp.up", "encoder.albert_layer_groups.*.albert_layers.*.ffn"),
        ("layers.*.layers.*.mlp.down", "encoder.albert_layer_groups.*.albert_layers.*.ffn_output"),
        ("layers.*.layers.*.mlp_norm", "encoder.albert_layer_groups.*.albert_layers.*.full_layer_layer_norm"),
        ("pooler.dense", "pooler"),
    ])
}
