use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use super::{Linear, Mask, Norm, NormSpec, RelativePositions, Rotation};
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

    /// All four where `wanted`.
    pub fn all(wanted: bool) -> Self {
        if wanted { Self::ALL } else { Self::NONE }
    }
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
    /// How queries and keys are normalised.
    pub qk_norm: Option<QkNorm>,
    /// Bound that scores approach: `cap * tanh(scores / cap)`.
    pub softcap: Option<f64>,
    /// Bound of the elements of queries, keys and values on either side of 0.
    pub clip: Option<f64>,
    /// Whether a token that sees none attends to all alike, as where the reference masks by a large negative score
    /// (`eager`); to none where not.
    pub eager: bool,
    /// Whether `eager` masks put that score in place of the others, which then have no gradient, instead of adding it.
    pub filled: bool,
    /// Whether each head has a learned score that takes part in the softmax and stands for no token.
    pub sinks: bool,
    /// Whether the output is gated, `sigmoid(gate(x)) * output`, and how finely.
    pub gate: Option<Gate>,
}

/// How queries and keys are normalised before their scores are taken.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QkNorm {
    /// The normalisation.
    pub norm: NormSpec,
    /// What it sees.
    pub scope: QkScope,
    /// Whether it comes after the rotation.
    pub rotated: bool,
}

/// What a normalisation of queries and keys sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkScope {
    /// Each head, with parameters that all heads share.
    Heads,
    /// Each head, with parameters of its own.
    EachHead,
    /// The same, where a checkpoint lists the heads one by one.
    EachHeadListed,
    /// All heads together.
    Projection,
}

impl QkNorm {
    /// `norm` of what `scope` says, before the rotation.
    pub fn new(norm: NormSpec, scope: QkScope) -> Self {
        Self { norm, scope, rotated: false }
    }

    /// `norm` of each head before the rotation, its parameters shared.
    pub fn heads(norm: NormSpec) -> Self {
        Self::new(norm, QkScope::Heads)
    }

    /// Whether only the product of the weights of queries and keys counts, in a layer that `rotates` them or not.
    pub fn is_product(self, rotates: bool) -> bool {
        self.scope == QkScope::Heads && !self.norm.bias && (self.rotated || !rotates)
    }

    /// Loads the normalisation of `heads` heads of `head_dim`.
    fn load(self, weights: &Weights, heads: i64, head_dim: i64) -> Norm {
        match self.scope {
            QkScope::Heads => Norm::load(weights, self.norm, head_dim),
            QkScope::EachHead => Norm::load_heads(weights, self.norm, heads, head_dim),
            QkScope::EachHeadListed => Norm::load_list(weights, self.norm, heads, head_dim),
            QkScope::Projection => Norm::load(weights, self.norm, heads * head_dim),
        }
    }
}

/// How finely the output of an attention is gated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// Each element on its own.
    Elements,
    /// Each head as a whole.
    Heads,
}

impl AttentionSpec {
    /// `heads` heads that share `hidden` evenly, all biases, scores scaled by the root of their width.
    pub fn even(hidden: i64, heads: i64) -> Self {
        Self { bias: Biases::ALL, ..Self::grouped(hidden, heads, heads, hidden / heads) }
    }

    /// `heads` heads of queries over `kv_heads` of keys and values, no biases, scores scaled by the root of their width.
    pub fn grouped(hidden: i64, heads: i64, kv_heads: i64, head_dim: i64) -> Self {
        Self {
            hidden,
            source: hidden,
            heads,
            kv_heads,
            head_dim,
            scale: (head_dim as f64).powf(-0.5),
            bias: Biases::NONE,
            qk_norm: None,
            softcap: None,
            clip: None,
            eager: false,
            filled: false,
            sinks: false,
            gate: None,
        }
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
    /// Added to what queries (and in self-attention keys) are made of, but not values: `[batch or 1, tokens, hidden]`.
    pub positions: Option<&'a Tensor>,
    /// Added to what the keys of another sequence are made of.
    pub memory_positions: Option<&'a Tensor>,
    /// Keys of the distances between tokens, `head_dim` wide, whose products with the queries are added to the scores of
    /// self-attention in place of `bias` (Shaw et al., 2018).
    pub relative: Option<&'a RelativePositions>,
    /// Whether the attention weights are wanted.
    pub weights: bool,
}

impl Attend<'_> {
    /// To all keys alike.
    pub fn all() -> Self {
        Self {
            mask: &Mask::None,
            bias: None,
            rotation: None,
            positions: None,
            memory_positions: None,
            relative: None,
            weights: false,
        }
    }
}

/// Makes a bias of scores, `[batch, heads, queries, keys]`, of queries and keys, `[batch, heads, tokens, head_dim]` each.
pub type ContentBias<'a> = &'a dyn Fn(&Tensor, &Tensor) -> Tensor;

/// Attention with its parameters.
#[derive(Debug)]
pub struct Attention {
    spec: AttentionSpec,
    projection: Projection,
    /// Of queries and of keys.
    norms: Option<(Norm, Norm)>,
    /// One per head.
    sinks: Option<Weight>,
    o: Linear,
}

#[derive(Debug)]
enum Projection {
    /// Queries, keys, values and the gate side by side, of the same input.
    Own(Linear),
    /// Queries of the input, keys and values side by side of another.
    Other { q: Linear, kv: Linear },
}

impl Attention {
    /// Loads self-attention: `q`, `k`, `v`, `o` and where there are such `gate`, `q_norm`, `k_norm`, `sinks`.
    pub fn load(weights: &Weights, spec: AttentionSpec) -> Self {
        let (q, kv) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let Biases { q: q_bias, k: k_bias, v: v_bias, .. } = spec.bias;
        let mut parts = vec![("q", q, q_bias), ("k", kv, k_bias), ("v", kv, v_bias)];
        match spec.gate {
            Some(Gate::Elements) => parts.push(("gate", q, q_bias)),
            Some(Gate::Heads) => parts.push(("gate", spec.heads, q_bias)),
            None => {}
        }
        Self::around(weights, spec, Projection::Own(Linear::fused_some(weights, spec.hidden, &parts)))
    }

    /// Loads attention of one sequence to another: `q`, `k`, `v`, `o`.
    pub fn load_cross(weights: &Weights, spec: AttentionSpec) -> Self {
        let (q, kv) = (spec.heads * spec.head_dim, spec.kv_heads * spec.head_dim);
        let q = Linear::load(&weights.at("q"), spec.hidden, q, spec.bias.q);
        let kv = Linear::fused_some(weights, spec.source, &[("k", kv, spec.bias.k), ("v", kv, spec.bias.v)]);
        Self::around(weights, AttentionSpec { gate: None, ..spec }, Projection::Other { q, kv })
    }

    fn around(weights: &Weights, spec: AttentionSpec, projection: Projection) -> Self {
        let norms = spec.qk_norm.map(|norm| {
            let load = |name: &str, heads| norm.load(&weights.at(name), heads, spec.head_dim);
            (load("q_norm", spec.heads), load("k_norm", spec.kv_heads))
        });
        let o = Linear::load(&weights.at("o"), spec.heads * spec.head_dim, spec.hidden, spec.bias.o);
        Self { spec, projection, norms, sinks: weights.weight_if(spec.sinks, "sinks", &[spec.heads]), o }
    }

    /// Attends to `x` itself (`[batch, tokens, hidden]`) and to the tokens in `past`.
    ///
    /// Returns the output and, if wanted, the attention weights `[batch, heads, queries, keys]`.
    pub fn forward(&self, x: &Tensor, attend: Attend, past: Option<&mut KeyValues>) -> (Tensor, Option<Tensor>) {
        self.forward_scored(x, attend, past, None)
    }

    /// As [`Attention::forward`], with the bias that `content` makes in place of the one of `attend`.
    pub fn forward_scored(
        &self,
        x: &Tensor,
        attend: Attend,
        past: Option<&mut KeyValues>,
        content: Option<ContentBias>,
    ) -> (Tensor, Option<Tensor>) {
        let Projection::Own(projection) = &self.projection else { return self.forward_cross(x, x, attend, None) };
        let AttentionSpec { heads, kv_heads, head_dim, .. } = self.spec;
        let (q_width, width) = (heads * head_dim, (heads + 2 * kv_heads) * head_dim);
        let projected = match attend.positions {
            Some(positions) => {
                let keys = q_width + kv_heads * head_dim;
                let qk = projection.forward_some(&(x + positions), 0, keys);
                Tensor::cat(&[qk, projection.forward_some(x, keys, projection.outputs() - keys)], 2)
            }
            None => projection.forward(x),
        };
        let (qkv, gate) = match self.spec.gate {
            Some(_) => (projected.narrow(2, 0, width), Some(projected.slice(2, width, None, 1).sigmoid())),
            None => (projected, None),
        };
        let qkv = self.clipped(qkv);
        let v = self.split_heads(&qkv.narrow(2, q_width + kv_heads * head_dim, kv_heads * head_dim));
        let (q, k) = match (&self.norms, self.spec.qk_norm) {
            (Some((q_norm, k_norm)), Some(QkNorm { scope, rotated, .. })) => {
                let q = qkv.narrow(2, 0, q_width);
                let k = qkv.narrow(2, q_width, kv_heads * head_dim);
                let (q, k) = match scope {
                    QkScope::Projection => {
                        (self.split_heads(&q_norm.forward(&q)), self.split_heads(&k_norm.forward(&k)))
                    }
                    _ if rotated => (self.split_heads(&q), self.split_heads(&k)),
                    _ => (q_norm.forward(&self.split_heads(&q)), k_norm.forward(&self.split_heads(&k))),
                };
                let (q, k) = rotate(&q, &k, attend.rotation);
                match rotated && scope != QkScope::Projection {
                    true => (q_norm.forward(&q), k_norm.forward(&k)),
                    false => (q, k),
                }
            }
            _ => {
                let qk = self.split_heads(&qkv.narrow(2, 0, (heads + kv_heads) * head_dim));
                let qk = attend.rotation.map_or_else(|| qk.shallow_clone(), |rotation| rotation.apply(&qk));
                (qk.narrow(1, 0, heads), qk.narrow(1, heads, kv_heads))
            }
        };
        let (k, v) = match past {
            Some(past) => past.append(&k, &v),
            None => (k, v),
        };
        let bias = match (content, attend.relative) {
            (Some(content), _) => Some(content(&q, &k)),
            (None, Some(relative)) => Some(relative.scores(&q) * self.spec.scale),
            (None, None) => None,
        };
        self.mix(&q, &k, &v, Attend { bias: bias.as_ref().or(attend.bias), ..attend }, gate)
    }

    /// The queries and keys that the layer would make of `x` (`[batch, tokens, hidden]`), neither normalised nor rotated:
    /// `[batch, heads, tokens, head_dim]` each; none in cross attention.
    pub fn queries_and_keys(&self, x: &Tensor) -> Option<(Tensor, Tensor)> {
        let Projection::Own(projection) = &self.projection else { return None };
        let AttentionSpec { heads, kv_heads, head_dim, .. } = self.spec;
        let projected = projection.forward(x);
        let part = |start, heads| self.split_heads(&projected.narrow(2, start, heads * head_dim));
        Some((part(0, heads), part(heads * head_dim, kv_heads)))
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
        let normed = |heads: Tensor, norm: fn(&(Norm, Norm)) -> &Norm| match &self.norms {
            Some(norms) => norm(norms).forward(&heads),
            None => heads,
        };
        let q = match attend.positions {
            Some(positions) => q.forward(&(x + positions)),
            None => q.forward(x),
        };
        let q = normed(self.split_heads(&q), |(q, _)| q);
        let project = || {
            let kv = match attend.memory_positions {
                Some(positions) => {
                    let width = self.spec.kv_heads * self.spec.head_dim;
                    let k = kv.forward_some(&(memory + positions), 0, width);
                    Tensor::cat(&[k, kv.forward_some(memory, width, width)], 2)
                }
                None => kv.forward(memory),
            };
            let kv = self.split_heads(&kv);
            let k = normed(kv.narrow(1, 0, self.spec.kv_heads), |(_, k)| k);
            (k, kv.narrow(1, self.spec.kv_heads, self.spec.kv_heads))
        };
        match slot {
            Some(slot) => {
                let (k, v) = slot.get_or_insert_with(project);
                self.mix(&q, k, v, attend, None)
            }
            None => {
                let (k, v) = project();
                self.mix(&q, &k, &v, attend, None)
            }
        }
    }

    /// `[batch, tokens, heads * head_dim]` to `[batch, heads, tokens, head_dim]`.
    fn split_heads(&self, x: &Tensor) -> Tensor {
        let size = x.size();
        x.view([size[0], size[1], -1, self.spec.head_dim]).transpose(1, 2)
    }

    fn clipped(&self, qkv: Tensor) -> Tensor {
        match self.spec.clip {
            Some(bound) => qkv.clamp(-bound, bound),
            None => qkv,
        }
    }

    fn mix(
        &self,
        q: &Tensor,
        k: &Tensor,
        v: &Tensor,
        attend: Attend,
        gate: Option<Tensor>,
    ) -> (Tensor, Option<Tensor>) {
        let AttentionSpec { scale, softcap, eager, filled, .. } = self.spec;
        let scores = Scores { scale, softcap, eager, filled, sinks: self.sinks.as_deref() };
        let (mixed, weights) = scaled_attention(q, k, v, attend, scores);
        let size = mixed.size();
        let mixed = mixed.transpose(1, 2);
        let mixed = match gate {
            // One number per head, or one per element of a head.
            Some(gate) => mixed * gate.view([size[0], size[2], size[1], -1]),
            None => mixed,
        };
        (self.o.forward(&mixed.reshape([size[0], size[2], size[1] * size[3]])), weights)
    }
}

fn rotate(q: &Tensor, k: &Tensor, rotation: Option<&Rotation>) -> (Tensor, Tensor) {
    match rotation {
        Some(rotation) => (rotation.apply(q), rotation.apply(k)),
        None => (q.shallow_clone(), k.shallow_clone()),
    }
}

/// What becomes of the products of queries and keys before the softmax.
#[derive(Debug, Clone, Copy)]
pub struct Scores<'a> {
    /// What they are multiplied by.
    pub scale: f64,
    /// Bound that they approach.
    pub softcap: Option<f64>,
    /// As in [`AttentionSpec`].
    pub eager: bool,
    /// As in [`AttentionSpec`].
    pub filled: bool,
    /// A further score per head, `[heads]`, for no token.
    pub sinks: Option<&'a Tensor>,
}

impl Scores<'_> {
    /// Products times `scale`.
    pub fn scaled(scale: f64) -> Self {
        Self { scale, softcap: None, eager: false, filled: false, sinks: None }
    }
}

/// Softmax attention of `q` `[batch, heads, queries, width]` to `k` `[batch, kv heads, keys, width]` and `v`
/// `[batch, kv heads, keys, value width]`: `[batch, heads, queries, value width]`, and the attention weights if wanted.
pub fn scaled_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    attend: Attend,
    scores: Scores,
) -> (Tensor, Option<Tensor>) {
    // Without padding every token sees itself at least, and there is nothing to be eager about.
    let eager = scores.eager && matches!(attend.mask, Mask::Allowed(_));
    if !attend.weights && scores.softcap.is_none() && !eager && scores.sinks.is_none() {
        return (fused(q, k, v, attend, scores.scale), None);
    }
    let (mixed, weights) = explicit(q, k, v, attend, scores);
    (mixed, attend.weights.then_some(weights))
}

/// Softmax attention in one kernel; `[batch, heads, queries, head_dim]`.
fn fused(q: &Tensor, k: &Tensor, v: &Tensor, Attend { mask, bias, .. }: Attend, scale: f64) -> Tensor {
    let (size, kv_heads) = (q.size(), k.size()[1]);
    let (heads, queries, keys) = (size[1], size[2], k.size()[2]);
    let attention = |q: &Tensor, k: &Tensor, v: &Tensor, mask: Option<&Tensor>, causal| {
        Tensor::scaled_dot_product_attention(q, k, v, mask, 0.0, causal, scale, false)
    };
    if kv_heads != heads && bias.is_none() && (queries == 1 || queries < keys) {
        // Tokens after others: the heads that share keys stand as further queries, so that no key is copied.
        let shared = heads / kv_heads;
        let mask = mask.allowed(queries, keys, q).map(|allowed| match allowed.size()[..] {
            [.., tokens, _] if tokens > 1 => allowed.repeat([1, 1, shared, 1]),
            _ => allowed,
        });
        let mixed = attention(&q.reshape([size[0], kv_heads, shared * queries, size[3]]), k, v, mask.as_ref(), false);
        return mixed.reshape([size[0], heads, queries, v.size()[3]]);
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
fn explicit(q: &Tensor, k: &Tensor, v: &Tensor, attend: Attend, spec: Scores) -> (Tensor, Tensor) {
    let Attend { mask, bias, .. } = attend;
    let size = q.size();
    let (batch, heads, queries, keys) = (size[0], size[1], size[2], k.size()[2]);
    // The heads that share keys stand as further queries, so that no key is copied.
    let (kv_heads, shared) = (k.size()[1], heads / k.size()[1]);
    let together = |x: &Tensor| x.reshape([batch, kv_heads, shared * queries, -1]);
    let apart = |x: Tensor| x.reshape([batch, heads, queries, -1]);
    let mut scores = apart(together(q).matmul(&k.transpose(2, 3))) * spec.scale;
    if let Some(cap) = spec.softcap {
        scores = (scores / cap).tanh() * cap;
    }
    if let Some(bias) = bias {
        scores += bias;
    }
    if let Some(allowed) = mask.allowed(queries, keys, q) {
        let lowest = Tensor::full([], lowest(q.kind()), (q.kind(), q.device()));
        scores = match spec.filled {
            true => scores.where_self(&allowed, &lowest),
            false => scores + lowest.zeros_like().where_self(&allowed, &lowest),
        };
    }
    let weights = match spec.sinks {
        Some(sinks) => {
            let sinks = sinks.view([1, heads, 1, 1]).expand([batch, heads, queries, 1], false);
            Tensor::cat(&[scores, sinks], -1).softmax(-1, Kind::Float).narrow(-1, 0, keys)
        }
        None => scores.softmax(-1, Kind::Float),
    };
    let weights = weights.to_kind(q.kind());
    (apart(together(&weights).matmul(v)), weights)
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

/// The lowest finite number of `kind`.
pub fn lowest(kind: Kind) -> f64 {
    match kind {
        Kind::Half => -65504.0,
        Kind::BFloat16 => f64::from(half::bf16::MIN),
        Kind::Double => f64::MIN,
        _ => f64::from(f32::MIN),
    }
}

/// Repeats each head of keys or values `[batch, heads, tokens, width]` so that there are `heads`.
pub(super) fn repeat_heads(x: &Tensor, heads: i64) -> Tensor {
    let size = x.size();
    if size[1] == heads {
        return x.shallow_clone();
    }
    let repeats = heads / size[1];
    x.unsqueeze(2)
        .expand([size[0], size[1], repeats, size[2], size[3]], false)
        .reshape([size[0], heads, size[2], size[3]])
}
