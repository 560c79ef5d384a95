//! What the pipelines return equals what Python's return (`reference/pipelines.py`), on made checkpoints.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tch_transformers::pipeline::{self, Options};

/// Scores may be this far from Python's.
const TOLERANCE: f64 = 1e-5;

/// Runs recorded for `task`, with several texts in a pass and with one.
fn equals_python(task: &str) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let file: Value = read(&data.join(format!("pipelines/{task}.json")));
    let runs = file["runs"].as_array().unwrap();
    assert!(!runs.is_empty());
    for (number, run) in runs.iter().enumerate() {
        let name = run["checkpoint"].as_str().unwrap();
        let directory = match run.get("config") {
            Some(changes) => changed(&data.join("checkpoints").join(name), changes, &format!("{task}-{number}")),
            None => data.join("checkpoints").join(name),
        };
        let settings: &Map<String, Value> = run["settings"].as_object().unwrap();
        let inputs = run["inputs"].as_array().unwrap();
        for batch_size in [32, 3, 1] {
            let options = Options { batch_size, ..Options::default() };
            let pipeline = pipeline::load(task, &directory, options).unwrap();
            let results =
                pipeline.run(inputs, settings).unwrap_or_else(|error| panic!("{name}, {settings:?}: {error}"));
            assert_eq!(results.len(), inputs.len());
            let expected = run["results"].as_array().unwrap();
            for ((input, result), expected) in std::iter::zip(std::iter::zip(inputs, &results), expected) {
                if let Some(difference) = difference("", result, expected) {
                    panic!("{name}, {settings:?}, {batch_size} a pass, {input}: {difference}\n{result}\n{expected}");
                }
            }
        }
    }
}

/// Where two results differ: names, texts and integers must be equal, other numbers close.
fn difference(at: &str, found: &Value, expected: &Value) -> Option<String> {
    let wrong = || Some(format!("{at}: {found} instead of {expected}"));
    match (found, expected) {
        (Value::Object(left), Value::Object(right)) => {
            let names = |fields: &Map<String, Value>| fields.keys().cloned().collect::<Vec<_>>();
            let mut sorted = [names(left), names(right)];
            sorted.iter_mut().for_each(|names| names.sort());
            if sorted[0] != sorted[1] {
                return wrong();
            }
            left.iter().find_map(|(name, value)| difference(&format!("{at}.{name}"), value, &right[name]))
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let mut members = std::iter::zip(left, right).enumerate();
            members.find_map(|(index, (left, right))| difference(&format!("{at}[{index}]"), left, right))
        }
        (Value::Number(left), Value::Number(right)) if right.is_f64() => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            if (left - right).abs() <= TOLERANCE * right.abs().max(1.0) { None } else { wrong() }
        }
        _ if found == expected => None,
        _ => wrong(),
    }
}

/// A copy of the checkpoint with other values in `config.json`.
fn changed(checkpoint: &Path, changes: &Value, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pipelines").join(name);
    fs::create_dir_all(&folder).unwrap();
    for file in fs::read_dir(checkpoint).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let mut config = read(&checkpoint.join("config.json"));
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    folder
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn feature_extraction_equals_python() {
    equals_python("feature-extraction");
}

#[test]
fn fill_mask_equals_python() {
    equals_python("fill-mask");
}

#[test]
fn text_classification_equals_python() {
    equals_python("text-classification");
}

#[test]
fn zero_shot_classification_equals_python() {
    equals_python("zero-shot-classification");
}

#[test]
fn token_classification_equals_python() {
    equals_python("token-classification");
}

#[test]
fn question_answering_equals_python() {
    equals_python("question-answering");
}
