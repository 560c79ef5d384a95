//! The rows that benchmarks measure: models at tiny size (the committed cases) and at the sizes of `benches/rows.toml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};
use tch_transformers::inputs::Values;
use tch_transformers::weights::{LoadOptions, TensorSource, Weights, safetensors::SafetensorsFile};
use tch_transformers::{Inputs, Model, auto};

/// One model at one size.
pub struct Row {
    pub name: String,
    pub class: String,
    pub config: Value,
    /// How many tokens to generate; a forward pass where there is no number.
    pub new_tokens: Option<usize>,
    /// Lengths of the cache at which the cost of a token is measured; such a row is for nothing else.
    pub lengths: Vec<i64>,
    weights: WeightsOf,
    inputs: InputsOf,
}

enum WeightsOf {
    Case(PathBuf),
    Random,
}

enum InputsOf {
    Case(PathBuf),
    Shapes { shapes: BTreeMap<String, Vec<i64>>, image_tokens: i64 },
}

#[derive(Deserialize)]
struct File {
    row: Vec<FileRow>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileRow {
    name: String,
    model_type: String,
    class: String,
    inputs: BTreeMap<String, Vec<i64>>,
    #[serde(default)]
    image_tokens: i64,
    new_tokens: Option<usize>,
    #[serde(default)]
    lengths: Vec<i64>,
    #[serde(default)]
    config: Map<String, Value>,
}

/// All rows: first the tiny ones, then those of the file.
pub fn rows() -> Result<Vec<Row>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("benches/rows.toml"))?;
    let file: File = toml::from_str(&text)?;
    let mut rows = Vec::new();
    for row in file.row.iter().filter(|row| row.new_tokens.is_none() && row.lengths.is_empty()) {
        if let Some(case) = tiny_case(root, &row.model_type, &row.class)? {
            rows.push(case);
        }
    }
    for FileRow { name, model_type, class, inputs, image_tokens, new_tokens, lengths, mut config } in file.row {
        config.insert("model_type".into(), model_type.into());
        rows.push(Row {
            name,
            class,
            config: Value::Object(config),
            new_tokens,
            lengths,
            weights: WeightsOf::Random,
            inputs: InputsOf::Shapes { shapes: inputs, image_tokens },
        });
    }
    Ok(rows)
}

/// The committed case of `class`, if there is one.
fn tiny_case(root: &Path, model_type: &str, class: &str) -> Result<Option<Row>> {
    let entry = auto::entry(model_type)?;
    let Some(task) = entry.class(class)?.tasks.first() else { return Ok(None) };
    let case = root.join("cases").join(model_type).join(task);
    Ok(Some(Row {
        name: format!("{model_type}-tiny"),
        class: class.to_owned(),
        config: serde_json::from_str(&std::fs::read_to_string(case.join("config.json"))?)?,
        new_tokens: None,
        lengths: Vec::new(),
        weights: WeightsOf::Case(case.clone()),
        inputs: InputsOf::Case(case),
    }))
}

impl Row {
    /// The model with its weights: the case's, or random ones of a width at which activations stay finite.
    pub fn model(&self) -> Result<Model> {
        let source = match &self.weights {
            WeightsOf::Case(case) => TensorSource::open(case)?,
            WeightsOf::Random => TensorSource::Memory(self.random_weights()?),
        };
        auto::load(self.config.clone(), &self.class, source, LoadOptions::default())
            .with_context(|| format!("loading {}", self.name))
    }

    fn random_weights(&self) -> Result<BTreeMap<String, Tensor>> {
        let model_type = self.config["model_type"].as_str().unwrap_or_default();
        let class = auto::entry(model_type)?.class(&self.class)?;
        let weights = Weights::nothing();
        (class.load)(&self.config, &weights)?;
        tch::manual_seed(1);
        let draw = |shape: &Vec<i64>| Tensor::empty(&shape[..], (Kind::Float, Device::Cpu)).uniform_(-0.04, 0.04);
        // Variances and scales of normalisations must be positive: vectors are drawn around one.
        let tensor = |shape: &Vec<i64>| if shape.len() == 1 { draw(shape) + 1.0 } else { draw(shape) };
        Ok(weights.expected().iter().map(|(name, shape)| (name.clone(), tensor(shape))).collect())
    }

    /// The inputs of one pass.
    pub fn inputs(&self, model: &Model) -> Result<Inputs> {
        let mut inputs = Inputs::new();
        match &self.inputs {
            InputsOf::Case(case) => {
                for (name, tensor) in SafetensorsFile::open(&case.join("case.safetensors"))?.tensors()? {
                    match name.strip_prefix("input.") {
                        Some("prompt_ids") | None => {}
                        Some(name) => inputs.insert(name, tensor),
                    }
                }
            }
            InputsOf::Shapes { shapes, image_tokens } => {
                tch::manual_seed(2);
                for (name, shape) in shapes {
                    let argument = model.arguments().iter().find(|argument| argument.name == name);
                    let tensor = match argument.map(|argument| argument.values) {
                        Some(Values::Ids(below)) => {
                            Tensor::randint_low(5, below.min(30_000), &shape[..], (Kind::Int64, Device::Cpu))
                        }
                        _ => Tensor::randn(&shape[..], (Kind::Float, Device::Cpu)),
                    };
                    if name == "input_ids" && *image_tokens > 0 {
                        let image = self.config["image_token_index"].as_i64().unwrap_or_default();
                        let _ = tensor.narrow(1, 1, *image_tokens).fill_(image);
                    }
                    inputs.insert(name, tensor);
                }
            }
        }
        Ok(inputs)
    }

    /// What `config.json` of the row must say for Python: the class as well.
    #[allow(dead_code, reason = "each benchmark uses its part of this module")]
    pub fn config_json(&self) -> Value {
        let mut config = self.config.clone();
        config["architectures"] = json!([self.class]);
        config
    }
}
