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

/// A block: convolutions one after the other, whose result is added to a shortcut.
#[derive(Debug, Clone, PartialEq)]
pub struct ResidualSpec {
    /// The convolutions.
    pub convs: Vec<ConvNormSpec>,
    /// What the result is added to.
    pub shortcut: ShortcutSpec,
    /// Activation of the sum.
    pub activation: Activation,
}

/// What the result of a block is added to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ShortcutSpec {
    /// The block's input.
    Input,
    /// The input brought to the shape of the result.
    Projected(ConvNormSpec),
    /// Nothing.
    None,
}

/// A network in stages of blocks.
#[derive(Debug, Clone, PartialEq)]
pub struct StagesSpec {
    /// The convolutions before the stages.
    pub stem: Vec<ConvNormSpec>,
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

/// The convolutions `0`, `1`, … of a list.
fn load_list(weights: &Weights, specs: &[ConvNormSpec]) -> Vec<ConvNorm> {
    specs.iter().enumerate().map(|(at, conv)| ConvNorm::load(&weights.layer(at), conv)).collect()
}

#[derive(Debug)]
struct Residual {
    convs: Vec<ConvNorm>,
    shortcut: Shortcut,
    activation: Activation,
}

#[derive(Debug)]
enum Shortcut {
    Input,
    Projected(Box<ConvNorm>),
    None,
}

impl Residual {
    fn load(weights: &Weights, spec: &ResidualSpec) -> Self {
        Self {
            convs: load_list(&weights.at("convs"), &spec.convs),
            shortcut: match &spec.shortcut {
                ShortcutSpec::Input => Shortcut::Input,
                ShortcutSpec::Projected(conv) => {
                    Shortcut::Projected(Box::new(ConvNorm::load(&weights.at("shortcut"), conv)))
                }
                ShortcutSpec::None => Shortcut::None,
            },
            activation: spec.activation,
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let inner = self.convs.iter().fold(x.shallow_clone(), |x, conv| conv.forward(&x));
        let sum = match &self.shortcut {
            Shortcut::Projected(shortcut) => inner + shortcut.forward(x),
            Shortcut::Input => inner + x,
            Shortcut::None => inner,
        };
        self.activation.apply(&sum)
    }
}

/// A [`StagesSpec`] with its parameters.
#[derive(Debug)]
pub struct Stages {
    stem: Vec<ConvNorm>,
    stages: Vec<Vec<Residual>>,
}

impl Stages {
    /// Loads `stem.N` and `stages.N.N`.
    pub fn load(weights: &Weights, spec: &StagesSpec) -> Self {
        let list = weights.at("stages");
        let stage = |at: usize, blocks: &[ResidualSpec]| {
            let list = list.layer(at);
            blocks.iter().enumerate().map(|(at, block)| Residual::load(&list.layer(at), block)).collect()
        };
        Self {
            stem: load_list(&weights.at("stem"), &spec.stem),
            stages: spec.stages.iter().enumerate().map(|(at, blocks)| stage(at, blocks)).collect(),
        }
    }

    /// `[batch, channels, height, width]` to what the stem makes of it.
    pub fn stem(&self, image: &Tensor) -> Tensor {
        self.stem.iter().fold(image.shallow_clone(), |x, conv| conv.forward(&x))
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
