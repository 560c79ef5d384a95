use serde::{Deserialize, Serialize};
use tch::Tensor;

/// An element-wise activation, under the names that `config.json` uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// Gaussian error linear unit, exact.
    #[serde(alias = "gelu_python")]
    Gelu,
    /// Its tanh approximation.
    #[serde(alias = "gelu_pytorch_tanh", alias = "gelu_fast", alias = "gelu_python_tanh", alias = "gelu_accurate")]
    GeluNew,
    /// `x * sigmoid(1.702 x)`.
    QuickGelu,
    /// `max(x, 0)`.
    Relu,
    /// `max(x, 0)^2`.
    Relu2,
    /// `min(max(x, 0), 6)`.
    Relu6,
    /// `x * sigmoid(x)`.
    #[serde(alias = "swish")]
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// Logistic function.
    Sigmoid,
    /// `x * tanh(softplus(x))`.
    Mish,
    /// Exponential linear unit.
    Elu,
    /// `x if x > 0 else 0.01 x`.
    LeakyRelu,
    /// The input itself.
    #[serde(alias = "identity")]
    Linear,
}

impl Activation {
    /// Applies the function to every element.
    pub fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Self::Gelu => x.gelu("none"),
            Self::GeluNew => x.gelu("tanh"),
            Self::QuickGelu => x * (x * 1.702).sigmoid(),
            Self::Relu => x.relu(),
            Self::Relu2 => x.relu().square(),
            Self::Relu6 => x.clamp(0., 6.),
            Self::Silu => x.silu(),
            Self::Tanh => x.tanh(),
            Self::Sigmoid => x.sigmoid(),
            Self::Mish => x.mish(),
            Self::Elu => x.elu(),
            Self::LeakyRelu => x.leaky_relu(),
            Self::Linear => x.shallow_clone(),
        }
    }
}
