//! Checkpoints in several files: what stands in them is found, and what does not fit together is an error that says so.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};
use tch_transformers::Error;
use tch_transformers::weights::{TensorSource, safetensors};

const FIRST: &str = "model-00001-of-00002.safetensors";
const SECOND: &str = "model-00002-of-00002.safetensors";

fn write(folder: &Path, file: &str, tensors: &[(&str, i64)]) {
    let tensor = |&(name, size): &(&str, i64)| (name.to_owned(), Tensor::arange(size, (Kind::Float, Device::Cpu)));
    let tensors: BTreeMap<_, _> = tensors.iter().map(tensor).collect();
    safetensors::write(&folder.join(file), &tensors).unwrap();
}

fn index(folder: &Path, map: Value) {
    let text = json!({ "metadata": { "total_size": 0 }, "weight_map": map }).to_string();
    fs::write(folder.join("model.safetensors.index.json"), text).unwrap();
}

/// Two files, `a` and `b` in one, `c` in the other, and an index that says `map`.
fn checkpoint(map: Value) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), FIRST, &[("a", 2), ("b", 3)]);
    write(folder.path(), SECOND, &[("c", 4)]);
    index(folder.path(), map);
    folder
}

fn refusal(folder: &Path) -> String {
    match TensorSource::open(folder) {
        Err(error @ Error::WeightsFile { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn tensors_of_all_files_are_there() {
    let folder = checkpoint(json!({ "a": FIRST, "b": FIRST, "c": SECOND }));
    let source = TensorSource::open(folder.path()).unwrap();
    assert_eq!(source.names(), ["a", "b", "c"]);
    assert_eq!(source.shape("b"), Some(vec![3]));
    assert_eq!(source.kind("c"), Some(Kind::Float));
    assert_eq!((source.shape("d"), source.kind("d")), (None, None));
    assert!(source.tensor("c").unwrap().equal(&Tensor::from_slice(&[0f32, 1., 2., 3.])));
    assert!(source.tensor("d").unwrap_err().to_string().contains("no tensor `d`"));
    assert_eq!(source.into_memory().unwrap().len(), 3);
}

#[test]
fn a_tensor_that_the_index_leaves_out_is_there() {
    let folder = checkpoint(json!({ "a": FIRST, "c": SECOND }));
    assert_eq!(TensorSource::open(folder.path()).unwrap().names(), ["a", "b", "c"]);
}

#[test]
fn one_file_goes_before_an_index() {
    let folder = checkpoint(json!({ "a": FIRST }));
    write(folder.path(), "model.safetensors", &[("whole", 1)]);
    assert_eq!(TensorSource::open(folder.path()).unwrap().names(), ["whole"]);
}

#[test]
fn files_outside_the_folder_are_refused() {
    for name in ["../model.safetensors", "/etc/passwd", "sub/model.safetensors", "..", "", "..\\a"] {
        let folder = checkpoint(json!({ "a": name }));
        assert!(refusal(folder.path()).contains("must stand beside it"), "{name:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let folder = checkpoint(json!({ "a": FIRST, "c": SECOND }));
    fs::remove_file(folder.path().join(SECOND)).unwrap();
    let message = refusal(folder.path());
    assert!(message.contains(SECOND) && message.contains("missing"), "{message}");
}

#[test]
fn a_tensor_in_no_file_or_in_another_is_named() {
    let message = refusal(checkpoint(json!({ "a": FIRST, "d": SECOND })).path());
    assert!(message.contains("tensor `d`") && message.contains("in none"), "{message}");
    let message = refusal(checkpoint(json!({ "a": SECOND, "b": FIRST })).path());
    assert!(message.contains("tensor `a`") && message.contains(&format!("it stands in `{FIRST}`")), "{message}");
}

#[test]
fn a_tensor_in_two_files_is_named() {
    let folder = checkpoint(json!({ "a": FIRST, "c": SECOND }));
    write(folder.path(), SECOND, &[("a", 2), ("c", 4)]);
    let message = refusal(folder.path());
    assert!(message.contains("tensor `a` stands in two files"), "{message}");
}

#[test]
fn an_index_that_is_none_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for text in ["", "[]", "{}", r#"{"weight_map": {"a": 1}}"#, r#"{"weight_map": "a"}"#] {
        fs::write(folder.path().join("model.safetensors.index.json"), text).unwrap();
        assert!(matches!(TensorSource::open(folder.path()), Err(Error::Json { .. })), "{text}");
    }
    let file = fs::File::create(folder.path().join("model.safetensors.index.json")).unwrap();
    file.set_len(65 << 20).unwrap();
    assert!(refusal(folder.path()).contains("larger than"));
    drop(file);
    let many: BTreeMap<String, String> = (0..10_001).map(|at| (format!("t{at}"), format!("f{at}"))).collect();
    index(folder.path(), json!(many));
    assert!(refusal(folder.path()).contains("at most 10000"));
}
