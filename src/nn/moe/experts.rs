use tch::{Device, Tensor};
use tch_transformers_native::Weight;

use super::Applied;
use crate::nn::{Linear, Mlp, MlpSpec};
use crate::weights::Weights;

/// How a checkpoint stores experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// Each by itself: `N.gate`, `N.up`, `N.down`. A checkpoint that has them stacked is taken as it is.
    Each,
    /// All of them in one tensor per projection: `gate_up` (`up` without gates) `[experts, outputs, inputs]` and `down`,
    /// and their biases `gate_up_bias` and `down_bias` `[experts, outputs]`.
    Stacked,
    /// The same, `[experts, inputs, outputs]`.
    StackedTransposed,
}

/// Networks that tokens are sent to.
#[derive(Debug)]
pub(super) struct Experts {
    networks: Vec<Mlp>,
    /// Further experts, which return what they are given.
    identities: i64,
}

impl Experts {
    /// Loads `count` networks.
    pub fn load(weights: &Weights, spec: MlpSpec, count: i64, identities: i64, storage: Storage) -> Self {
        let networks = match storage {
            Storage::Each if !weights.has(stacked_name(spec)) => {
                (0..count as usize).map(|index| Mlp::load(&weights.layer(index), spec)).collect()
            }
            Storage::Each | Storage::Stacked => stacked(weights, spec, count, false),
            Storage::StackedTransposed => stacked(weights, spec, count, true),
        };
        Self { networks, identities }
    }

    /// What the experts `chosen` (`[tokens, k]`) make of `x` (`[tokens, hidden]`), added up by `weights` (`[tokens, k]`).
    pub fn forward(&self, x: &Tensor, chosen: &Tensor, weights: &Tensor, applied: Applied) -> Tensor {
        let (size, each) = (x.size(), chosen.size()[1]);
        let experts = chosen.flatten(0, 1);
        // Tokens side by side that go to one expert; each token stands as often as it has experts.
        let order = experts.argsort_stable(true, 0, false);
        let mut rows = x.index_select(0, &order.floor_divide_scalar(each));
        if applied == Applied::Input {
            let weights = weights.flatten(0, 1).index_select(0, &order).unsqueeze(-1);
            rows = (rows * weights).to_kind(x.kind());
        }
        let all = self.networks.len() as i64 + self.identities;
        let counts = experts.bincount(None::<Tensor>, all).to_device(Device::Cpu);
        let mut outputs = Vec::new();
        let mut start = 0;
        for expert in 0..all {
            let count = counts.int64_value(&[expert]);
            if count == 0 {
                continue;
            }
            let rows = rows.narrow(0, start, count);
            outputs.push(match self.networks.get(expert as usize) {
                Some(network) => network.forward(&rows),
                None => rows,
            });
            start += count;
        }
        let outputs = Tensor::cat(&outputs, 0).index_select(0, &order.argsort(0, false));
        let outputs = outputs.view([size[0], each, size[1]]);
        let outputs = match applied {
            Applied::Output => outputs * weights.unsqueeze(-1),
            Applied::Input => outputs,
        };
        outputs.sum_dim_intlist(1, false, None).to_kind(x.kind())
    }
}

fn stacked_name(spec: MlpSpec) -> &'static str {
    if spec.gated { "gate_up" } else { "up" }
}

/// The networks of a stack.
fn stacked(weights: &Weights, spec: MlpSpec, count: i64, transposed: bool) -> Vec<Mlp> {
    let MlpSpec { hidden, intermediate, gated, bias, .. } = spec;
    let linears = |name: &str, inputs: i64, outputs: i64| -> Vec<Linear> {
        let matrices = weights.matrices(name, count, [outputs, inputs], transposed);
        let biases = bias.then(|| weights.tensor(&format!("{name}_bias"), &[count, outputs]).unbind(0));
        let mut biases = biases.into_iter().flatten();
        matrices.into_iter().map(|matrix| Linear::of(matrix, biases.next().map(Weight::new))).collect()
    };
    let up = linears(stacked_name(spec), hidden, if gated { 2 * intermediate } else { intermediate });
    let down = linears("down", intermediate, hidden);
    std::iter::zip(up, down).map(|(up, down)| Mlp::of(spec, up, down)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use tch::Kind;

    use super::*;
    use crate::nn::Activation;
    use crate::weights::{LoadOptions, TensorSource};

    const EXPERTS: i64 = 4;

    type Tensors = Vec<(String, Tensor)>;

    fn spec() -> MlpSpec {
        MlpSpec { bias: true, ..MlpSpec::gated(3, 2, Activation::Silu) }
    }

    fn load(tensors: &[(String, Tensor)], identities: i64, storage: Storage) -> Experts {
        let tensors: BTreeMap<_, _> =
            tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        let weights = Weights::new(TensorSource::Memory(tensors), LoadOptions::default());
        let experts = Experts::load(&weights, spec(), EXPERTS, identities, storage);
        let (report, _) = weights.finish();
        assert!(report.is_clean(), "{report}");
        experts
    }

    /// The same experts, each by itself and as stacks.
    fn stored() -> (Tensors, Tensors) {
        let random = |shape: &[i64]| Tensor::randn(shape, (Kind::Float, Device::Cpu));
        let (gate_up, gate_up_bias) = (random(&[EXPERTS, 4, 3]), random(&[EXPERTS, 4]));
        let (down, down_bias) = (random(&[EXPERTS, 3, 2]), random(&[EXPERTS, 3]));
        let mut each = Vec::new();
        for expert in 0..EXPERTS {
            for (name, first) in [("gate", 0), ("up", 2)] {
                let of = |stack: &Tensor| stack.select(0, expert).narrow(0, first, 2);
                each.push((format!("{expert}.{name}.weight"), of(&gate_up)));
                each.push((format!("{expert}.{name}.bias"), of(&gate_up_bias)));
            }
            each.push((format!("{expert}.down.weight"), down.select(0, expert)));
            each.push((format!("{expert}.down.bias"), down_bias.select(0, expert)));
        }
        let stacks = [("gate_up", gate_up), ("gate_up_bias", gate_up_bias), ("down", down), ("down_bias", down_bias)];
        (each, stacks.into_iter().map(|(name, stack)| (name.to_owned(), stack)).collect())
    }

    fn transposed(stacks: &[(String, Tensor)]) -> Tensors {
        let transposed = |stack: &Tensor| if stack.dim() == 3 { stack.transpose(1, 2) } else { stack.shallow_clone() };
        stacks.iter().map(|(name, stack)| (name.clone(), transposed(stack))).collect()
    }

    #[test]
    fn each_token_gets_the_sum_of_its_experts() {
        let (each, stacks) = stored();
        let x = Tensor::randn([5, 3], (Kind::Float, Device::Cpu));
        // The last of five experts is the identity; the second gets no token.
        let chosen = Tensor::from_slice(&[3i64, 0, 4, 2, 0, 4, 2, 3, 0, 2]).view([5, 2]);
        let weights = Tensor::rand([5, 2], (Kind::Float, Device::Cpu));
        let forms = [
            (load(&each, 1, Storage::Each), "each"),
            (load(&stacks, 1, Storage::Each), "each, found stacked"),
            (load(&stacks, 1, Storage::Stacked), "stacked"),
            (load(&transposed(&stacks), 1, Storage::StackedTransposed), "transposed"),
        ];
        for applied in [Applied::Output, Applied::Input] {
            let token = |token: i64| {
                let sum = |slot: i64| {
                    let (expert, weight) = (chosen.int64_value(&[token, slot]), weights.double_value(&[token, slot]));
                    let x = x.narrow(0, token, 1);
                    let network = |x: &Tensor| match forms[0].0.networks.get(expert as usize) {
                        Some(network) => network.forward(x),
                        None => x.shallow_clone(),
                    };
                    match applied {
                        Applied::Output => network(&x) * weight,
                        Applied::Input => network(&(x * weight)),
                    }
                };
                sum(0) + sum(1)
            };
            let wanted = Tensor::cat(&(0..5).map(token).collect::<Vec<_>>(), 0);
            for (experts, form) in &forms {
                let found = experts.forward(&x, &chosen, &weights, applied);
                assert!(found.allclose(&wanted, 1e-5, 1e-6, false), "{form}, {applied:?}: {found} instead of {wanted}");
            }
        }
    }
}
