use super::Seq2seqConfig;
use crate::models::seq2seq::{PositionSpec, SideSpec, Start};
use crate::nn::{AttentionSpec, LayerSpec, MlpSpec, NormSpec, Placement, StackSpec};

/// What an encoder-decoder of the family is made of; a pure function of its configuration.
///
/// An architecture states what differs from [`bart`], or from the spec of the one that it derives from.
#[derive(Debug, Clone)]
pub struct Seq2seqSpec {
    /// The side that reads.
    pub encoder: SideSpec,
    /// The side that writes.
    pub decoder: SideSpec,
    /// Whether there is a table of tokens, `shared`, for both sides.
    pub shared: bool,
    /// Whether both sides use that table, and the head over the vocabulary the decoder's.
    pub tied: bool,
    /// The head over the vocabulary.
    pub head: &'static str,
    /// Whether checkpoints hold a bias of that head, which is no parameter, for the conditional language model.
    pub logits_bias: bool,
    /// Where the decoder's tokens come from when the caller gives none.
    pub start: Start,
    /// The decoder's first token.
    pub start_token: Option<i64>,
    /// The token that ends a sequence, where sequence classification reads.
    pub end_token: Option<i64>,
    /// Number of labels of sequence classification.
    pub labels: i64,
}

/// BART: layers that normalise their sums, on normalised sums of tokens and learned positions.
pub fn bart(config: &Seq2seqConfig) -> Seq2seqSpec {
    let norm = NormSpec::layer(1e-5);
    let side = |layers: i64, heads, intermediate, writes: bool| {
        let attention = AttentionSpec::even(config.d_model, heads);
        let mlp = MlpSpec::plain(config.d_model, intermediate, config.activation_function);
        let layer = LayerSpec {
            cross: writes.then_some(attention),
            placement: Placement::Post,
            ..LayerSpec::new(attention, mlp, norm)
        };
        SideSpec {
            vocabulary: config.vocab_size,
            width: config.d_model,
            pad_token: config.pad_token_id,
            scale: config.embedding_scale(),
            scales_given: false,
            positions: PositionSpec::Learned { count: config.max_position_embeddings, offset: 2 },
            embedding_norm: Some(norm),
            norms_tokens: false,
            stack: StackSpec { layers: vec![layer; layers as usize], final_norm: None },
        }
    };
    Seq2seqSpec {
        encoder: side(config.encoder_layers, config.encoder_attention_heads, config.encoder_ffn_dim, false),
        decoder: side(config.decoder_layers, config.decoder_attention_heads, config.decoder_ffn_dim, true),
        shared: true,
        tied: config.tie_word_embeddings,
        head: "lm_head",
        logits_bias: true,
        start: config.decoder_start_token_id.map_or(Start::Given, Start::Shifted),
        start_token: config.decoder_start_token_id,
        end_token: config.eos_token_id,
        labels: config.num_labels,
    }
}

impl Seq2seqSpec {
    /// The same with both sides changed by `change`.
    pub fn with_sides(mut self, change: impl Fn(&mut SideSpec)) -> Self {
        change(&mut self.encoder);
        change(&mut self.decoder);
        self
    }

    /// The same with layers that normalise their input, and a last normalisation instead of one of the embeddings.
    pub fn normed_first(self) -> Self {
        self.with_sides(|side| {
            side.stack.layers.iter_mut().for_each(|layer| layer.placement = Placement::Pre);
            side.stack.final_norm = side.embedding_norm.take();
        })
    }

    /// The same with `positions` on both sides.
    pub fn with_positions(self, positions: PositionSpec) -> Self {
        self.with_sides(|side| side.positions = positions)
    }

    /// The same for a decoder whose tokens the caller must give.
    pub fn given(self) -> Self {
        Self { start: Start::Given, ..self }
    }
}
