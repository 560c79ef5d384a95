//! Comparing tensors with what Python computed.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::weights::is_float;

/// How many times Python's own rounding noise an output may be off.
///
/// The noise is the largest difference between Python in float32 and in float64; two float32 computations that round
/// in another order are each about that far from the exact result.
pub const NOISE_MULTIPLE: f64 = 8.0;
/// Below this part of an output's largest magnitude nothing counts as a difference: a few units in the last place.
pub const FLOOR: f64 = 1e-6;
/// What an output may be off, relative to its largest magnitude, where the case does not state the noise.
pub const WITHOUT_NOISE: f64 = 2e-5;

/// How far an output is from the expected one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// The output's dotted name.
    pub output: String,
    /// Largest absolute difference of an element.
    pub error: f64,
    /// What would have been tolerated.
    pub tolerance: f64,
}

impl Difference {
    /// Whether the difference is tolerated.
    pub fn is_tolerated(&self) -> bool {
        self.error <= self.tolerance
    }

    /// How much of the tolerance is used; 1 is the limit.
    pub fn used(&self) -> f64 {
        if self.error == 0.0 { 0.0 } else { self.error / self.tolerance }
    }
}

/// What one output may be off.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// Python's noise on this output, where the case states it.
    pub noise: Option<f64>,
    /// Tolerance relative to the largest magnitude that replaces the calibrated one.
    pub relative: Option<f64>,
    /// What the calibrated tolerance is multiplied by.
    pub factor: f64,
}

impl Tolerance {
    /// The absolute tolerance for an output whose largest magnitude is `scale`.
    pub fn absolute(&self, scale: f64) -> f64 {
        match (self.relative, self.noise) {
            (Some(relative), _) => relative * scale,
            (None, Some(noise)) => self.factor * (NOISE_MULTIPLE * noise).max(FLOOR * scale),
            (None, None) => self.factor * WITHOUT_NOISE * scale,
        }
    }
}

/// The largest finite magnitude of a tensor; 0 where there is none. The lowest number, which stands for minus infinity
/// where something is masked, does not count.
pub fn scale(tensor: &Tensor) -> f64 {
    let values = tensor.to_kind(Kind::Double).abs();
    let finite = values.masked_select(&values.lt(f64::from(f32::MAX)));
    if finite.numel() == 0 { 0.0 } else { finite.max().double_value(&[]) }
}

/// Largest absolute difference between two tensors; equal infinities are equal.
///
/// # Errors
/// A sentence that says why they cannot be compared: shapes or kinds differ, or there is a NaN.
pub fn difference(actual: &Tensor, expected: &Tensor) -> Result<f64, String> {
    if actual.size() != expected.size() {
        return Err(format!("has shape {:?}, Python's has {:?}", actual.size(), expected.size()));
    }
    if is_float(actual.kind()) != is_float(expected.kind()) {
        return Err(format!("is {:?}, Python's is {:?}", actual.kind(), expected.kind()));
    }
    if expected.numel() == 0 {
        return Ok(0.0);
    }
    let (actual, expected) = (wide(actual), wide(expected));
    for (tensor, whose) in [(&actual, "has"), (&expected, "has in Python")] {
        let count = tensor.isnan().sum(Kind::Int64).int64_value(&[]);
        if count > 0 {
            return Err(format!("{whose} {count} NaN of {} elements", tensor.numel()));
        }
    }
    let gap = (&actual - &expected).abs().masked_fill(&actual.eq_tensor(&expected), 0.0);
    Ok(gap.max().double_value(&[]))
}

fn wide(tensor: &Tensor) -> Tensor {
    tensor.detach().to_device(tch::Device::Cpu).to_kind(Kind::Double)
}

/// Compares one output; integers and booleans must be equal.
///
/// # Errors
/// As [`difference`].
pub fn compare(output: &str, actual: &Tensor, expected: &Tensor, tolerance: Tolerance) -> Result<Difference, String> {
    let error = difference(actual, expected).map_err(|why| format!("`{output}` {why}"))?;
    let tolerance = if is_float(expected.kind()) { tolerance.absolute(scale(expected)) } else { 0.0 };
    Ok(Difference { output: output.to_owned(), error, tolerance })
}

/// Several compared outputs.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// The difference that uses most of its tolerance.
    pub worst: Option<Difference>,
    /// What is wrong, a sentence each.
    pub failures: Vec<String>,
    /// The outputs that failed, in order.
    pub failed: Vec<String>,
}

impl Comparison {
    /// Adds one output's result.
    pub fn add(&mut self, output: &str, compared: Result<Difference, String>) {
        match compared {
            Ok(difference) => {
                if !difference.is_tolerated() {
                    let Difference { error, tolerance, .. } = difference;
                    self.fail(output, format!("`{output}` is off by {error:.3e}, tolerated are {tolerance:.3e}"));
                }
                if self.worst.as_ref().is_none_or(|worst| difference.used() > worst.used()) {
                    self.worst = Some(difference);
                }
            }
            Err(why) => self.fail(output, why),
        }
    }

    /// Adds a failure that is no difference of numbers.
    pub fn fail(&mut self, output: &str, why: String) {
        self.failures.push(why);
        self.failed.push(output.to_owned());
    }

    /// Takes in what another comparison found, named after what it compared.
    pub fn absorb(&mut self, name: &str, other: Self) {
        self.failures.extend(other.failures.into_iter().map(|why| format!("{name}: {why}")));
        self.failed.extend(other.failed);
        if let Some(mut difference) = other.worst
            && self.worst.as_ref().is_none_or(|worst| difference.used() > worst.used())
        {
            difference.output = format!("{name}: {}", difference.output);
            self.worst = Some(difference);
        }
    }

    /// Whether everything was tolerated.
    pub fn passed(&self) -> bool {
        self.failures.is_empty()
    }

    /// The first recorded intermediate that diverged, in the order of computation.
    pub fn first_divergence(&self) -> Option<&str> {
        self.failed.iter().filter_map(|name| Some((trace_order(name)?, name))).min().map(|(_, name)| name.as_str())
    }
}

/// Where an intermediate such as `encoder_hidden_states.3` stands in the order of computation; `None` for outputs that
/// are no intermediates. The attention weights of layer `n` come between hidden states `n` and `n + 1`.
pub fn trace_order(name: &str) -> Option<(bool, u64, bool)> {
    let (list, index) = name.rsplit_once('.')?;
    let attention = list.ends_with("attentions");
    if !attention && !list.ends_with("hidden_states") {
        return None;
    }
    Some((list.contains("decoder_") || list.contains("cross_"), index.parse().ok()?, attention))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXACT: Tolerance = Tolerance { noise: Some(0.0), relative: None, factor: 1.0 };

    fn compared(actual: &[f32], expected: &[f32]) -> Result<Difference, String> {
        compare("logits", &Tensor::from_slice(actual), &Tensor::from_slice(expected), EXACT)
    }

    #[test]
    fn nan_never_passes_not_even_against_nan() {
        assert!(compared(&[1.0, f32::NAN], &[1.0, 2.0]).is_err());
        assert!(compared(&[1.0, 2.0], &[1.0, f32::NAN]).is_err());
        assert!(compared(&[f32::NAN], &[f32::NAN]).is_err());
    }

    #[test]
    fn equal_infinities_are_equal_and_others_are_not() {
        let infinite = f32::INFINITY;
        assert!(compared(&[infinite, 1.0], &[infinite, 1.0]).is_ok_and(|difference| difference.is_tolerated()));
        assert!(compared(&[-infinite, 1.0], &[infinite, 1.0]).is_ok_and(|difference| !difference.is_tolerated()));
        assert!(compared(&[3.0, 1.0], &[infinite, 1.0]).is_ok_and(|difference| !difference.is_tolerated()));
        assert!(compared(&[infinite, 1.0], &[3.0, 1.0]).is_ok_and(|difference| !difference.is_tolerated()));
    }

    #[test]
    fn shapes_must_be_the_same_even_where_they_broadcast() {
        let (one, two) = (Tensor::ones([1, 3], (Kind::Float, tch::Device::Cpu)), Tensor::from_slice(&[1f32, 1.0, 1.0]));
        assert!(difference(&one, &two).is_err_and(|why| why.contains("shape")));
    }

    #[test]
    fn integers_must_be_equal() {
        let loose = Tolerance { relative: Some(1.0), ..EXACT };
        let compared = compare("ids", &Tensor::from_slice(&[1i64, 2]), &Tensor::from_slice(&[1i64, 3]), loose);
        assert!(compared.is_ok_and(|difference| !difference.is_tolerated()));
        assert!(difference(&Tensor::from_slice(&[1i64]), &Tensor::from_slice(&[1f32])).is_err());
    }

    #[test]
    fn tolerance_is_the_noise_but_at_least_the_floor() {
        let noisy = Tolerance { noise: Some(1e-3), relative: None, factor: 1.0 };
        assert_eq!(noisy.absolute(2.0), NOISE_MULTIPLE * 1e-3);
        assert_eq!(Tolerance { noise: Some(0.0), ..noisy }.absolute(2.0), 2.0 * FLOOR);
        assert_eq!(Tolerance { noise: None, ..noisy }.absolute(2.0), 2.0 * WITHOUT_NOISE);
        assert_eq!(Tolerance { relative: Some(0.5), ..noisy }.absolute(2.0), 1.0);
    }

    #[test]
    fn first_divergence_follows_the_computation() {
        let mut comparison = Comparison::default();
        for name in ["logits", "hidden_states.10", "hidden_states.2", "attentions.2", "pooler_output"] {
            comparison.fail(name, String::new());
        }
        assert_eq!(comparison.first_divergence(), Some("hidden_states.2"));
        let mut both = Comparison::default();
        for name in ["decoder_hidden_states.0", "encoder_attentions.1"] {
            both.fail(name, String::new());
        }
        assert_eq!(both.first_divergence(), Some("encoder_attentions.1"));
    }
}
