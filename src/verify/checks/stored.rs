//! Checks on what is stored: names and shapes of the checkpoint, and saving.

use std::collections::BTreeMap;

use tch::Tensor;

use crate::auto;
use crate::verify::{Outcome, Status, Subject};
use crate::weights::{TensorSource, Weights, WeightsReport, is_float};
use crate::{Error, Result};

/// Strict loading of the case's weights, and of weights with mistakes, each of which must be reported and nothing else.
pub fn weights(subject: &Subject) -> Result<Outcome> {
    subject.model()?;
    let stored = subject.case.source()?.into_memory()?;
    let expected = required(subject, &stored)?;
    let mut damaged = copy(&stored);
    let mut report = WeightsReport { unused: vec!["not.a.parameter".into()], ..WeightsReport::default() };
    damaged.insert("not.a.parameter".into(), Tensor::from_slice(&[1f32]));
    for (index, (name, shape)) in expected.iter().enumerate() {
        match index % 3 {
            0 => {
                damaged.remove(name);
                report.missing.push((name.clone(), shape.clone()));
            }
            1 => {
                let wrong = Tensor::zeros([&[2][..], shape].concat(), (tch::Kind::Float, tch::Device::Cpu));
                report.mis_shaped.push((name.clone(), shape.clone(), wrong.size()));
                damaged.insert(name.clone(), wrong);
            }
            _ => {}
        }
    }
    Ok(match subject.model_from(TensorSource::Memory(damaged), subject.options()) {
        Err(Error::Weights(found)) if *found == report => Outcome::of(Status::Passed, ""),
        Err(Error::Weights(found)) => {
            Outcome::of(Status::Failed, format!("mistakes in the weights are reported as\n{found}instead of\n{report}"))
        }
        Err(error) => return Err(error),
        Ok(_) => Outcome::of(Status::Failed, "a model loads although tensors are missing, unused and mis-shaped"),
    })
}

/// Names and shapes of the tensors that a checkpoint like `stored` cannot do without.
pub fn required(subject: &Subject, stored: &BTreeMap<String, Tensor>) -> Result<BTreeMap<String, Vec<i64>>> {
    let class = subject.entry.class(&subject.case.about.class)?;
    let weights = Weights::new(TensorSource::Memory(copy(stored)), subject.options());
    (class.load)(&subject.case.config, &weights)?;
    let mut expected = weights.expected();
    // Another name takes the place of one of these.
    weights.interchangeable().iter().for_each(|name| drop(expected.remove(name)));
    Ok(expected)
}

/// Another map of the same tensors.
pub fn copy(tensors: &BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    tensors.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect()
}

/// Saves the model; the file must hold the checkpoint's tensors bit for bit, and give the same outputs when loaded.
pub fn save(subject: &Subject) -> Result<Outcome> {
    let model = subject.model()?;
    let folder = tempfile::tempdir().map_err(|error| Error::io(std::env::temp_dir(), error))?;
    model.save(folder.path())?;
    let mut failures = Vec::new();

    let path = folder.path().join("model.safetensors");
    let bytes = std::fs::read(&path).map_err(|error| Error::io(&path, error))?;
    if let Err(error) = safetensors::SafeTensors::deserialize(&bytes) {
        failures.push(format!("model.safetensors cannot be read: {error}"));
    }
    let saved = TensorSource::open(folder.path())?.into_memory()?;
    let stored = subject.case.source()?.into_memory()?;
    failures.extend(saved.keys().filter(|name| !stored.contains_key(*name)).map(|name| format!("`{name}` is new")));
    for (name, tensor) in stored.iter().filter(|(_, tensor)| is_float(tensor.kind())) {
        match saved.get(name) {
            None => failures.push(format!("`{name}` is not saved")),
            Some(saved) if !saved.equal(&tensor.to_kind(saved.kind())) => failures.push(format!("`{name}` changes")),
            Some(_) => {}
        }
    }

    let again = auto::from_directory(folder.path(), &subject.case.about.class, subject.options())?;
    let (before, after) = (model.forward(&subject.case.inputs())?, again.forward(&subject.case.inputs())?);
    for (name, tensor) in before.iter() {
        let equal = |other: &Tensor| other.size() == tensor.size() && other.equal(tensor);
        if !after.get(name).is_some_and(equal) {
            failures.push(format!("output `{name}` changes"));
        }
    }
    let status = if failures.is_empty() { Status::Passed } else { Status::Failed };
    Ok(Outcome::of(status, failures.join("\n")))
}
