use tch::Tensor;
use tch_transformers_native::Weight;

use super::{Attend, Linear, Norm, NormSpec, Scores, scaled_attention};
use crate::cache::KeyValues;
use crate::weights::Weights;

/// Multi-head latent attention (DeepSeek-AI, 2024): keys and values of all heads come from one narrow vector per token,
/// and a further part of the keys, which all heads share, carries the position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatentAttentionSpec {
    /// Width of input and output.
    pub hidden: i64,
    /// Number of heads.
    pub heads: i64,
    /// Width of the vector that queries come from; they come from the input where `None`.
    pub q_rank: Option<i64>,
    /// Width of the vector that keys and values come from.
    pub kv_rank: i64,
    /// Width of the part of queries and keys that knows no position.
    pub nope_dim: i64,
    /// Width of the part that is rotated.
    pub rope_dim: i64,
    /// Width of a head's values.
    pub v_dim: i64,
    /// What scores are multiplied by.
    pub scale: f64,
    /// Whether the projections to the narrow vectors and the last one have a bias.
    pub bias: bool,
    /// The normalisation of the narrow vectors.
    pub norm: NormSpec,
}

impl LatentAttentionSpec {
    /// Width of a head's queries and keys.
    pub fn qk_dim(&self) -> i64 {
        self.nope_dim + self.rope_dim
    }
}

/// Latent attention with its parameters.
#[derive(Debug)]
pub struct LatentAttention {
    spec: LatentAttentionSpec,
    /// To what queries come from, to what keys and values come from, and to the rotated part of the keys, side by side.
    down: Linear,
    q_up: Option<(Norm, Linear)>,
    kv_norm: Norm,
    kv_up: Weight,
    o: Linear,
}

impl LatentAttention {
    /// Loads `q`, or `q_down`, `q_norm` and `q_up`; `kv_down`, `kv_norm`, `kv_up`; `o`.
    pub fn load(weights: &Weights, spec: LatentAttentionSpec) -> Self {
        let LatentAttentionSpec { hidden, heads, kv_rank, nope_dim, rope_dim, v_dim, bias, norm, .. } = spec;
        let queries = heads * spec.qk_dim();
        let q = match spec.q_rank {
            Some(rank) => ("q_down", rank, bias),
            None => ("q", queries, false),
        };
        let q_up = |rank| {
            (Norm::load(&weights.at("q_norm"), norm, rank), Linear::load(&weights.at("q_up"), rank, queries, false))
        };
        Self {
            spec,
            down: Linear::fused_some(weights, hidden, &[q, ("kv_down", kv_rank + rope_dim, bias)]),
            q_up: spec.q_rank.map(q_up),
            kv_norm: Norm::load(&weights.at("kv_norm"), norm, kv_rank),
            kv_up: weights.at("kv_up").weight("weight", &[heads * (nope_dim + v_dim), kv_rank]),
            o: Linear::load(&weights.at("o"), heads * v_dim, hidden, bias),
        }
    }

    /// Attends to `x` itself (`[batch, tokens, hidden]`) and to the tokens in `past`, which keeps the narrow vectors and the
    /// rotated part of the keys.
    ///
    /// Returns the output and, if wanted, the attention weights `[batch, heads, queries, keys]`.
    pub fn forward(&self, x: &Tensor, attend: Attend, past: Option<&mut KeyValues>) -> (Tensor, Option<Tensor>) {
        let LatentAttentionSpec { heads, q_rank, kv_rank, nope_dim, rope_dim, v_dim, .. } = self.spec;
        let (batch, tokens) = (x.size()[0], x.size()[1]);
        let rotated = |x: Tensor| attend.rotation.map_or_else(|| x.shallow_clone(), |rotation| rotation.apply(&x));
        let q_width = q_rank.unwrap_or(heads * self.spec.qk_dim());
        let down = self.down.forward(x);
        let (q, latent) = (down.narrow(2, 0, q_width), down.narrow(2, q_width, kv_rank));
        let k_rotated = rotated(down.narrow(2, q_width + kv_rank, rope_dim).unsqueeze(1));
        let q = match &self.q_up {
            Some((norm, up)) => up.forward(&norm.forward(&q)),
            None => q,
        };
        let q = q.view([batch, tokens, heads, -1]).transpose(1, 2);
        let (q_plain, q_rotated) = (q.narrow(3, 0, nope_dim), rotated(q.narrow(3, nope_dim, rope_dim)));
        // Side by side they are the keys of a single query, and their first part its values.
        let keys = Tensor::cat(&[self.kv_norm.forward(&latent).unsqueeze(1), k_rotated], 3);
        let (mixed, weights) = match past {
            Some(past) => {
                let (keys, _) = past.append(&keys, &keys.narrow(3, 0, 0));
                match tokens {
                    1 => self.attend_narrow(&q_plain, &q_rotated, &keys, attend),
                    _ => self.attend_wide(&q_plain, &q_rotated, &keys, attend),
                }
            }
            None => self.attend_wide(&q_plain, &q_rotated, &keys, attend),
        };
        let mixed = mixed.transpose(1, 2).reshape([batch, tokens, heads * v_dim]);
        (self.o.forward(&mixed), weights)
    }

    /// Attention with the keys and values of each head: `[batch, heads, queries, v_dim]`.
    fn attend_wide(
        &self,
        q_plain: &Tensor,
        q_rotated: &Tensor,
        keys: &Tensor,
        attend: Attend,
    ) -> (Tensor, Option<Tensor>) {
        let LatentAttentionSpec { heads, kv_rank, nope_dim, rope_dim, v_dim, scale, .. } = self.spec;
        let (latent, k_rotated) = (keys.narrow(3, 0, kv_rank), keys.narrow(3, kv_rank, rope_dim));
        let (batch, keys) = (keys.size()[0], keys.size()[2]);
        let kv = latent
            .squeeze_dim(1)
            .linear(&self.kv_up, None::<Tensor>)
            .view([batch, keys, heads, nope_dim + v_dim])
            .transpose(1, 2);
        let k_rotated = k_rotated.expand([batch, heads, keys, rope_dim], false);
        let q = Tensor::cat(&[q_plain, q_rotated], 3);
        let k = Tensor::cat(&[kv.narrow(3, 0, nope_dim), k_rotated], 3);
        scaled_attention(&q, &k, &kv.narrow(3, nope_dim, v_dim), attend, Scores::scaled(scale))
    }

    /// The same without making keys and values of each head, which would cost more than all else where there is one query:
    /// `q · (W k) = (Wᵀ q) · k`, so the query goes to the narrow vectors, which all heads share, and the sum of those
    /// becomes values.
    fn attend_narrow(
        &self,
        q_plain: &Tensor,
        q_rotated: &Tensor,
        keys: &Tensor,
        attend: Attend,
    ) -> (Tensor, Option<Tensor>) {
        let LatentAttentionSpec { heads, kv_rank, nope_dim, v_dim, scale, .. } = self.spec;
        let up = self.kv_up.view([heads, nope_dim + v_dim, kv_rank]);
        let q = Tensor::cat(&[&q_plain.matmul(&up.narrow(1, 0, nope_dim)), q_rotated], 3);
        let latent = keys.narrow(3, 0, kv_rank);
        let (mixed, weights) = scaled_attention(&q, keys, &latent, attend, Scores::scaled(scale));
        (mixed.matmul(&up.narrow(1, nope_dim, v_dim).transpose(1, 2)), weights)
    }
}
