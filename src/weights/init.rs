//! How parameters that a checkpoint lacks are drawn.

use std::collections::BTreeMap;

use tch::{Kind, Tensor};

use super::seeded::draw;

/// How the values of a new parameter come about.
///
/// "Inputs" are how many numbers a matrix or a kernel makes one number of, "outputs" how many it makes of one; a vector
/// takes those of the matrix beside it.
#[derive(Debug, Clone, Copy)]
pub enum Init {
    /// All the same.
    Constant(f64),
    /// Normal with this standard deviation.
    Normal(f64),
    /// Normal with this standard deviation before values are confined to `bound` on both sides of 0.
    Truncated {
        /// The standard deviation.
        deviation: f64,
        /// The largest magnitude.
        bound: f64,
    },
    /// Uniform from the first to the second.
    Uniform(f64, f64),
    /// The logarithm of what is uniform from the first to the second.
    LogUniform(f64, f64),
    /// Normal with this over the root of the inputs as the standard deviation.
    NormalByInputs(f64),
    /// Normal with this over the root of the outputs as the standard deviation.
    NormalByOutputs(f64),
    /// As [`Init::NormalByInputs`] of 1, widened as if it were confined to two standard deviations, and confined to 2.
    Lecun,
    /// Uniform up to this over the root of the inputs, on both sides of 0. 0 beside the kernel of a transposed convolution.
    UniformByInputs(f64),
    /// Uniform up to this times the root of 6 over inputs and outputs, on both sides of 0 (Glorot and Bengio, 2010).
    Xavier(f64),
    /// The length of each slice of the directions beside it.
    Magnitudes,
    /// Logarithms of 1, 2, … in every row.
    LogCounts,
    /// What the softplus turns into steps that are log-uniform from `least` to `most`, and at least `floor`.
    Steps {
        /// The smallest step.
        least: f64,
        /// The largest step.
        most: f64,
        /// What smaller steps are raised to.
        floor: f64,
    },
    /// The vectors of positions 0, 1, … that a function of positions and width gives.
    Positions(fn(&Tensor, i64) -> Tensor),
}

/// How the new parameters of one architecture come about, by their names.
#[derive(Debug, Clone)]
pub struct Inits {
    /// The standard deviation of matrices that nothing else is said of.
    deviation: f64,
    /// What vectors called `weight` are filled with: the scale of a norm.
    scale: f64,
    /// `(end of a name, how)`: the first that fits counts.
    rules: Vec<(&'static str, Init)>,
    /// Parts with rules of their own: `(segment of a name, rules)`.
    parts: Vec<(&'static str, Inits)>,
}

impl Default for Inits {
    fn default() -> Self {
        Self::new(0.02)
    }
}

impl Inits {
    /// Matrices are normal with that standard deviation, scales of norms 1, biases 0.
    pub fn new(deviation: f64) -> Self {
        Self { deviation, scale: 1.0, rules: Vec::new(), parts: Vec::new() }
    }

    /// The same, where scales of norms start from `scale`.
    pub fn scale(self, scale: f64) -> Self {
        Self { scale, ..self }
    }

    /// The same with rules before those that are there: `(end of a name, how)`, of which the first that fits counts.
    pub fn rules(mut self, rules: &[(&'static str, Init)]) -> Self {
        self.rules.splice(0..0, rules.iter().copied());
        self
    }

    /// The same, where parameters with `segment` in their name follow the rules of `part`.
    pub fn part(mut self, segment: &'static str, part: Self) -> Self {
        self.parts.push((segment, part));
        self
    }

    /// How the parameter `name` of so many dimensions comes about, and whether no rule but the common one says so.
    pub fn of(&self, name: &str, dimensions: usize) -> (Init, bool) {
        let within = |segment: &&str| name.split('.').any(|part| part == *segment);
        if let Some((_, part)) = self.parts.iter().find(|(segment, _)| within(segment)) {
            return part.of(name, dimensions);
        }
        let fits = |end: &&str| {
            let rest = name.strip_suffix(*end);
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        match self.rules.iter().find(|(end, _)| fits(end)) {
            Some((_, init)) => (*init, false),
            None => (self.common(name, dimensions), true),
        }
    }

    fn common(&self, name: &str, dimensions: usize) -> Init {
        let last = name.rsplit('.').next().unwrap_or(name);
        match last {
            "original0" | "weight_g" => Init::Magnitudes,
            "original1" | "weight_v" => Init::UniformByInputs(1.0),
            "running_mean" | "mask_token" | "relative_position_bias_table" => Init::Constant(0.0),
            "running_var" => Init::Constant(1.0),
            // The gates of a long short-term memory.
            _ if last.starts_with("weight_ih_") || last.starts_with("weight_hh_") => Init::Xavier(1.0),
            _ if last.starts_with("bias_") || last.ends_with("bias") || last == "beta" => Init::Constant(0.0),
            "weight" | "gamma" if dimensions < 2 => Init::Constant(self.scale),
            _ => Init::Normal(self.deviation),
        }
    }
}

/// What a new parameter is drawn from.
#[derive(Debug)]
pub(super) struct Drawing<'a> {
    /// The seed of all.
    pub seed: u64,
    /// Its stored name, and its shape.
    pub name: &'a str,
    pub shape: &'a [i64],
    /// Names and shapes that are known already.
    pub known: &'a BTreeMap<String, Vec<i64>>,
}

impl Drawing<'_> {
    /// The values, in double precision on the CPU.
    pub fn values(&self, init: Init) -> Tensor {
        match init {
            Init::Constant(value) => Tensor::full(self.shape, value, (Kind::Double, tch::Device::Cpu)),
            Init::Normal(deviation) => self.normal(deviation, f64::INFINITY),
            Init::Truncated { deviation, bound } => self.normal(deviation, bound / deviation),
            Init::Uniform(low, high) => self.uniform(low, high),
            Init::LogUniform(low, high) => self.uniform(low, high).log(),
            Init::NormalByInputs(gain) => self.normal(gain / self.fans().0.sqrt(), f64::INFINITY),
            Init::NormalByOutputs(gain) => self.normal(gain / self.fans().1.sqrt(), f64::INFINITY),
            // A normal distribution within two of its standard deviations has 0.8796 of it. Python widens by that, but then
            // confines to 2 itself.
            Init::Lecun => {
                let deviation = 1.0 / (0.879_625_661_034_239_8 * self.fans().0.sqrt());
                self.normal(deviation, 2.0 / deviation)
            }
            Init::UniformByInputs(gain) => {
                let bound = if self.beside_transposed() { 0.0 } else { gain / self.fans().0.sqrt() };
                self.uniform(-bound, bound)
            }
            Init::Xavier(gain) => {
                let (inputs, outputs) = self.fans();
                let bound = gain * (6.0 / (inputs + outputs)).sqrt();
                self.uniform(-bound, bound)
            }
            Init::Magnitudes => self.magnitudes(),
            Init::LogCounts => {
                let count = self.shape.last().copied().unwrap_or(1);
                let counts = Tensor::arange_start(1, count + 1, (Kind::Double, tch::Device::Cpu));
                counts.log().expand(self.shape, false).contiguous()
            }
            Init::Steps { least, most, floor } => {
                let steps = self.uniform(least.ln(), most.ln()).exp().clamp_min(floor);
                &steps + (-(-&steps).expm1()).log()
            }
            Init::Positions(vectors) => {
                let count = self.shape.first().copied().unwrap_or(0);
                let positions = Tensor::arange(count, (Kind::Int64, tch::Device::Cpu));
                vectors(&positions, self.shape.last().copied().unwrap_or(0)).to_kind(Kind::Double)
            }
        }
    }

    fn uniform(&self, low: f64, high: f64) -> Tensor {
        draw(self.seed, self.name, self.shape, low, high)
    }

    /// Normal values by the inverse of the distribution, within `most` standard deviations.
    fn normal(&self, deviation: f64, most: f64) -> Tensor {
        // Half of a step of the generator: its least value is 0, which has no inverse.
        const HALF: f64 = 0.5 / (1u64 << 24) as f64;
        let reach = Tensor::from(most / std::f64::consts::SQRT_2).erf().double_value(&[]);
        let centred = (self.uniform(0.0, 1.0) + HALF) * 2.0 - 1.0;
        (centred * reach).erfinv() * (deviation * std::f64::consts::SQRT_2)
    }

    /// Inputs and outputs of the matrix or kernel, or of the one beside a vector.
    fn fans(&self) -> (f64, f64) {
        let shape = if self.shape.len() > 1 { self.shape } else { self.beside().unwrap_or(self.shape) };
        let kernel: i64 = shape.iter().skip(2).product();
        let size = |at: usize| shape.get(at).copied().unwrap_or(1) as f64 * kernel as f64;
        (size(1).max(1.0), size(0).max(1.0))
    }

    /// The shape of the matrix or kernel in the same place.
    fn beside(&self) -> Option<&[i64]> {
        let place = self.name.rsplit_once('.').map_or("", |(place, _)| place);
        let names = ["weight", "parametrizations.weight.original1", "weight_v", "original1"];
        let known = |name: &&str| {
            self.known.get(&if place.is_empty() { (*name).to_owned() } else { format!("{place}.{name}") })
        };
        names.iter().find_map(known).map(Vec::as_slice)
    }

    fn beside_transposed(&self) -> bool {
        matches!((self.shape, self.beside()), ([outputs], Some([first, ..])) if outputs != first)
    }

    /// The directions are drawn again, and measured.
    fn magnitudes(&self) -> Tensor {
        let place = self.name.rsplit_once('.').map_or("", |(place, _)| place);
        let last = if self.name.ends_with("weight_g") { "weight_v" } else { "original1" };
        let name = format!("{place}.{last}");
        let Some(shape) = self.known.get(&name) else { return self.uniform(1.0, 1.0) };
        let directions = Drawing { seed: self.seed, name: &name, shape, known: self.known };
        let along: Vec<i64> = (0..).zip(self.shape).filter(|(_, size)| **size == 1).map(|(dim, _)| dim).collect();
        let squares = directions.values(Init::UniformByInputs(1.0)).square();
        squares.sum_dim_intlist(&along[..], true, None::<Kind>).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(init: Init, name: &str, shape: &[i64]) -> Tensor {
        let known = BTreeMap::from([("a.weight".to_owned(), vec![30, 200])]);
        Drawing { seed: 3, name, shape, known: &known }.values(init)
    }

    fn about(values: &Tensor) -> (f64, f64, f64) {
        let number = |tensor: Tensor| tensor.double_value(&[]);
        (number(values.mean(Kind::Double)), number(values.std(true)), number(values.abs().max()))
    }

    #[test]
    fn values_have_the_mean_deviation_and_reach_of_their_distribution() {
        let shape = [300, 200];
        let third = 3f64.sqrt();
        for (init, mean, deviation, reach) in [
            (Init::Normal(0.02), 0.0, 0.02, 0.11),
            (Init::Truncated { deviation: 0.02, bound: 0.04 }, 0.0, 0.02 * 0.8796, 0.04),
            (Init::Uniform(0.0, 1.0), 0.5, 0.2887, 1.0),
            (Init::NormalByInputs(2.0), 0.0, 2.0 / 200f64.sqrt(), 0.8),
            (Init::NormalByOutputs(2.0), 0.0, 2.0 / 300f64.sqrt(), 0.65),
            (Init::Lecun, 0.0, 1.0 / 0.8796 / 200f64.sqrt(), 0.44),
            (Init::UniformByInputs(third), 0.0, 1.0 / 200f64.sqrt(), third / 200f64.sqrt()),
            (Init::Xavier(1.0), 0.0, (2.0 / 500f64).sqrt(), (6.0 / 500f64).sqrt()),
        ] {
            let found = about(&values(init, "a", &shape));
            assert!((found.0 - mean).abs() < 5.0 * deviation / 60_000f64.sqrt(), "{init:?}: {found:?}");
            assert!((found.1 / deviation - 1.0).abs() < 0.015, "{init:?}: {found:?}");
            assert!(found.2 <= reach * 1.001 && found.2 > reach * 0.7, "{init:?}: {found:?}");
        }
    }

    #[test]
    fn a_vector_takes_the_inputs_of_the_matrix_beside_it() {
        let (_, deviation, reach) = about(&values(Init::UniformByInputs(1.0), "a.bias", &[30]));
        assert!(deviation > 0.03 && reach < 1.0 / 200f64.sqrt());
        assert_eq!(about(&values(Init::UniformByInputs(1.0), "a.bias", &[200])).2, 0.0);
    }

    #[test]
    fn the_seed_and_the_name_decide() {
        let draw =
            |seed, name| Drawing { seed, name, shape: &[4, 4], known: &BTreeMap::new() }.values(Init::Normal(1.0));
        assert!(draw(1, "a").equal(&draw(1, "a")));
        assert!(!draw(1, "a").equal(&draw(2, "a")) && !draw(1, "a").equal(&draw(1, "b")));
    }

    #[test]
    fn the_first_rule_whose_end_fits_counts_and_parts_have_their_own() {
        let inits = Inits::new(0.5)
            .rules(&[("attn.out.weight", Init::Normal(2.0)), ("out.weight", Init::Normal(3.0))])
            .part("tower", Inits::new(0.1).scale(0.0));
        let of = |name: &str, dimensions| format!("{:?}", inits.of(name, dimensions));
        assert_eq!(of("h.0.attn.out.weight", 2), "(Normal(2.0), false)");
        assert_eq!(of("mlp.out.weight", 2), "(Normal(3.0), false)");
        assert_eq!(of("mlp.about.weight", 2), "(Normal(0.5), true)");
        assert_eq!(of("norm.weight", 1), "(Constant(1.0), true)");
        assert_eq!(of("tower.norm.weight", 1), "(Constant(0.0), true)");
        assert_eq!(of("tower.out.weight", 2), "(Normal(0.1), true)");
    }
}
