//! Rotary position embeddings (Su et al., RoFormer): frequencies, tables, rotation.

mod parameters;

pub use parameters::{RopeParameters, RopeSettings, RopeType, upgrade};

use std::f64::consts::TAU;

use tch::{Device, Kind, Tensor};
use tch_transformers_native::Weight;

/// Which elements of a head form a pair that is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pairing {
    /// Element `i` and element `i + width / 2`.
    #[default]
    Half,
    /// Elements `2 i` and `2 i + 1`.
    Interleaved,
}

/// The rotation of the tokens of one pass.
#[derive(Debug)]
pub struct Rotation {
    /// `[batch or 1, 1, tokens, width]`.
    cos: Tensor,
    /// The same, negative on the first element of each pair.
    sin: Tensor,
    pairing: Pairing,
    width: i64,
}

impl Rotation {
    /// The rotation of tokens at `positions` (`[batch or 1, tokens]`, or one for each pair, `[…, pairs]`) with one inverse
    /// frequency per pair; `attention_factor` scales queries and keys. Tables are computed in float and returned in `kind`.
    pub fn new(
        positions: &Tensor,
        inverse_frequencies: &Tensor,
        attention_factor: f64,
        pairing: Pairing,
        kind: Kind,
    ) -> Self {
        let positions = if positions.dim() == 2 { positions.unsqueeze(-1) } else { positions.shallow_clone() };
        let angles = positions.to_kind(Kind::Float) * inverse_frequencies;
        let (cos, sin) = (angles.cos() * attention_factor, angles.sin() * attention_factor);
        let pairs = |first: &Tensor, second: &Tensor| match pairing {
            Pairing::Half => Tensor::cat(&[first, second], -1),
            Pairing::Interleaved => Tensor::stack(&[first, second], -1).flatten(-2, -1),
        };
        let width = 2 * inverse_frequencies.size()[0];
        Self {
            cos: pairs(&cos, &cos).to_kind(kind).unsqueeze(1),
            sin: pairs(&sin.neg(), &sin).to_kind(kind).unsqueeze(1),
            pairing,
            width,
        }
    }

    /// Rotates `[batch, heads, tokens, head_dim]`; elements beyond the table's width stay as they are.
    pub fn apply(&self, x: &Tensor) -> Tensor {
        let head_dim = x.size()[3];
        if head_dim == self.width {
            return self.rotate(x);
        }
        let rotated = self.rotate(&x.narrow(3, 0, self.width));
        Tensor::cat(&[rotated, x.narrow(3, self.width, head_dim - self.width)], 3)
    }

    fn rotate(&self, x: &Tensor) -> Tensor {
        let swapped = match self.pairing {
            Pairing::Half => x.roll([self.width / 2], [3]),
            Pairing::Interleaved => {
                let size = x.size();
                x.reshape([size[0], size[1], size[2], self.width / 2, 2]).flip([4]).reshape(&size[..])
            }
        };
        x * &self.cos + swapped * &self.sin
    }
}

/// Which frequencies rotate a head; from [`RopeSettings::spec`].
#[derive(Debug, Clone, PartialEq)]
pub struct RopeSpec {
    /// Base of the geometric series of wavelengths.
    pub theta: f64,
    /// Elements of a head that are rotated.
    pub width: i64,
    /// How the series is stretched.
    pub scaling: RopeScaling,
    /// Which elements form a pair.
    pub pairing: Pairing,
    /// Which of a token's positions rotates each pair, where it has several (time, height, width, say); empty where it
    /// has one.
    pub axes: Vec<i64>,
}

/// How frequencies are changed for contexts longer than those of the pretraining.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// Not at all.
    None,
    /// Positions are divided.
    Linear {
        /// By this.
        factor: f64,
    },
    /// The base grows with the length of the input once that is beyond `max_positions` (NTK).
    Dynamic {
        /// Growth.
        factor: f64,
        /// Length up to which nothing changes.
        max_positions: i64,
    },
    /// YaRN (Peng et al., 2023): low frequencies are divided, high ones kept, with a ramp in between.
    Yarn {
        /// Divides low frequencies.
        factor: f64,
        /// Scales queries and keys.
        attention_factor: f64,
        /// Pairs between which the ramp stands.
        ramp: (f64, f64),
    },
    /// LongRoPE (Ding et al., 2024): one factor per pair, others beyond the original length.
    Long {
        /// Up to `original` positions.
        short: Vec<f64>,
        /// Beyond.
        long: Vec<f64>,
        /// Length of the pretraining.
        original: i64,
        /// Scales queries and keys.
        attention_factor: f64,
    },
    /// Llama 3.1: long wavelengths are divided, short ones kept, those in between interpolated.
    Llama3 {
        /// Divides low frequencies.
        factor: f64,
        /// Wavelengths above `original / low` are long.
        low: f64,
        /// Wavelengths below `original / high` are short.
        high: f64,
        /// Length of the pretraining.
        original: f64,
    },
    /// The first `rotated` pairs as in a full head, the others stand still; `width` is the whole head.
    Proportional {
        /// Divides frequencies.
        factor: f64,
        /// Pairs that are rotated.
        rotated: i64,
    },
    /// Each of several axes has a series of its own, over as many pairs as the others.
    Axial {
        /// How many axes.
        axes: i64,
    },
}

impl RopeSpec {
    /// For tokens on a grid: the first half of the pairs of a head `width` wide rotates by the row, the other half, with
    /// the same frequencies, by the column.
    pub fn grid(theta: f64, width: i64) -> Self {
        let axes = [0, 1].map(|axis| vec![axis; (width / 4) as usize]).concat();
        Self { theta, width, scaling: RopeScaling::Axial { axes: 2 }, pairing: Pairing::Half, axes }
    }

    /// The same for tokens with three positions, in time, height and width: pairs rotate by each in turn, in sections of
    /// as many pairs as `sections` says (M-RoPE; Wang et al., 2024).
    pub fn sectioned(self, sections: &[i64]) -> Self {
        let of = |(index, pairs): (i64, &i64)| vec![index % 3; usize::try_from(*pairs).unwrap_or(0)];
        Self { axes: (0..).zip(sections).flat_map(of).collect(), ..self }
    }

    /// How many positions a token has.
    pub fn positions(&self) -> i64 {
        self.axes.iter().max().map_or(1, |axis| axis + 1)
    }

    /// The same with neighbours as pairs.
    pub fn interleaved(self) -> Self {
        Self { pairing: Pairing::Interleaved, ..self }
    }

    /// Inverse frequencies `[width / 2]` for an input whose last position is `length - 1`.
    fn frequencies(&self, length: i64, device: Device) -> Tensor {
        // Every step in float, as in the reference: the angles of far positions show each rounding.
        let series = |pairs: i64| Tensor::arange_start_step(0, 2 * pairs, 2, (Kind::Float, device)) / self.width as f64;
        let exponents = series((self.width + 1) / 2);
        let powers = |exponents: &Tensor| Tensor::pow_scalar(self.theta, exponents);
        match &self.scaling {
            RopeScaling::None => powers(&exponents).reciprocal(),
            RopeScaling::Linear { factor } => powers(&exponents).reciprocal() / *factor,
            RopeScaling::Dynamic { max_positions, .. } if length <= *max_positions => powers(&exponents).reciprocal(),
            RopeScaling::Dynamic { factor, max_positions } => {
                let length = Tensor::full([], length, (Kind::Float, device));
                let stretch = length * *factor / *max_positions as f64 - (factor - 1.0);
                let base = stretch.pow_tensor_scalar(self.width as f64 / (self.width - 2) as f64) * self.theta;
                base.pow(&exponents).reciprocal()
            }
            RopeScaling::Yarn { factor, ramp: (low, high), .. } => {
                let high = if low == high { high + 0.001 } else { *high };
                let powers = powers(&exponents);
                let ramp = (Tensor::arange(self.width / 2, (Kind::Float, device)) - *low) / (high - low);
                let kept = 1.0 - ramp.clamp(0., 1.);
                let divided = (&powers * *factor).reciprocal();
                divided * (1.0 - &kept) + powers.reciprocal() * kept
            }
            RopeScaling::Long { short, long, original, .. } => {
                let factors = if length > *original { long } else { short };
                let factors = Tensor::from_slice(factors).to_kind(Kind::Float).to_device(device);
                (factors * powers(&exponents)).reciprocal()
            }
            RopeScaling::Llama3 { factor, low, high, original } => {
                let plain = powers(&exponents).reciprocal();
                let wavelength = plain.reciprocal() * TAU;
                let divided = (&plain / *factor).where_self(&wavelength.gt(original / low), &plain);
                let smooth = (wavelength.reciprocal() * *original - *low) / (high - low);
                let smoothed: Tensor = (1.0 - &smooth) * &divided / *factor + smooth * &divided;
                let medium = wavelength.ge(original / high).logical_and(&wavelength.le(original / low));
                smoothed.where_self(&medium, &divided)
            }
            RopeScaling::Proportional { factor, rotated } => {
                let rotating = powers(&series(*rotated)).reciprocal();
                let still = Tensor::zeros([self.width / 2 - rotated], (Kind::Float, device));
                Tensor::cat(&[rotating, still], 0) / *factor
            }
            RopeScaling::Axial { axes } => {
                let width = self.width / axes;
                let exponents = Tensor::arange_start_step(0, width, 2, (Kind::Float, device)) / width as f64;
                powers(&exponents).reciprocal().repeat([*axes])
            }
        }
    }

    fn attention_factor(&self) -> f64 {
        match self.scaling {
            RopeScaling::Yarn { attention_factor, .. } | RopeScaling::Long { attention_factor, .. } => attention_factor,
            _ => 1.0,
        }
    }

    /// The length up to which the frequencies do not depend on the input.
    fn fixed_up_to(&self) -> Option<i64> {
        match self.scaling {
            RopeScaling::Dynamic { max_positions, .. } => Some(max_positions),
            RopeScaling::Long { original, .. } => Some(original),
            _ => None,
        }
    }
}

/// The rotations of a model: frequencies that are computed once where they do not depend on the input.
#[derive(Debug)]
pub struct Rope {
    spec: RopeSpec,
    frequencies: Weight,
}

impl Rope {
    /// The rotations of `spec` on `device`.
    pub fn new(spec: RopeSpec, device: Device) -> Self {
        let frequencies = Weight::new(spec.frequencies(0, device));
        Self { spec, frequencies }
    }

    /// The rotation of tokens at `positions` (`[batch or 1, tokens]`, or `[axes, batch or 1, tokens]` where they have
    /// several; one stands for all), in `kind`.
    pub fn at(&self, positions: &Tensor, kind: Kind) -> Rotation {
        let of_pairs = (positions.dim() == 3).then(|| {
            let axes = Tensor::from_slice(&self.spec.axes).to_device(positions.device());
            positions.index_select(0, &axes).permute([1, 2, 0])
        });
        let rotation = |frequencies: &Tensor| {
            let positions = of_pairs.as_ref().unwrap_or(positions);
            Rotation::new(positions, frequencies, self.spec.attention_factor(), self.spec.pairing, kind)
        };
        let length = self.spec.fixed_up_to().map(|fixed| (fixed, positions.max().int64_value(&[]) + 1));
        match length {
            Some((fixed, length)) if length > fixed => rotation(&self.spec.frequencies(length, positions.device())),
            _ => rotation(&self.frequencies),
        }
    }
}
