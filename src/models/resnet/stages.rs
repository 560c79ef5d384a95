use tch::Tensor;

use crate::nn::{Activation, BatchNorm, Conv, ConvSpec};
use crate::weights::Weights;

/// A convolution without bias, batch normalisation, activation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConvNormSpec {
    /// The convolution.
    pub conv: ConvSpec<2>,
    /// Added to variances.
    pub eps: f64,
    /// The activation.
    pub activation: Activation,
}

impl ConvNormSpec {
    /// A square kernel that keeps the size but for its stride, without activation.
    pub fn new(inputs: i64, outputs: i64, kernel: i64, stride: i64) -> Self {
        let conv = ConvSpec::new(inputs, outputs, [kernel; 2]);
        let conv = ConvSpec { stride: [stride; 2], padding: [kernel / 2; 2], bias: false, ..conv };
        Self { conv, eps: 1e-5, activation: Activation::Linear }
    }
}

/// A block: convolutions one after the other, whose result is added to the block's input.
#[derive(Debug, Clone, PartialEq)]
pub struct ResidualSpec {
    /// The convolutions.
    pub convs: Vec<ConvNormSpec>,
    /// What brings the input to the shape of the result.
    pub shortcut: Option<ConvNormSpec>,
    /// Activation of the sum.
    pub activation: Activation,
}

/// A network in stages of blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct StagesSpec {
    /// What comes before the stages.
    pub stem: ConvNormSpec,
    /// The blocks of each stage.
    pub stages: Vec<Vec<ResidualSpec>>,
}

/// A [`ConvNormSpec`] with its parameters.
#[derive(Debug)]
pub struct ConvNorm {
    conv: Conv<2>,
    /// Where it could not become part of the convolution.
    norm: Option<BatchNorm>,
    activation: Activation,
}

impl ConvNorm {
    /// Loads `conv` and `norm`.
    pub fn load(weights: &Weights, spec: &ConvNormSpec) -> Self {
        let conv = Conv::load(&weights.at("conv"), spec.conv);
        let (conv, norm) = conv.folded(BatchNorm::load(&weights.at("norm"), spec.conv.outputs, spec.eps));
        Self { conv, norm, activation: spec.activation }
    }

    /// `[batch, inputs, height, width]` to `[batch, outputs, …]`.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        let x = self.conv.forward(x);
        let x = match &self.norm {
            Some(norm) => norm.forward(&x),
            None => x,
        };
        self.activation.apply(&x)
    }
}

#[derive(Debug)]
struct Residual {
    convs: Vec<ConvNorm>,
    shortcut: Option<ConvNorm>,
    activation: Activation,
}

impl Residual {
    fn load(weights: &Weights, spec: &ResidualSpec) -> Self {
        let convs = weights.at("convs");
        let shortcut = spec.shortcut.as_ref();
        Self {
            convs: spec.convs.iter().enumerate().map(|(at, conv)| ConvNorm::load(&convs.layer(at), conv)).collect(),
            shortcut: shortcut.map(|shortcut| ConvNorm::load(&weights.at("shortcut"), shortcut)),
            activation: spec.activation,
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let inner = self.convs.iter().fold(x.shallow_clone(), |x, conv| conv.forward(&x));
        let sum = match &self.shortcut {
            Some(shortcut) => inner + shortcut.forward(x),
            None => inner + x,
        };
        self.activation.apply(&sum)
    }
}

/// A [`StagesSpec`] with its parameters.
#[derive(Debug)]
pub struct Stages {
    stem: ConvNorm,
    stages: Vec<Vec<Residual>>,
}

impl Stages {
    /// Loads `stem` and `stages.N.N`.
    pub fn load(weights: &Weights, spec: &StagesSpec) -> Self {
        let list = weights.at("stages");
        let stage = |at: usize, blocks: &[ResidualSpec]| {
            let list = list.layer(at);
            blocks.iter().enumerate().map(|(at, block)| Residual::load(&list.layer(at), block)).collect()
        };
        Self {
            stem: ConvNorm::load(&weights.at("stem"), &spec.stem),
            stages: spec.stages.iter().enumerate().map(|(at, blocks)| stage(at, blocks)).collect(),
        }
    }

    /// `[batch, channels, height, width]` to what the first convolution makes of it.
    pub fn stem(&self, image: &Tensor) -> Tensor {
        self.stem.forward(image)
    }

    /// Passes `x` through all stages: `x`, then the output of each.
    pub fn forward(&self, x: Tensor) -> Vec<Tensor> {
        let mut maps = vec![x];
        for stage in &self.stages {
            let last = maps[maps.len() - 1].shallow_clone();
            maps.push(stage.iter().fold(last, |x, block| block.forward(&x)));
        }
        maps
    }
}
