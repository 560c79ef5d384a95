use tch::Kind;

use super::Check;
use super::ladder::half_tolerance;
use crate::verify::compare::{Comparison, compare, trace_order};
use crate::verify::{Outcome, Subject, Tolerance};
use crate::{Model, Outputs, Result};

/// Every output of the case, padded positions included.
pub fn forward(subject: &Subject) -> Result<Outcome> {
    if subject.case.outputs.is_empty() {
        return Outcome::skipped("the case has only a generation");
    }
    Ok(comparison(subject, &subject.model()?)?.into())
}

/// The comparison behind [`forward`] with a model that is there already.
pub fn comparison(subject: &Subject, model: &Model) -> Result<Comparison> {
    let outputs = model.forward(&subject.case.inputs())?;
    let mut comparison = Comparison::default();
    for name in subject.case.outputs.keys() {
        add(subject, Check::Forward, model, &outputs, name, &mut comparison);
    }
    Ok(comparison)
}

fn add(subject: &Subject, check: Check, model: &Model, outputs: &Outputs, name: &str, comparison: &mut Comparison) {
    let expected = &subject.case.outputs[name];
    let Some(actual) = outputs.get(name) else {
        let produced: Vec<_> = outputs.names().collect();
        return comparison.fail(name, format!("`{name}` is not produced; there are {}", produced.join(", ")));
    };
    let mut tolerance = subject.tolerance(check, name);
    if model.kind() != Kind::Float && tolerance.relative.is_none() {
        let relative = half_tolerance(model) * tolerance.factor;
        tolerance = Tolerance { relative: Some(relative), ..tolerance };
    }
    comparison.add(name, compare(name, actual, expected, tolerance));
}

/// Recorded intermediates, as many as Python has, each equal.
pub fn trace(subject: &Subject) -> Result<Outcome> {
    if subject.case.traced().next().is_none() {
        return Outcome::skipped("the case records no intermediates");
    }
    let model = subject.model()?;
    let outputs = model.forward(&subject.case.inputs())?;
    let mut comparison = Comparison::default();
    let mut traced: Vec<_> = subject.case.traced().collect();
    traced.sort_by_key(|name| trace_order(name));
    for name in &traced {
        add(subject, Check::Trace, &model, &outputs, name, &mut comparison);
    }
    let list = |name: &str| name.rsplit_once('.').map(|(list, _)| list.to_owned());
    for name in outputs.names().filter(|name| trace_order(name).is_some()) {
        let known = traced.iter().any(|traced| list(traced) == list(name));
        if known && !traced.iter().any(|traced| *traced == name) {
            comparison.fail(name, format!("`{name}` is one more than Python has"));
        }
    }
    Ok(comparison.into())
}
