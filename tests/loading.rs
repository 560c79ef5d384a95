//! What loading takes: tensors are views on the mapped file, and memory holds the checkpoint once.
#![cfg(target_os = "linux")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tch_transformers::auto::{AutoConfig, AutoModelForCausalLM};
use tch_transformers::verify::{self, Peak};
use tch_transformers::weights::{LoadOptions, Prepack, TensorSource, Weights, safetensors};
use tch_transformers::{Inputs, Model, auto};

const CLASS: &str = "LlamaForCausalLM";

/// The folder of the checkpoint, for a test that was started anew to be measured.
const CHECKPOINT: &str = "TCH_TRANSFORMERS_TEST_CHECKPOINT";

fn config() -> Value {
    json!({
        "model_type": "llama",
        "vocab_size": 8000,
        "hidden_size": 1024,
        "intermediate_size": 2816,
        "num_hidden_layers": 1,
        "num_attention_heads": 16,
        "num_key_value_heads": 4,
        "tie_word_embeddings": true,
    })
}

fn random(shape: &[i64]) -> Tensor {
    Tensor::empty(shape, (Kind::Float, Device::Cpu)).uniform_(-0.02, 0.02)
}

/// Writes a checkpoint of [`config`] with 80 MB of random values.
fn write(folder: &Path) {
    let config = AutoConfig::from_json(config()).unwrap();
    AutoModelForCausalLM::from_config(&config, LoadOptions::default()).unwrap().save(folder).unwrap();
}

fn load(folder: &Path, kind: Kind) -> Model {
    auto::from_directory(folder, CLASS, LoadOptions { kind: Some(kind), ..LoadOptions::default() }).unwrap()
}

/// The memory that this process has now, in bytes.
fn memory() -> f64 {
    Peak::start().bytes().unwrap() as f64
}

/// What `run` returns, and how much memory it took at most.
fn measured<T>(run: impl FnOnce() -> T) -> (T, f64) {
    let (before, peak) = (memory(), Peak::start());
    let result = run();
    (result, peak.bytes().unwrap() as f64 - before)
}

/// Not a test of its own: the next one starts it in a process that nothing else uses.
#[test]
fn in_a_process_of_its_own() {
    let Some(folder) = std::env::var_os(CHECKPOINT).map(PathBuf::from) else { return };
    let bytes = fs::metadata(folder.join("model.safetensors")).unwrap().len() as f64;
    tch::set_num_threads(1);
    // What the first use of libtorch and oneDNN takes is not what loading takes.
    let case = verify::cases_directory().join("llama/text-generation");
    let tokens = Inputs::new().with("input_ids", Tensor::from_slice(&[1i64, 2, 3]).unsqueeze(0));
    for kind in [Kind::Float, Kind::BFloat16] {
        let options = LoadOptions { kind: Some(kind), prepack: Prepack::Always, ..LoadOptions::default() };
        auto::from_directory(&case, CLASS, options).unwrap().forward(&tokens).unwrap();
    }

    let (model, taken) = measured(|| load(&folder, Kind::Float));
    assert!(taken < 1.1 * bytes, "loading took {taken} for {bytes}");
    let before = memory();
    model.forward(&tokens).unwrap();
    let more = memory() - before;
    assert!(more < 0.25 * bytes, "matrices in blocks took {more} more for {bytes}");
    drop(model);

    let (_model, taken) = measured(|| load(&folder, Kind::BFloat16));
    assert!(taken < 0.5 * bytes + 40e6, "converting took {taken} for {bytes}");
}

#[test]
fn memory_holds_the_checkpoint_once() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let run = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "in_a_process_of_its_own", "--nocapture"])
        .env(CHECKPOINT, folder.path())
        .output()
        .unwrap();
    assert!(run.status.success(), "{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
}

#[test]
fn parameters_are_views_on_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = BTreeMap::from([("a".to_owned(), random(&[600, 1001])), ("b".to_owned(), random(&[500_000]))]);
    safetensors::write(&folder.path().join("model.safetensors"), &tensors).unwrap();
    let source = TensorSource::open(folder.path()).unwrap();
    // One after the other in the file, and so in memory.
    let distance = |a: &Tensor, b: &Tensor| b.data_ptr() as i64 - a.data_ptr() as i64;
    let bytes = 4 * 600 * 1001;
    assert_eq!(distance(&source.tensor("a").unwrap(), &source.tensor("b").unwrap()), bytes);

    let weights = Weights::new(source, LoadOptions::default());
    let (a, b) = (weights.weight("a", &[600, 1001]), weights.weight("b", &[500_000]));
    assert_eq!(distance(&a, &b), bytes);
    let (report, state) = weights.finish();
    assert!(report.is_clean() && state.tensor("a").unwrap().data_ptr() == a.data_ptr());
    assert!(a.equal(&tensors["a"]) && b.equal(&tensors["b"]));
}
