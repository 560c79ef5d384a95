use super::{DecoderConfig, DecoderLayer, DecoderSpec, LmHead, Names};
use crate::nn::rope::RopeSpec;
use crate::nn::{AttentionSpec, FeedForwardSpec, LayerSpec, MlpSpec, NormSpec};
use crate::weights::NameTable;

/// Llama's shape, from which most decoders start: RMS norms before grouped attention with rotary positions and before a
/// gated feed-forward, all layers alike; without rotary positions where `rope` is `None`.
pub fn dense(config: &DecoderConfig, rope: impl Into<Option<RopeSpec>>) -> DecoderSpec {
    dense_with(config, rope.into(), NormSpec::rms(config.rms_norm_eps))
}

/// As [`dense`], with another norm.
pub fn dense_with(config: &DecoderConfig, rope: Option<RopeSpec>, norm: NormSpec) -> DecoderSpec {
    let (hidden, heads) = (config.hidden_size, config.num_attention_heads);
    let attention = AttentionSpec::grouped(hidden, heads, config.kv_heads(), config.head_dim());
    let mlp = MlpSpec::gated(hidden, config.intermediate_size, config.hidden_act);
    let layer = DecoderLayer { rope, ..DecoderLayer::new(LayerSpec::new(attention, mlp, norm)) };
    let layers = vec![layer; config.num_hidden_layers as usize];
    DecoderSpec {
        lm_head: LmHead { tied: config.tie_word_embeddings, bias: false },
        labels: config.num_labels,
        pad_token: config.pad_token_id,
        frozen_padding: true,
        ..DecoderSpec::new(config.vocab_size, layers, norm, Names::new(names()))
    }
}

/// The names of Llama's parameters, which its heirs share.
pub fn names() -> NameTable {
    NameTable::new().names(&[
        ("token", "embed_tokens"),
        ("layers.*.attention", "layers.*.self_attn"),
        ("layers.*.attention.q", "layers.*.self_attn.q_proj"),
        ("layers.*.attention.k", "layers.*.self_attn.k_proj"),
        ("layers.*.attention.v", "layers.*.self_attn.v_proj"),
        ("layers.*.attention.o", "layers.*.self_attn.o_proj"),
        ("layers.*.attention_norm", "layers.*.input_layernorm"),
        ("layers.*.mlp_norm", "layers.*.post_attention_layernorm"),
        ("layers.*.mlp.gate", "layers.*.mlp.gate_proj"),
        ("layers.*.mlp.up", "layers.*.mlp.up_proj"),
        ("layers.*.mlp.down", "layers.*.mlp.down_proj"),
    ])
}

impl DecoderSpec {
    /// The same with queries, keys and values one after the other in the rows of `stored`, in layers that are all as
    /// wide as the first.
    pub fn with_fused_attention(mut self, stored: &'static str) -> Self {
        let first = self.layers.first_mut().and_then(|layer| layer.layer.attention());
        if let Some(AttentionSpec { heads, kv_heads, head_dim, .. }) = first.copied() {
            let (q, kv) = (heads * head_dim, kv_heads * head_dim);
            let parts = [("layers.*.attention.q", q), ("layers.*.attention.k", kv), ("layers.*.attention.v", kv)];
            self.names.table = self.names.table.fused(stored, &parts, false);
        }
        self
    }

    /// The same with `gate` and `up` of the feed-forward one after the other in the rows of `stored`, in layers that are
    /// all as wide as the first.
    pub fn with_fused_gates(mut self, stored: &'static str) -> Self {
        if let Some(FeedForwardSpec::Mlp(MlpSpec { intermediate, .. })) =
            self.layers.first().map(|l| &l.layer.feed_forward)
        {
            let parts = [("layers.*.mlp.gate", *intermediate), ("layers.*.mlp.up", *intermediate)];
            self.names.table = self.names.table.fused(stored, &parts, false);
        }
        self
    }
}
