use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use super::{Activation, CausalConv, Linear, Norm, NormSpec, without_padding};
use crate::cache::LayerCache;
use crate::weights::Weights;

/// A selective state space (Gu and Dao, 2023): each channel carries `state` numbers from token to token, which decay and
/// grow as the token itself says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MambaSpec {
    /// Width of input and output.
    pub hidden: i64,
    /// Channels.
    pub inner: i64,
    /// Numbers that each channel carries.
    pub state: i64,
    /// Width from which the time steps of all channels are made.
    pub rank: i64,
    /// Tokens that the convolution before the scan sees.
    pub kernel: i64,
    /// What follows the convolution.
    pub activation: Activation,
    /// Whether the convolution has a bias.
    pub conv_bias: bool,
    /// Whether the projections into and out of the channels have a bias.
    pub bias: bool,
    /// How time steps, inputs and outputs of the state are normalised.
    pub norms: Option<NormSpec>,
}

/// A selective state space with its parameters.
#[derive(Debug)]
pub struct Mamba {
    spec: MambaSpec,
    in_proj: Linear,
    conv: CausalConv,
    x_proj: Linear,
    /// Of time steps, inputs and outputs of the state.
    norms: Option<[Norm; 3]>,
    dt_proj: Linear,
    /// Logarithms of how fast states decay, `[inner, state]`.
    a_log: Weight,
    /// How much of its input a channel passes on beside the state, `[inner]`.
    d: Weight,
    out_proj: Linear,
}

impl Mamba {
    /// Loads `in_proj`, `conv1d`, `x_proj`, `dt_proj`, `A_log`, `D`, `out_proj` and where there are such `dt_norm`,
    /// `b_norm`, `c_norm`.
    pub fn load(weights: &Weights, spec: MambaSpec) -> Self {
        let MambaSpec { hidden, inner, state, rank, kernel, conv_bias, bias, .. } = spec;
        let norms = |norm: NormSpec| {
            // What goes into a state times what is read of it.
            weights.multiplied(&["b_norm.weight", "c_norm.weight"]);
            [("dt_norm", rank), ("b_norm", state), ("c_norm", state)]
                .map(|(name, size)| Norm::load(&weights.at(name), norm, size))
        };
        Self {
            spec,
            in_proj: Linear::load(&weights.at("in_proj"), hidden, 2 * inner, bias),
            conv: CausalConv::load(&weights.at("conv1d"), inner, kernel, conv_bias),
            x_proj: Linear::load(&weights.at("x_proj"), inner, rank + 2 * state, false),
            norms: spec.norms.map(norms),
            dt_proj: Linear::load(&weights.at("dt_proj"), rank, inner, true),
            a_log: weights.weight("A_log", &[inner, state]),
            d: weights.weight("D", &[inner]),
            out_proj: Linear::load(&weights.at("out_proj"), inner, hidden, bias),
        }
    }

    /// `[batch, tokens, hidden]` to the same shape; `real` (`[batch, tokens, 1]`) says which tokens are no padding.
    pub fn forward(&self, x: &Tensor, real: Option<&Tensor>, state: Option<&mut LayerCache>) -> Tensor {
        let MambaSpec { inner, rank, state: size, activation, .. } = self.spec;
        let (window, recurrent) = state.map(|state| (&mut state.window, &mut state.recurrent)).unzip();
        let projected = self.in_proj.forward(&without_padding(x, real));
        let (u, gate) = (projected.narrow(-1, 0, inner), projected.narrow(-1, inner, inner));
        let u = without_padding(&activation.apply(&self.conv.forward(&u, window)), real);
        let parts = self.x_proj.forward(&u);
        let part = |index: usize, start: i64, width: i64| {
            let part = parts.narrow(-1, start, width);
            self.norms.as_ref().map_or_else(|| part.shallow_clone(), |norms| norms[index].forward(&part))
        };
        let (dt, b, c) = (part(0, 0, rank), part(1, rank, size), part(2, rank + size, size));
        let dt = self.dt_proj.forward(&dt).to_kind(Kind::Float).softplus();
        let a = self.a_log.to_kind(Kind::Float).exp().neg().tr().contiguous();
        let wide = |x: &Tensor| x.to_kind(Kind::Float);
        let u = wide(&u);
        let scanned = selective_scan(&u, &dt, &a, &wide(&b), &wide(&c), recurrent);
        let mixed = scanned.addcmul(&u, &wide(&self.d)) * wide(&gate).silu();
        self.out_proj.forward(&mixed.to_kind(x.kind()))
    }
}

/// Tokens whose states are computed before their outputs are: few enough for the caches of a processor.
const CHUNK: i64 = 32;

/// `h_t = exp(dt_t a) h_{t-1} + dt_t b_t u_t` and `y_t = c_t h_t` for every channel: `[batch, tokens, channels]`.
///
/// `u` and `dt` are `[batch, tokens, channels]`, `a` `[state, channels]`, `b` and `c` `[batch, tokens, state]`. The state
/// `[batch, state, channels]` goes on from `past` and is left there.
fn selective_scan(
    u: &Tensor,
    dt: &Tensor,
    a: &Tensor,
    b: &Tensor,
    c: &Tensor,
    past: Option<&mut Option<Tensor>>,
) -> Tensor {
    let size = u.size();
    let (batch, tokens, channels) = (size[0], size[1], size[2]);
    let taken = past.as_ref().and_then(|past| past.as_ref().map(Tensor::shallow_clone));
    let mut state = taken.unwrap_or_else(|| Tensor::zeros([batch, a.size()[0], channels], (Kind::Float, u.device())));
    let growth = dt * u;
    let mut outputs = Vec::with_capacity((tokens / CHUNK + 1) as usize);
    for start in (0..tokens).step_by(CHUNK as usize) {
        let len = CHUNK.min(tokens - start);
        let per_state = |x: &Tensor| x.narrow(1, start, len).unsqueeze(-1);
        let per_channel = |x: &Tensor| x.narrow(1, start, len).unsqueeze(2);
        let decays = (per_channel(dt) * a).exp();
        let states = scan(&decays, per_state(b) * per_channel(&growth), &state);
        state = states.select(1, len - 1);
        outputs.push(per_channel(c).matmul(&states).squeeze_dim(2));
    }
    if let Some(past) = past {
        *past = Some(state.copy());
    }
    Tensor::cat(&outputs, 1)
}

/// `h_t = decay_t h_{t-1} + input_t` over dimension 1, after `state`: all states.
fn scan(decays: &Tensor, inputs: Tensor, state: &Tensor) -> Tensor {
    let tokens = inputs.size()[1];
    if inputs.requires_grad() {
        let mut states = Vec::with_capacity(tokens as usize);
        let mut last = state.shallow_clone();
        for token in 0..tokens {
            last = inputs.select(1, token).addcmul(&decays.select(1, token), &last);
            states.push(last.shallow_clone());
        }
        return Tensor::stack(&states, 1);
    }
    // The states take the place of what was put into them.
    let mut last = state.shallow_clone();
    for token in 0..tokens {
        let mut input = inputs.select(1, token);
        last = input.addcmul_(&decays.select(1, token), &last);
    }
    inputs
}
