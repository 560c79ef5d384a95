use tch::{Device, Kind};

use crate::verify::compare::{Comparison, Tolerance, compare};
use crate::verify::{Outcome, Subject, checks::Check};
use crate::weights::LoadOptions;
use crate::{Model, Result};

/// Rounding errors of a half precision, in units of its spacing, per square root of the number of matrices.
///
/// Each matrix rounds its weights, inputs and outputs once; the errors of independent roundings add up like a random
/// walk, so they grow with the root of how many matrices stand one after the other.
const ROUNDINGS: f64 = 4.0;

/// How much further than the CPU another device may be from Python: it sums in another order, and its
/// transcendental functions are off by a few units more.
pub const DEVICE_FACTOR: f64 = 2.0;

/// The spacing of numbers just above 1.
fn spacing(kind: Kind) -> f64 {
    match kind {
        Kind::BFloat16 => 2f64.powi(-7),
        Kind::Half => 2f64.powi(-10),
        Kind::Double => f64::EPSILON,
        _ => f64::from(f32::EPSILON),
    }
}

/// What a model in half precision may be off, relative to an output's largest magnitude.
pub fn half_tolerance(model: &Model) -> f64 {
    let matrices = model.state().tensors().values().filter(|tensor| tensor.dim() >= 2).count();
    ROUNDINGS * spacing(model.kind()) * (matrices.max(1) as f64).sqrt()
}

/// bfloat16 and float16 against the reference in float32.
pub fn dtype(subject: &Subject) -> Result<Outcome> {
    let mut found = Comparison::default();
    for kind in [Kind::BFloat16, Kind::Half] {
        let options = LoadOptions { kind: Some(kind), ..subject.options() };
        let model = subject.model_from(subject.case.source()?, options)?;
        let outputs = model.forward(&subject.case.inputs())?;
        let mut comparison = Comparison::default();
        for (name, expected) in &subject.case.outputs {
            let relative =
                subject.setting.tolerance.unwrap_or(half_tolerance(&model) * subject.factor(Check::Dtype, name));
            let tolerance = Tolerance { noise: None, relative: Some(relative), factor: 1.0 };
            match outputs.get(name) {
                Some(actual) => comparison.add(name, compare(name, actual, expected, tolerance)),
                None => comparison.fail(name, format!("`{name}` is not produced")),
            }
        }
        found.absorb(&format!("{kind:?}"), comparison);
    }
    Ok(found.into())
}

/// The device of the setting against the CPU, both in Rust.
pub fn device(subject: &Subject) -> Result<Outcome> {
    if subject.setting.device == Device::Cpu {
        return Outcome::skipped("the CPU is what other devices are compared with");
    }
    let inputs = subject.case.inputs();
    let cpu = subject.model_from(subject.case.source()?, LoadOptions { device: Device::Cpu, ..subject.options() })?;
    let (reference, outputs) = (cpu.forward(&inputs)?, subject.model()?.forward(&inputs)?);
    let mut comparison = Comparison::default();
    for (name, expected) in reference.iter() {
        let tolerance = subject.tolerance(Check::Device, name);
        let tolerance = Tolerance { factor: DEVICE_FACTOR * tolerance.factor, ..tolerance };
        match outputs.get(name) {
            Some(actual) => comparison.add(name, compare(name, actual, expected, tolerance)),
            None => comparison.fail(name, format!("`{name}` is not produced")),
        }
    }
    Ok(comparison.into())
}
