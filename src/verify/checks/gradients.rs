use tch::{Kind, Tensor};

use crate::error::catch;
use crate::verify::compare::{Comparison, Difference, NOISE_MULTIPLE};
use crate::verify::{Outcome, Subject, checks::Check};
use crate::weights::{LoadOptions, draw, is_float};
use crate::{Error, Outputs, Result};

/// Below this part of the largest gradient of the case nothing counts as a difference. Backward passes are twice as
/// long as forward ones, and sum over all tokens.
const FLOOR: f64 = 2e-6;
/// The same where the case does not state Python's noise.
const WITHOUT_NOISE: f64 = 4e-5;

/// The gradient of every parameter, of one scalar made of all outputs.
pub fn gradients(subject: &Subject) -> Result<Outcome> {
    let Some(expected) = &subject.case.gradients else { return Outcome::skipped("the case has no gradients") };
    let about = &subject.case.about;
    let options = LoadOptions { trainable: true, ..subject.options() };
    let model = subject.model_from(subject.case.source()?, options)?;
    let outputs = model.forward(&subject.case.inputs())?;
    let total = scalar(subject, &outputs)?;
    catch(|| {
        total.backward();
        Ok(())
    })?;
    let found = model.state().gradients();
    let rows = Vec::<Vec<f64>>::try_from(expected.to_kind(Kind::Double))
        .map_err(|error| Error::case(&subject.case.directory, error.to_string()))?;
    let largest = rows.iter().map(|row| row[1]).fold(0.0, f64::max);

    let calibrated = match (about.gradient_noise, subject.setting.tolerance) {
        (_, Some(relative)) => relative,
        (Some(noise), None) => (NOISE_MULTIPLE * noise).max(FLOOR),
        (None, None) => WITHOUT_NOISE,
    } * largest;

    let mut comparison = Comparison::default();
    for (name, row) in subject.case.gradient_names()?.iter().zip(&rows) {
        if !model.state().names().any(|known| known == name) {
            comparison.fail(name, format!("`{name}` is no parameter"));
            continue;
        }
        let (product, norm) = match found.get(name) {
            Some(gradient) => {
                let gradient = gradient.to_device(tch::Device::Cpu).to_kind(Kind::Double);
                let factors = draw(about.seed, &format!("gradient.{name}"), &gradient.size(), -1.0, 1.0);
                ((&gradient * factors).sum(Kind::Double).double_value(&[]), gradient.norm().double_value(&[]))
            }
            None => (0.0, 0.0),
        };
        let tolerance = calibrated * subject.factor(Check::Gradients, name);
        for (what, value, expected) in [("product", product, row[0]), ("norm", norm, row[1])] {
            let error = (value - expected).abs();
            let difference = Difference { output: format!("{what} of {name}"), error, tolerance };
            let compared = if error.is_nan() { Err(format!("{what} of `{name}` is NaN")) } else { Ok(difference) };
            comparison.add(name, compared);
        }
    }
    Ok(comparison.into())
}

/// The sum of the outputs, each multiplied with values drawn for its name; intermediates do not take part.
fn scalar(subject: &Subject, outputs: &Outputs) -> Result<Tensor> {
    let mut total = Tensor::zeros([], (Kind::Double, subject.setting.device));
    for name in subject.case.outputs.keys().filter(|name| !is_hidden(name)) {
        let value =
            outputs.get(name).ok_or_else(|| Error::case(&subject.case.directory, format!("no output `{name}`")))?;
        if is_float(value.kind()) {
            let factors = draw(subject.case.about.seed, &format!("output.{name}"), &value.size(), -1.0, 1.0);
            let product = value * factors.to_kind(value.kind()).to_device(value.device());
            let finite = product.where_self(&value.isfinite(), &product.zeros_like());
            total += finite.sum(value.kind()).to_kind(Kind::Double);
        }
    }
    Ok(total)
}

/// Whether an output is or belongs to hidden states or attention weights, those of a part included: they take no part
/// in the scalar.
fn is_hidden(name: &str) -> bool {
    name.split('.').any(|part| part.ends_with("hidden_states") || part.ends_with("attentions"))
}
