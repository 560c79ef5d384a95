//! What tests share.
#![allow(dead_code, reason = "each test target uses its own part")]

pub mod minilm;

use std::path::{Path, PathBuf};

use serde_json::Value;
use tch::Tensor;
use tch_transformers::verify::{Case, cases_directory, discover};
use tch_transformers::weights::LoadOptions;
use tch_transformers::{Inputs, Model, auto};

/// The model of a committed case.
pub fn model(case: &str) -> Model {
    loaded(&Case::open(&cases_directory().join(case)).unwrap())
}

fn loaded(case: &Case) -> Model {
    auto::load(case.config.clone(), &case.about.class, case.source().unwrap(), LoadOptions::default()).unwrap()
}

/// Every class that generates: its case, its model, a prompt, and how many tokens Python added to that.
pub fn generating() -> impl Iterator<Item = (String, Model, Inputs, usize)> {
    let cases = discover(&cases_directory()).unwrap().into_iter();
    cases.filter(|folder| folder.join("case.safetensors").is_file()).filter_map(|folder| {
        let case = Case::open(&folder).unwrap();
        case.decoding.as_ref()?;
        let model = loaded(&case);
        let (prompt, new) = case.prompt(model.generation()?)?;
        Some((folder.display().to_string(), model, prompt, new))
    })
}

/// Rows of numbers, `[rows, columns]`.
pub fn tensor(rows: &Value) -> Tensor {
    let rows: Vec<Vec<i64>> = serde_json::from_value(rows.clone()).unwrap();
    let flat: Vec<i64> = rows.concat();
    Tensor::from_slice(&flat).view([rows.len() as i64, -1])
}

/// The numbers of `ids`, row by row.
pub fn rows(ids: &Tensor) -> Vec<Vec<i64>> {
    Vec::try_from(ids).unwrap()
}

/// A prompt of token ids.
pub fn prompt(ids: Value) -> Inputs {
    Inputs::new().with("input_ids", tensor(&ids))
}

/// A copy of a committed case in a folder of its own, to be damaged.
pub fn copy_of(case: &str, to: &Path) -> PathBuf {
    let (from, to) = (cases_directory().join(case), to.join(case.replace('/', "-")));
    std::fs::create_dir_all(&to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    to
}

/// Replaces `from` by `to` in a text file, where it must stand.
pub fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{} lacks {from}", path.display());
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}
