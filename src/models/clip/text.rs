use tch::{Kind, Tensor};

use super::ClipTextConfig;
use crate::inputs::{Argument, Dim, Values};
use crate::nn::heads::{Body, Features};
use crate::nn::{Context, Embedding, Mask, NormSpec, Stack, StackSpec, token_at};
use crate::weights::{NameTable, Weights};
use crate::{Cache, Inputs, Result};

/// End token of configurations that name it wrongly; see [`ClipTextBody::ends`].
const LEGACY_END: i64 = 2;

/// Which layers there are.
fn stack(config: &ClipTextConfig) -> StackSpec {
    let ClipTextConfig { hidden_size, num_attention_heads, intermediate_size, .. } = *config;
    let layer =
        super::layer(hidden_size, num_attention_heads, intermediate_size, config.hidden_act, config.layer_norm_eps);
    StackSpec {
        layers: vec![layer; config.num_hidden_layers as usize],
        final_norm: Some(NormSpec::layer(config.layer_norm_eps)),
    }
}

fn names() -> NameTable {
    super::layer_names().names(&[
        ("word", "embeddings.token_embedding"),
        ("position", "embeddings.position_embedding"),
        ("norm", "final_layer_norm"),
    ])
}

/// A causal transformer over the tokens of a text, which is read off where it ends.
#[derive(Debug)]
pub struct ClipTextBody {
    config: ClipTextConfig,
    word: Embedding,
    position: Embedding,
    stack: Stack,
}

impl ClipTextBody {
    /// Loads the encoder at this place.
    pub fn load(config: &ClipTextConfig, weights: &Weights) -> Self {
        let weights = weights.named(names());
        weights.ignore("embeddings.position_ids");
        Self {
            word: Embedding::load(&weights.at("word"), config.vocab_size, config.hidden_size),
            position: Embedding::load(&weights.at("position"), config.max_position_embeddings, config.hidden_size),
            stack: Stack::load(&weights, &stack(config)),
            config: config.clone(),
        }
    }

    /// Where each text ends, `[batch]`: at its first end token.
    fn ends(&self, ids: &Tensor) -> Tensor {
        match self.config.eos_token_id {
            // In the first vocabulary the true end token is the largest.
            LEGACY_END => ids.argmax(-1, false),
            end => ids.eq(end).to_kind(Kind::Int).argmax(-1, false),
        }
    }
}

impl Body for ClipTextBody {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{AtMost, Broadcast, Named};
        let ClipTextConfig { vocab_size, max_position_embeddings, .. } = self.config;
        let tokens = AtMost("tokens", max_position_embeddings);
        vec![
            Argument::required("input_ids", Values::Ids(vocab_size), &[Named("batch"), tokens]),
            Argument::optional("attention_mask", Values::Mask, &[Named("batch"), tokens]),
            Argument::optional("position_ids", Values::Ids(max_position_embeddings), &[Broadcast("batch"), tokens]),
        ]
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let ids = inputs.need("input_ids")?;
        let tokens = ids.size()[1];
        let positions = match inputs.get("position_ids") {
            Some(positions) => self.position.forward(positions),
            None => self.position.rows(0, tokens),
        };
        let x = self.word.forward(ids) + positions;
        let mask = Mask::causal(inputs.get("attention_mask"), tokens, 0, None, &x);
        let passed = self.stack.forward(x, &Context::new(mask, inputs), None);
        let hidden = passed.last.shallow_clone();
        let pooled = Some(token_at(&hidden, &self.ends(ids)));
        Ok(Features { hidden, pooled, rest: passed.recorded("") })
    }
}
