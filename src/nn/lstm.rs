use tch::Tensor;
use tch_transformers_native::Weight;

use crate::weights::Weights;

/// Long short-term memory (Hochreiter and Schmidhuber, 1997), layers on top of each other.
#[derive(Debug)]
pub struct Lstm {
    layers: i64,
    hidden: i64,
    /// Of each layer: input to gates, state to gates, and the bias of both.
    parameters: Vec<Weight>,
}

impl Lstm {
    /// Loads `weight_ih_lN` `[4 hidden, inputs]`, `weight_hh_lN` `[4 hidden, hidden]`, `bias_ih_lN` and `bias_hh_lN`
    /// `[4 hidden]` of each layer.
    pub fn load(weights: &Weights, inputs: i64, hidden: i64, layers: i64) -> Self {
        let gates = 4 * hidden;
        let parameters = (0..layers).flat_map(|layer| {
            let inputs = if layer == 0 { inputs } else { hidden };
            weights.summed(&[&format!("bias_ih_l{layer}"), &format!("bias_hh_l{layer}")]);
            [
                weights.weight(&format!("weight_ih_l{layer}"), &[gates, inputs]),
                weights.weight(&format!("weight_hh_l{layer}"), &[gates, hidden]),
                weights.weight(&format!("bias_ih_l{layer}"), &[gates]),
                weights.weight(&format!("bias_hh_l{layer}"), &[gates]),
            ]
        });
        Self { layers, hidden, parameters: parameters.collect() }
    }

    /// `[steps, batch, inputs]` to `[steps, batch, hidden]`, from a state of zeros.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let state = Tensor::zeros([self.layers, x.size()[1], self.hidden], (x.kind(), x.device()));
        let parameters: Vec<&Tensor> = self.parameters.iter().map(|parameter| &**parameter).collect();
        let (output, ..) = x.lstm(&[&state, &state], &parameters, true, self.layers, 0.0, false, false, false);
        output
    }
}
