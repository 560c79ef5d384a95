use tch::{Kind, Tensor};

use super::{Linear, Mask, Rotation};
use crate::cache::KeyValues;
use crate::weights::Weights;

/// Which projections of an attention have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Biases {
    /// Queries.
    pub q: bool,
    /// Keys.
    pub k: bool,
    /// Values.
    pub v: bool,
    /// Output.
    pub o: bool,
}

impl Biases {
    /// All four.
    pub const ALL: Self = Self { q: true, k: true, v: true, o: true };
    /// None.
    pub const NONE: Self = Self { q: false, k: false, v: false, o: false };
}

/// Multi-head attention, with fewer heads of keys and values than of queries where wanted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionSpec {
    /// Width of input and output.
    pub hidden: i64,
    /// Width of what keys and values are made from; `hidden` in self-attention.
    pub source: i64,
    /// Heads of queries.
    pub heads: i64,
    /// Heads of keys and values; divides `heads`.
    pub kv_heads: i64,
    /// Width of a head.
    pub head_dim: i64,
    /// What scores are multiplied by.
    pub scale: f64,
    /// Which projections have a bias.
    pub bias: Biases,
}

impl AttentionSpec {
    /// `heads` heads that share `hidden` evenly, all biases, scores scaled by the root of their width.
    pub fn even(hidden: i64, heads: i64) -> Self {
        let head_dim = hidden / heads;
        let scale = (head_dim as f64).powf(-0.5);
        Self { hidden, source: hidden, heads, kv_heads: heads, head_dim, scale, bias: Biases::ALL }
    }
}

/// How one call attends.
#[derive(Debug, Clone, Copy)]
pub struct Attend<'a> {
    /// Which keys each query sees.
    pub mask: &'a Mask,
    /// Added to the scores; broadcasts to `[batch, heads, queries, keys]`.
    pub bias: Option<&'a Tensor>,
    /// Rotates queries and keys by their positions.
    pub rotation: Option<&'a Rotation>,
    /// Whether the attention weights are wanted.
    pub weights: bool,
}

/// Attention with its parameters.
#[derive(Debug)]
pub struct Attention {
    spec: AttentionSpec,
    projection: Projection,
    o: Linear,
}

#[derive(Debug)]
enum Projection {
    /// Queries, keys and values side by side, of the same input.
    Own(Linear),
    /// Queries of the input, keys and values side by side of another.
    Other { q: Linear, kv: Linear },
}

impl Attention {
    /// Loads self-attention: `q`, `k`, `v`, `o`.
    pub fn load(weights: &Weights, spec: AttentionSpec) -> Self {
        let (q, kv) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let Biases { q: q_bias, k: k_bias, v: v_bias, .. } = spec.bias;
        let parts = [("q", q, q_bias), ("k", kv, k_bias), ("v", kv, v_bias)];
        let projection = Projection::Own(Linear::fused_some(weights, spec.hidden, &parts));
        Self { spec, projection, o: Self::output(weights, &spec) }
    }

    /// Loads attention of one sequence to another: `q`, `k`, `v`, `o`.
    pub fn load_cross(weights: &Weights, spec: AttentionSpec) -> Self {
        let (q, kv) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let q = Linear::load(&weights.at("q"), spec.hidden, q, spec.bias.q);
        let kv = Linear::fused_some(weights, spec.source, &[("k", kv, spec.bias.k), ("v", kv, spec.bias.v)]);
        Self { spec, projection: Projection::Other { q, kv }, o: Self::output(weights, &spec) }
    }

    fn output(weights: &Weights, spec: &AttentionSpec) -> Linear {
        Linear::load(&weights.at("o"), spec.heads * spec.head_dim, spec.hidden, spec.bias.o)
    }

    /// Attends to `x` itself (`[batch, tokens, hidden]`) and to the tokens in `past`.
    ///
    /// Returns the output and, if wanted, the attention weights `[batch, heads, queries, keys]`.
    pub fn forward(&self, x: &Tensor, attend: Attend, past: Option<&mut KeyValues>) -> (Tensor, Option<Tensor>) {
        let Projection::Own(qkv) = &self.projection else { return self.forward_cross(x, x, attend, None) };
        let AttentionSpec { heads, kv_heads, .. } = self.spec;
        let qkv = self.split_heads(&qkv.forward(x));
        let (q, k) = match attend.rotation {
            Some(rotation) => {
                let rotated = rotation.apply(&qkv.narrow(1, 0, heads + kv_heads));
                (rotated.narrow(1, 0, heads), rotated.narrow(1, heads, kv_heads))
            }
            None => (qkv.narrow(1, 0, heads), qkv.narrow(1, heads, kv_heads)),
        };
        let v = qkv.narrow(1, heads + kv_heads, kv_heads);
        match past {
            Some(past) => {
                let (k, v) = past.append(&k, &v);
                self.mix(&q, &k, &v, attend)
            }
            None => self.mix(&q, &k, &v, attend),
        }
    }

    /// Attends from `x` (`[batch, tokens, hidden]`) to `memory` (`[batch, keys, source]`), whose keys and values are
    /// taken from `slot` where it has them, and left there.
    pub fn forward_cross(
        &self,
        x: &Tensor,
        memory: &Tensor,
        attend: Attend,
        slot: Option<&mut Option<(Tensor, Tensor)>>,
    ) -> (Tensor, Option<Tensor>) {
        let Projection::Other { q, kv } = &self.projection else { return self.forward(x, attend, None) };
        let q = self.split_heads(&q.forward(x));
        let project = || {
            let kv = self.split_heads(&kv.forward(memory));
            (kv.narrow(1, 0, self.spec.kv_heads), kv.narrow(1, self.spec.kv_heads, self.spec.kv_heads))
        };
        match slot {
            Some(slot) => {
                let (k, v) = slot.get_or_insert_with(project);
                self.mix(&q, k, v, attend)
            }
            None => {
                let (k, v) = project();
                self.mix(&q, &k, &v, attend)
            }
        }
    }

    /// `[batch, tokens, heads * head_dim]` to `[batch, heads, tokens, head_dim]`.
    fn split_heads(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        x.view([size[0], size[1], -1, self.spec.head_dim]).transpose(1, 2)
    }

    fn mix(&self, q: &Tensor, k: &Tensor, v: &Tensor, attend: Attend) -> (Tensor, Option<Tensor>) {
        let (mixed, weights) = if attend.weights {
            let (mixed, weights) = explicit(q, k, v, attend, self.spec.scale);
            (mixed, Some(weights))
        } else {
            (fused(q, k, v, attend, self.spec.scale), None)
        };
        let size = mixed.size();
        let mixed = mixed.transpose(1, 2).reshape([size[0], size[2], size[1] * size[3]]);
        (self.o.forward(&mixed), weights)
    }
}

/// Softmax attention in one kernel; `[batch, heads, queries, head_dim]`.
fn fused(q: &Tensor, k: &Tensor, v: &Tensor, Attend { mask, bias, .. }: Attend, scale: f64) -> Tensor {
    let (size, kv_heads) = (q.size(), k.size()[1]);
    let (heads, queries, keys) = (size[1], size[2], k.size()[2]);
    let attention = |q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>, causal| {
        Tensor::scaled_dot_product_attention(q, k, v, mask, 0.0, causal, scale, false)
    };
    if kv_heads != heads && queries == 1 && bias.is_none() {
        // One token: the heads that share keys stand as its queries.
        let grouped = q.reshape([size[0], kv_heads, heads / kv_heads, size[3]]);
        let mixed = attention(&grouped, k, v, mask.allowed(1, keys, q).as_ref(), false);
        return mixed.reshape([size[0], heads, 1, v.size()[3]]);
    }
    let (k, v) = (repeat_heads(k, heads), repeat_heads(v, heads));
    match (bias, mask) {
        (Some(bias), mask) => attention(q, &k, &v, Some(&masked_bias(bias, mask, queries, keys)), false),
        (None, Mask::None) => attention(q, &k, &v, None, false),
        (None, Mask::Causal) => attention(q, &k, &v, None, true),
        (None, Mask::Allowed(allowed)) => attention(q, &k, &v, Some(allowed), false),
    }
}

/// Softmax attention step by step, with the weights.
fn explicit(q: &Tensor, k: &Tensor, v: &Tensor, Attend { mask, bias, .. }: Attend, scale: f64) -> (Tensor, Tensor) {
    let heads = q.size()[1];
    let (k, v) = (repeat_heads(k, heads), repeat_heads(v, heads));
    let mut scores = q.matmul(&k.transpose(2, 3)) * scale;
    if let Some(bias) = bias {
        scores += bias;
    }
    if let Some(allowed) = mask.allowed(q.size()[2], k.size()[2], q) {
        scores += masked_bias(&scores.zeros_like(), &Mask::Allowed(allowed), q.size()[2], k.size()[2]);
    }
    let weights = scores.softmax(-1, Kind::Float).to_kind(q.kind());
    (weights.matmul(&v), weights)
}

/// `bias` where `mask` allows, the lowest finite number elsewhere.
///
/// Layers that share both are given it once, with [`Mask::None`].
pub fn masked_bias(bias: &Tensor, mask: &Mask, queries: i64, keys: i64) -> Tensor {
    match mask.allowed(queries, keys, bias) {
        Some(allowed) => {
            bias.where_self(&allowed, &Tensor::full([], lowest(bias.kind()), (bias.kind(), bias.device())))
        }
        None => bias.contiguous(),
    }
}

fn lowest(kind: Kind) -> f64 {
    match kind {
        Kind::Half => -65504.0,
        Kind::BFloat16 => f64::from(half::bf16::MIN),
        Kind::Double => f64::MIN,
        _ => f64::from(f32::MIN),
    }
}

/// Repeats each head of keys or values so that there are `heads`.
fn repeat_heads(x: &Tensor, heads: i64) -> Tensor {
    let size = x.size();
    if size[1] == heads {
        return x.shallow_clone();
    }
    let repeats = heads / size[1];
    x.unsqueeze(2)
        .expand([size[0], size[1], repeats, size[2], size[3]], false)
        .reshape([size[0], heads, size[2], size[3]])
}
