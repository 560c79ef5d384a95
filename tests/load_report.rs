//! What loading says about every tensor of a checkpoint.

use std::collections::BTreeMap;
use std::path::PathBuf;

use tch::{Kind, Tensor};
use tch_transformers::verify::cases_directory;
use tch_transformers::weights::{LoadOptions, LoadReport, TensorSource};
use tch_transformers::{Error, Model, Result, auto, config};

const CLASS: &str = "GPT2LMHeadModel";

fn case() -> PathBuf {
    cases_directory().join("gpt2/text-generation")
}

/// The tensors of the case: the token vectors in half precision, all others in single.
fn tensors() -> BTreeMap<String, Tensor> {
    let mut tensors = TensorSource::open(&case()).unwrap().into_memory().unwrap();
    let table = tensors.get_mut("transformer.wte.weight").unwrap();
    *table = table.to_kind(Kind::Half);
    tensors
}

fn load(tensors: BTreeMap<String, Tensor>, options: LoadOptions) -> Result<(Model, LoadReport)> {
    let config = config::read_json(&case().join("config.json"))?;
    auto::load_with_report(config, CLASS, TensorSource::Memory(tensors), options)
}

#[test]
fn every_tensor_of_a_folder_is_applied() {
    let (model, report) = auto::from_directory_with_report(&case(), CLASS, LoadOptions::default()).unwrap();
    assert!(model.state().names().eq(report.applied.iter().map(String::as_str)));
    assert!(report.fit.is_clean() && report.converted.is_empty() && report.passed_over.is_empty(), "{report}");
}

#[test]
fn conversions_are_told() {
    let (model, report) = load(tensors(), LoadOptions::default()).unwrap();
    assert_eq!(report.converted, [("transformer.wte.weight".to_owned(), Kind::Half, Kind::Float)]);
    assert!(model.state().tensors().values().all(|tensor| tensor.kind() == Kind::Float));
    assert!(report.to_string().contains("converted    1 from Half to Float"), "{report}");

    let half = LoadOptions { kind: Some(Kind::Half), ..LoadOptions::default() };
    let (_, report) = load(tensors(), half).unwrap();
    assert_eq!(report.converted.len(), report.applied.len() - 1);
}

#[test]
fn the_checkpoints_own_kind_is_that_which_its_configuration_names() {
    let options = LoadOptions { kind: None, ..LoadOptions::default() };
    let (model, report) = load(tensors(), options).unwrap();
    assert_eq!(report.converted, [("transformer.wte.weight".to_owned(), Kind::Half, Kind::Float)]);
    assert_eq!(model.kind(), Kind::Float);
}

#[test]
fn what_is_not_needed_is_told_apart() {
    let mut more = tensors();
    more.insert("transformer.h.0.attn.bias".into(), Tensor::ones([1, 1, 4, 4], (Kind::Bool, tch::Device::Cpu)));
    more.insert("classifier.weight".into(), Tensor::ones([2, 2], (Kind::Float, tch::Device::Cpu)));
    let options = LoadOptions { allow_unused: true, ..LoadOptions::default() };
    let (_, report) = load(more, options).unwrap();
    assert_eq!(report.passed_over, ["transformer.h.0.attn.bias"]);
    assert_eq!(report.fit.unused, ["classifier.weight"]);
    let text = report.to_string();
    assert!(
        text.contains("passed over  transformer.h.0.attn.bias") && text.contains("unused       classifier"),
        "{text}"
    );
}

#[test]
fn what_is_missing_or_mis_shaped_is_an_error_with_its_report() {
    let mut less = tensors();
    less.remove("transformer.ln_f.bias");
    less.insert("transformer.ln_f.weight".into(), Tensor::ones([1], (Kind::Float, tch::Device::Cpu)));
    let Err(Error::Weights(report)) = load(less, LoadOptions::default()) else { panic!("loaded") };
    assert_eq!(report.missing.len(), 1);
    assert_eq!(report.mis_shaped.len(), 1);
}
