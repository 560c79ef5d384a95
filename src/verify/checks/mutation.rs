use std::collections::BTreeMap;

use tch::Tensor;

use super::forward::comparison;
use super::stored::copy;
use crate::verify::{Outcome, Status, Subject};
use crate::weights::{TensorSource, is_float};
use crate::{Error, Result};

/// Mutations of each sort that are tried per case, evenly spread over the names.
const MOST: usize = 12;

/// Swaps pairs of tensors and drops biases, one at a time: `forward` must fail every time, or it proves nothing.
///
/// Tensors that the case lists as moving no output are left out, and swaps of tensors of which only
/// the sum or the product counts.
pub fn mutation(subject: &Subject) -> Result<Outcome> {
    let stored = subject.case.source()?.into_memory()?;
    let insensitive = &subject.case.about.insensitive;
    let names: Vec<&String> = stored
        .iter()
        .filter(|(name, tensor)| is_float(tensor.kind()) && !insensitive.contains(name))
        .map(|(name, _)| name)
        .collect();

    let model = subject.model()?;
    let mut of_shape: BTreeMap<Vec<i64>, Vec<&String>> = BTreeMap::new();
    names.iter().for_each(|name| of_shape.entry(stored[*name].size()).or_default().push(name));
    let swaps = of_shape.values().flat_map(|group| group.windows(2)).map(|pair| (pair[0], pair[1]));
    let swaps: Vec<_> = swaps.filter(|(first, second)| !model.state().commute(first, second)).collect();
    let biases: Vec<_> = names.iter().filter(|name| name.ends_with("bias")).collect();

    let (mut noticed, mut unnoticed) = (0, Vec::new());
    for (first, second) in spread(&swaps) {
        let mut tensors = copy(&stored);
        tensors.insert((*first).clone(), stored[*second].shallow_clone());
        tensors.insert((*second).clone(), stored[*first].shallow_clone());
        match fails(subject, tensors)? {
            true => noticed += 1,
            false => unnoticed.push(format!("swapping `{first}` and `{second}`")),
        }
    }
    for name in spread(&biases) {
        let mut tensors = copy(&stored);
        tensors.insert((**name).clone(), stored[**name].zeros_like());
        match fails(subject, tensors)? {
            true => noticed += 1,
            false => unnoticed.push(format!("dropping `{name}`")),
        }
    }
    Ok(match (noticed, &unnoticed[..]) {
        (0, []) => Outcome::of(Status::Skipped, "no two tensors have one shape, and there is no bias"),
        (_, []) => Outcome::of(Status::Passed, format!("{noticed} mutations, all noticed")),
        (_, unnoticed) => Outcome::of(Status::Failed, format!("`forward` passes after {}", unnoticed.join(", after "))),
    })
}

/// Up to [`MOST`] of `all`, evenly spread.
fn spread<T>(all: &[T]) -> impl Iterator<Item = &T> {
    let count = all.len().min(MOST);
    (0..count).map(move |index| &all[index * all.len() / count])
}

/// Whether `forward` fails with these weights.
fn fails(subject: &Subject, tensors: BTreeMap<String, Tensor>) -> Result<bool> {
    match subject.model_from(TensorSource::Memory(tensors), subject.options()) {
        Ok(model) => Ok(!comparison(subject, &model)?.passed()),
        Err(Error::Weights(_)) => Ok(true),
        Err(error) => Err(error),
    }
}
