use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use super::attention::repeat_heads;
use super::{Activation, CausalConv, Linear, Norm, NormSpec, without_padding};
use crate::cache::LayerCache;
use crate::weights::Weights;

/// Linear attention with the gated delta rule (Yang et al., 2024): a memory per head that decays, and in which each
/// token's key is given its value in place of what was there.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GatedDeltaSpec {
    /// Width of input and output.
    pub hidden: i64,
    /// Heads of queries and keys.
    pub key_heads: i64,
    /// Heads of values; a multiple of `key_heads`.
    pub value_heads: i64,
    /// Width of a head of queries and keys.
    pub key_dim: i64,
    /// Width of a head of values.
    pub value_dim: i64,
    /// Tokens that the convolution of queries, keys and values sees.
    pub kernel: i64,
    /// What follows the convolution.
    pub activation: Activation,
    /// The normalisation of each head's output, before it is gated.
    pub norm: NormSpec,
}

impl GatedDeltaSpec {
    /// Width of all heads of queries, and of keys.
    pub fn keys(&self) -> i64 {
        self.key_heads * self.key_dim
    }

    /// Width of all heads of values.
    pub fn values(&self) -> i64 {
        self.value_heads * self.value_dim
    }
}

/// Linear attention with the gated delta rule and its parameters.
#[derive(Debug)]
pub struct GatedDelta {
    spec: GatedDeltaSpec,
    /// Queries, keys, values, their gate, how strongly a token writes and how much it forgets, side by side.
    projection: Linear,
    conv: CausalConv,
    /// Logarithms of how fast heads forget, `[value heads]`.
    a_log: Weight,
    dt_bias: Weight,
    norm: Norm,
    out_proj: Linear,
}

impl GatedDelta {
    /// Loads `q`, `k`, `v`, `z`, `b`, `a`, `conv1d` (of queries, keys and values), `A_log`, `dt_bias`, `norm`,
    /// `out_proj`.
    pub fn load(weights: &Weights, spec: GatedDeltaSpec) -> Self {
        let (keys, values, heads) = (spec.keys(), spec.values(), spec.value_heads);
        let parts = [("q", keys), ("k", keys), ("v", values), ("z", values), ("b", heads), ("a", heads)];
        Self {
            spec,
            projection: Linear::fused(weights, spec.hidden, &parts, false),
            conv: CausalConv::load(&weights.at("conv1d"), 2 * keys + values, spec.kernel, false),
            a_log: weights.weight("A_log", &[heads]),
            dt_bias: weights.weight("dt_bias", &[heads]),
            norm: Norm::load(&weights.at("norm"), spec.norm, spec.value_dim),
            out_proj: Linear::load(&weights.at("out_proj"), values, spec.hidden, false),
        }
    }

    /// `[batch, tokens, hidden]` to the same shape; `real` (`[batch, tokens, 1]`) says which tokens are no padding.
    pub fn forward(&self, x: &Tensor, real: Option<&Tensor>, state: Option<&mut LayerCache>) -> Tensor {
        let GatedDeltaSpec { key_dim, value_dim, value_heads, activation, .. } = self.spec;
        let (keys, values) = (self.spec.keys(), self.spec.values());
        let (window, recurrent) = state.map(|state| (&mut state.window, &mut state.recurrent)).unzip();

        let projected = self.projection.forward(&without_padding(x, real));
        let (qkv_width, gate_end) = (2 * keys + values, 2 * keys + 2 * values);
        let part = |start: i64, width: i64| projected.narrow(-1, start, width);
        let (z, b, a) =
            (part(qkv_width, values), part(gate_end, value_heads), part(gate_end + value_heads, value_heads));
        let qkv = activation.apply(&self.conv.forward(&part(0, qkv_width), window));
        let heads = |start: i64, width: i64, head_dim: i64| {
            qkv.narrow(-1, start, width).to_kind(Kind::Float).unflatten(-1, [-1, head_dim]).transpose(1, 2)
        };
        let unit = |x: Tensor| {
            let length = x.square().sum_dim_intlist([-1].as_slice(), true, Kind::Float);
            repeat_heads(&(x * (length + 1e-6).rsqrt()), value_heads)
        };
        let per_head = |x: &Tensor| x.to_kind(Kind::Float).transpose(1, 2).unsqueeze(-1);
        let forget = (a.to_kind(Kind::Float) + &*self.dt_bias).softplus() * self.a_log.to_kind(Kind::Float).exp();
        let tokens = Tokens {
            q: unit(heads(0, keys, key_dim)) * (key_dim as f64).powf(-0.5),
            k: unit(heads(keys, keys, key_dim)),
            v: heads(2 * keys, values, value_dim),
            strength: per_head(&b.sigmoid()),
            log_decay: per_head(&forget.neg()),
        };
        let mixed = tokens.mix(recurrent).transpose(1, 2).to_kind(x.kind());
        let gate = z.unflatten(-1, [-1, value_dim]).to_kind(Kind::Float).silu();
        let mixed = (self.norm.forward(&mixed) * gate).to_kind(x.kind());
        self.out_proj.forward(&mixed.flatten(-2, -1))
    }
}

/// What tokens do to the memories, per head: `[batch, heads, tokens, …]`.
struct Tokens {
    /// What they look for, `key_dim` wide.
    q: Tensor,
    /// Where they write, `key_dim` wide.
    k: Tensor,
    /// What they write, `value_dim` wide.
    v: Tensor,
    /// How much of what was there they replace, from 0 to 1.
    strength: Tensor,
    /// Logarithm of what they leave of the memory, at most 0.
    log_decay: Tensor,
}

/// Tokens that are worked on at once.
const CHUNK: i64 = 64;

impl Tokens {
    /// What the tokens find, `[batch, heads, tokens, value_dim]`. The memory `[batch, heads, key_dim, value_dim]` goes on
    /// from `past` and is left there.
    fn mix(&self, past: Option<&mut Option<Tensor>>) -> Tensor {
        let (k, v) = (self.k.size(), self.v.size());
        let taken = past.as_ref().and_then(|past| past.as_ref().map(Tensor::shallow_clone));
        let mut memory =
            taken.unwrap_or_else(|| Tensor::zeros([v[0], v[1], k[3], v[3]], (Kind::Float, self.v.device())));
        let mut found = Vec::with_capacity((v[2] / CHUNK + 1) as usize);
        for start in (0..v[2]).step_by(CHUNK as usize) {
            let chunk = self.narrow(start, CHUNK.min(v[2] - start));
            let (output, next) = if v[2] == 1 { chunk.step(&memory) } else { chunk.pass(&memory) };
            memory = next;
            found.push(output);
        }
        if let Some(past) = past {
            *past = Some(memory);
        }
        Tensor::cat(&found, 2)
    }

    fn narrow(&self, start: i64, len: i64) -> Self {
        let part = |x: &Tensor| x.narrow(2, start, len);
        Self {
            q: part(&self.q),
            k: part(&self.k),
            v: part(&self.v),
            strength: part(&self.strength),
            log_decay: part(&self.log_decay),
        }
    }

    /// One token: what it finds in `memory` after it has written, and the memory then.
    fn step(&self, memory: &Tensor) -> (Tensor, Tensor) {
        let memory = memory * self.log_decay.exp();
        let written = (&self.v - self.k.matmul(&memory)) * &self.strength;
        let memory = memory + self.k.transpose(-1, -2).matmul(&written);
        (self.q.matmul(&memory), memory)
    }

    /// Several tokens at once: as [`Tokens::step`] for one after the other.
    ///
    /// What each token writes depends on what those before it wrote, `written = strength (v - k memory)`: a triangular
    /// system of equations.
    fn pass(&self, memory: &Tensor) -> (Tensor, Tensor) {
        let Self { q, k, v, strength, log_decay } = self;
        let since_start = log_decay.cumsum(2, Kind::Float);
        let tokens = v.size()[2];
        let later = Tensor::ones([tokens, tokens], (Kind::Bool, v.device())).triu(1);
        let between = (&since_start - since_start.transpose(-1, -2)).masked_fill(&later, f64::NEG_INFINITY).exp();
        let left = since_start.exp();

        let overlap = (k * strength).matmul(&k.transpose(-1, -2)) * &between;
        let asked = (v - (k * &left).matmul(memory)) * strength;
        let written = Tensor::linalg_solve_triangular(&overlap, &asked, false, true, true);

        let found = (q * &left).matmul(memory) + (q.matmul(&k.transpose(-1, -2)) * between).matmul(&written);
        let whole = since_start.narrow(2, tokens - 1, 1);
        let kept = (&whole - &since_start).exp();
        (found, memory * whole.exp() + (k * kept).transpose(-1, -2).matmul(&written))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_tokens_at_once_are_one_after_the_other() {
        tch::manual_seed(3);
        let draw = |width: i64| Tensor::rand([2, 3, CHUNK + 7, width], (Kind::Float, tch::Device::Cpu));
        let keys = draw(4);
        let length = keys.square().sum_dim_intlist([-1].as_slice(), true, Kind::Float).sqrt();
        let tokens = Tokens { q: draw(4), k: keys / length, v: draw(5), strength: draw(1), log_decay: -draw(1) };
        let (mut whole, mut stepped) = (None, None);
        let together = tokens.mix(Some(&mut whole));
        let each: Vec<_> = (0..CHUNK + 7).map(|token| tokens.narrow(token, 1).mix(Some(&mut stepped))).collect();
        assert!(together.allclose(&Tensor::cat(&each, 2), 1e-5, 1e-5, false));
        assert!(whole.unwrap().allclose(&stepped.unwrap(), 1e-5, 1e-5, false));
    }
}
