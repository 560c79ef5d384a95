use serde::{Deserialize, Serialize};
use tch::Tensor;

use crate::nn::{Activation, Conv, ConvSpec, GroupNorm, Lstm};
use crate::proofs::{Kind, Takes};
use crate::weights::Weights;

/// What stands beyond the ends of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PadMode {
    /// Zeros.
    Constant,
    /// The signal mirrored at its end.
    Reflect,
    /// Its last element again and again.
    Replicate,
    /// Its other end.
    Circular,
}

impl Takes for PadMode {
    const KIND: Kind = Kind::Str;
}

impl PadMode {
    /// `x` (`[batch, channels, steps]`) with `before` and `after` more steps.
    fn pad(self, x: &Tensor, before: i64, after: i64) -> Tensor {
        let mode = match self {
            Self::Constant => "constant",
            Self::Reflect => "reflect",
            Self::Replicate => "replicate",
            Self::Circular => "circular",
        };
        // What is too short to be mirrored gets zeros first, which go again.
        let short = (before.max(after) - x.size()[2] + 1).max(0);
        if self != Self::Reflect || short == 0 {
            return x.pad([before, after], mode, None);
        }
        let padded = x.constant_pad_nd([0, short]).pad([before, after], mode, None);
        padded.narrow(2, 0, padded.size()[2] - short)
    }
}

/// How the convolutions of a network are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConvNorm {
    /// Each kernel has its length as a parameter.
    WeightNorm,
    /// All channels over time are brought to mean 0 and variance 1.
    TimeGroupNorm,
}

impl Takes for ConvNorm {
    const KIND: Kind = Kind::Str;
}

/// What all convolutions of a network share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SeaNetSpec {
    /// Whether a step sees only those before it.
    pub causal: bool,
    /// What stands beyond the ends.
    pub pad: PadMode,
    /// How convolutions are normalised.
    pub norm: ConvNorm,
    /// Which share of the steps that a transposed convolution makes too many is cut off at the end, where it is causal.
    pub trim: f64,
}

/// One piece of a network; pieces stand in a checkpoint by their number.
#[derive(Debug, Clone, PartialEq)]
pub enum PieceSpec {
    /// A convolution of as many steps as there are, over its stride.
    Conv(ConvSpec<1>),
    /// A transposed one, with as many steps as there are times its stride.
    Up(ConvSpec<1>),
    /// Two convolutions around a narrower middle, each after ELU, and their input, convolved where `shortcut`.
    Residual {
        /// The convolutions.
        convs: [ConvSpec<1>; 2],
        /// Whether the input is convolved.
        shortcut: bool,
    },
    /// A recurrent network with its input added.
    Lstm {
        /// Channels.
        width: i64,
        /// Layers.
        layers: i64,
    },
    /// An activation.
    Activation(Activation),
}

/// A convolution that pads its input so that the output has `steps / stride` steps, rounded up.
#[derive(Debug)]
pub struct PaddedConv {
    spec: SeaNetSpec,
    conv: ConvSpec<1>,
    kernel: Conv<1>,
    norm: Option<GroupNorm>,
}

impl PaddedConv {
    fn load(weights: &Weights, spec: SeaNetSpec, conv: ConvSpec<1>) -> Self {
        let weight_norm = (spec.norm == ConvNorm::WeightNorm).then_some(0);
        let group = || GroupNorm::load(&weights.at("norm"), 1, conv.outputs, 1e-5);
        Self {
            spec,
            conv,
            kernel: Conv::load(&weights.at("conv"), ConvSpec { weight_norm, ..conv }),
            norm: (spec.norm == ConvNorm::TimeGroupNorm).then(group),
        }
    }

    fn normed(&self, x: Tensor) -> Tensor {
        self.norm.as_ref().map_or_else(|| x.shallow_clone(), |norm| norm.forward(&x))
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        let (steps, [stride]) = (x.size()[2], self.conv.stride);
        let beyond = (self.conv.kernel[0] - 1) * self.conv.dilation[0] + 1 - stride;
        let incomplete = steps.rem_euclid(stride);
        let missing = if incomplete == 0 { 0 } else { stride - incomplete };
        let after = if self.spec.causal { 0 } else { beyond / 2 };
        self.normed(self.kernel.forward(&self.spec.pad.pad(x, beyond - after, after + missing)))
    }

    /// As [`PaddedConv::forward`] of a transposed convolution, cut to `steps * stride` steps.
    fn stretch(&self, x: &Tensor) -> Tensor {
        let beyond = self.conv.kernel[0] - self.conv.stride[0];
        let x = self.normed(self.kernel.forward(x));
        let after = if self.spec.causal { (beyond as f64 * self.spec.trim).ceil() as i64 } else { beyond / 2 };
        x.narrow(2, beyond - after, x.size()[2] - beyond)
    }
}

/// A [`PieceSpec`] with its parameters.
#[derive(Debug)]
pub enum Piece {
    /// As [`PieceSpec::Conv`].
    Conv(PaddedConv),
    /// As [`PieceSpec::Up`].
    Up(PaddedConv),
    /// As [`PieceSpec::Residual`].
    Residual(Box<[PaddedConv; 2]>, Option<Box<PaddedConv>>),
    /// As [`PieceSpec::Lstm`].
    Lstm(Lstm),
    /// As [`PieceSpec::Activation`].
    Activation(Activation),
}

impl Piece {
    fn load(weights: &Weights, shared: SeaNetSpec, spec: &PieceSpec) -> Self {
        match spec {
            PieceSpec::Conv(conv) => Self::Conv(PaddedConv::load(weights, shared, *conv)),
            PieceSpec::Up(conv) => Self::Up(PaddedConv::load(weights, shared, ConvSpec { transposed: true, ..*conv })),
            PieceSpec::Residual { convs: [first, second], shortcut } => {
                // The numbers between are those of the activations.
                let conv = |index, conv| PaddedConv::load(&weights.at("block").layer(index), shared, conv);
                // The two branches are added.
                weights.summed(&["block.3.conv.bias", "shortcut.conv.bias"]);
                let straight = ConvSpec::new(first.inputs, second.outputs, [1]);
                let shortcut = shortcut.then(|| Box::new(PaddedConv::load(&weights.at("shortcut"), shared, straight)));
                Self::Residual(Box::new([conv(1, *first), conv(3, *second)]), shortcut)
            }
            PieceSpec::Lstm { width, layers } => Self::Lstm(Lstm::load(&weights.at("lstm"), *width, *width, *layers)),
            PieceSpec::Activation(activation) => Self::Activation(*activation),
        }
    }

    fn forward(&self, x: &Tensor) -> Tensor {
        match self {
            Self::Conv(conv) => conv.forward(x),
            Self::Up(conv) => conv.stretch(x),
            Self::Residual(convs, shortcut) => {
                let [first, second] = &**convs;
                let inner = second.forward(&first.forward(&x.elu()).elu());
                inner + shortcut.as_ref().map_or_else(|| x.shallow_clone(), |shortcut| shortcut.forward(x))
            }
            Self::Lstm(lstm) => {
                let steps = x.permute([2, 0, 1]);
                (lstm.forward(&steps) + steps).permute([1, 2, 0])
            }
            Self::Activation(activation) => activation.apply(x),
        }
    }
}

/// Pieces one after the other (SEANet; Tagliasacchi et al., 2020).
#[derive(Debug)]
pub struct SeaNet {
    pieces: Vec<Piece>,
}

impl SeaNet {
    /// Loads `layers.N`, one for each of `pieces`.
    pub fn load(weights: &Weights, shared: SeaNetSpec, pieces: &[PieceSpec]) -> Self {
        let list = weights.at("layers");
        let piece = |(index, spec)| Piece::load(&list.layer(index), shared, spec);
        Self { pieces: pieces.iter().enumerate().map(piece).collect() }
    }

    /// `[batch, channels, steps]` to the same form.
    pub fn forward(&self, x: &Tensor) -> Tensor {
        self.pieces.iter().fold(x.shallow_clone(), |x, piece| piece.forward(&x))
    }
}
