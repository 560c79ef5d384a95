use std::path::Path;

use tch::{Kind, Tensor};

use super::padding::{dims_named, named};
use super::stored::{copy, required};
use crate::inputs::{Argument, Dim, Values};
use crate::verify::{Outcome, Status, Subject};
use crate::weights::{TensorSource, is_float};
use crate::{Error, Inputs, Model, Result, auto};

/// Sequences that are longer than this are not made just to be refused.
const LONGEST: i64 = 8192;

/// Inputs and weights with one mistake each: every one must give the error that belongs to it, before libtorch stumbles.
pub fn bad_input(subject: &Subject) -> Result<Outcome> {
    let model = subject.model()?;
    let inputs = subject.case.inputs();
    let mut failures = Vec::new();
    let wrong = wrong_inputs(&model, &inputs);
    let mut count = wrong.len();
    for (what, inputs) in wrong {
        match model.forward(&inputs) {
            Err(Error::Input { .. }) => {}
            Err(error) => failures.push(format!("{what}: `{error}` is no input error")),
            Ok(_) => failures.push(format!("{what} is accepted")),
        }
    }
    let folder = tempfile::tempdir().map_err(|error| Error::io(std::env::temp_dir(), error))?;
    model.save(folder.path())?;
    for (what, result) in wrong_weights(subject, folder.path())? {
        count += 1;
        match result {
            Err(Error::Weights(_) | Error::WeightsFile { .. } | Error::Io { .. }) => {}
            Err(error) => failures.push(format!("{what}: `{error}` is no weights error")),
            Ok(_) => failures.push(format!("{what} is accepted")),
        }
    }
    Ok(match failures[..] {
        [] => Outcome::of(Status::Passed, format!("{count} mistakes, all refused")),
        _ => Outcome::of(Status::Failed, failures.join("\n")),
    })
}

/// Inputs with one mistake each, and what it is.
fn wrong_inputs(model: &Model, inputs: &Inputs) -> Vec<(String, Inputs)> {
    let arguments = model.arguments();
    let mut wrong = vec![
        ("an unknown argument".to_owned(), inputs.clone().with("no_such_argument", Tensor::from_slice(&[1i64]))),
        ("no input at all".to_owned(), Inputs::new()),
    ];
    for argument in arguments {
        let name = argument.name;
        let Some(tensor) = inputs.get(name) else { continue };
        let mut add =
            |what: &str, tensor: Tensor| wrong.push((format!("`{name}` {what}"), inputs.clone().with(name, tensor)));
        add("with one dimension more", tensor.unsqueeze(0));
        if tensor.dim() > 0 {
            add("with one dimension less", tensor.select(0, 0));
        }
        match argument.values {
            Values::Ids(below) => {
                add("with a negative id", tensor.zeros_like() - 1);
                if below < i64::MAX {
                    add("with an id out of range", tensor.full_like(below));
                }
                add("as floats", tensor.to_kind(Kind::Float));
            }
            Values::Integer => add("as floats", tensor.to_kind(Kind::Float)),
            Values::Float => add("as integers", tensor.to_kind(Kind::Int64)),
            Values::Bool => add("as floats", tensor.to_kind(Kind::Float)),
            Values::Mask => {
                add("as complex numbers", tensor.to_kind(Kind::ComplexFloat));
                add("of another length", Tensor::cat(&[tensor, tensor], -1));
            }
        }
        for (dim, (shape, size)) in argument.shape.iter().zip(tensor.size()).enumerate() {
            let dim = dim as i64;
            match shape {
                Dim::Any => {}
                Dim::Exactly(_) => add("of another width", Tensor::cat(&[tensor, tensor], dim)),
                _ if size > 0 => add("empty", tensor.narrow(dim, 0, 0)),
                _ => {}
            }
        }
        if argument.required {
            let mut without = inputs.clone();
            without.remove(name);
            wrong.push((format!("no `{name}`"), without));
        }
        if let Some(inputs) = too_long(argument, arguments, inputs, tensor) {
            wrong.push((format!("`{name}` too long"), inputs));
        }
        if let Some(inputs) = other_batch(name, arguments, inputs, tensor) {
            wrong.push((format!("`{name}` of another batch size"), inputs));
        }
    }
    wrong
}

/// All arguments one token longer than the model takes.
fn too_long(argument: &Argument, arguments: &[Argument], inputs: &Inputs, tensor: &Tensor) -> Option<Inputs> {
    let limited = |dim: &Dim| match dim {
        Dim::AtMost(name, high) if *high < LONGEST => Some((*name, *high)),
        _ => None,
    };
    let (name, high) = argument.shape.iter().find_map(limited)?;
    let size = tensor.size()[*dims_named(arguments, argument.name, tensor, &[name]).first()? as usize];
    let places = Tensor::arange(high + 1, (Kind::Int64, tensor.device())).remainder(size.max(1));
    Some(inputs.map(|of, tensor| {
        let dims = dims_named(arguments, of, tensor, &[name]);
        dims.into_iter().fold(tensor.shallow_clone(), |tensor, dim| {
            tensor.index_select(dim, &places.clamp_max(tensor.size()[dim as usize] - 1))
        })
    }))
}

/// One argument with one row more than the others.
fn other_batch(name: &str, arguments: &[Argument], inputs: &Inputs, tensor: &Tensor) -> Option<Inputs> {
    let dim = *dims_named(arguments, name, tensor, &["batch"]).first()?;
    let exact = |of: &str| {
        let argument = arguments.iter().find(|argument| argument.name == of);
        argument.is_some_and(|argument| argument.shape.iter().any(|dim| named(dim) == Some("batch")))
    };
    let others = inputs.iter().filter(|(of, tensor)| *of != name && exact(of) && tensor.size().first() != Some(&1));
    if others.count() == 0 {
        return None;
    }
    let more = Tensor::cat(&[tensor, &tensor.narrow(dim, 0, 1)], dim);
    Some(inputs.clone().with(name, more))
}

/// What loading gives for weights with one mistake each; `saved` holds a good checkpoint.
fn wrong_weights(subject: &Subject, saved: &Path) -> Result<Vec<(String, Result<Model>)>> {
    let class = &subject.case.about.class;
    let stored = subject.case.source()?.into_memory()?;
    let required = required(subject, &stored)?;
    let needed = |(name, tensor): &(&String, &Tensor)| is_float(tensor.kind()) && required.contains_key(*name);
    let Some((name, tensor)) = stored.iter().find(needed) else { return Ok(vec![]) };
    let load = |tensors| subject.model_from(TensorSource::Memory(tensors), subject.options());
    let with = |changed: Tensor| {
        let mut tensors = copy(&stored);
        tensors.insert(name.clone(), changed);
        tensors
    };
    let mut without = copy(&stored);
    without.remove(name);
    let mut results = vec![
        (format!("`{name}` missing"), load(without)),
        (format!("`{name}` with NaN"), load(with(tensor.full_like(f64::NAN)))),
        (format!("`{name}` of another shape"), load(with(tensor.unsqueeze(0)))),
        (format!("`{name}` as integers"), load(with(tensor.to_kind(Kind::Int64)))),
        (
            "a tensor too many".to_owned(),
            load({
                let mut tensors = copy(&stored);
                tensors.insert("not.a.parameter".into(), tensor.shallow_clone());
                tensors
            }),
        ),
    ];
    let path = saved.join("model.safetensors");
    let whole = std::fs::read(&path).map_err(|error| Error::io(&path, error))?;
    let mut lying = whole.clone();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    let files = [
        ("a truncated file", Some(whole[..whole.len() - 1].to_vec())),
        ("a file cut in its header", Some(whole[..whole.len().min(20)].to_vec())),
        ("a file whose header lies about its length", Some(lying)),
        ("an empty file", Some(vec![])),
        ("no file", None),
    ];
    for (what, bytes) in files {
        match bytes {
            Some(bytes) => std::fs::write(&path, bytes),
            None => std::fs::remove_file(&path),
        }
        .map_err(|error| Error::io(&path, error))?;
        results.push((what.to_owned(), auto::from_directory(saved, class, subject.options())));
    }
    Ok(results)
}
