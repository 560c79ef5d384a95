//! The counter-based generator that reference cases draw their weights from, equal in Python and Rust.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use tch::{Kind, Tensor};

use crate::{Error, Result};

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Tensors whose values are drawn from a seed and their name.
#[derive(Debug)]
pub struct SeededTensors {
    path: PathBuf,
    file: SeededFile,
}

#[derive(Debug, Deserialize)]
struct SeededFile {
    seed: u64,
    tensors: BTreeMap<String, SeededTensor>,
}

#[derive(Debug, Deserialize)]
struct SeededTensor {
    shape: Vec<i64>,
    dtype: String,
    #[serde(default)]
    low: f64,
    #[serde(default)]
    high: f64,
    value: Option<f64>,
}

/// Elements that a seeded tensor may have at most: such files describe small tensors, a larger one is a mistake.
const MOST_ELEMENTS: i64 = 1 << 31;

impl SeededTensors {
    /// Reads `weights.json`.
    pub fn open(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
        let file: SeededFile = serde_json::from_str(&text)
            .map_err(|error| Error::Json { path: path.into(), message: error.to_string() })?;
        for (name, tensor) in &file.tensors {
            let count = tensor.shape.iter().try_fold(1i64, |count, size| match size {
                0.. => count.checked_mul(*size),
                _ => None,
            });
            if count.is_none_or(|count| count > MOST_ELEMENTS) {
                let message = format!("tensor `{name}` has the impossible shape {:?}", tensor.shape);
                return Err(Error::WeightsFile { path: path.into(), message });
            }
        }
        Ok(Self { path: path.into(), file })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.file.tensors.keys().cloned().collect()
    }

    pub(super) fn shape(&self, name: &str) -> Option<Vec<i64>> {
        self.file.tensors.get(name).map(|tensor| tensor.shape.clone())
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Tensor> {
        let damaged = |message: String| Error::WeightsFile { path: self.path.clone(), message };
        let tensor = self.file.tensors.get(name).ok_or_else(|| damaged(format!("no tensor `{name}`")))?;
        let kind = super::kind_of(&tensor.dtype)
            .ok_or_else(|| damaged(format!("tensor `{name}` has the unknown dtype `{}`", tensor.dtype)))?;
        let values = match tensor.value {
            Some(value) => Tensor::full(&tensor.shape[..], value, (Kind::Double, tch::Device::Cpu)),
            None => {
                let values = draw(self.file.seed, name, &tensor.shape, tensor.low, tensor.high);
                if super::is_float(kind) { values } else { values.floor() }
            }
        };
        Ok(values.to_kind(if super::is_float(kind) { Kind::Float } else { kind }).to_kind(kind))
    }
}

/// Draws a tensor of doubles in `[low, high)` from `seed` and `name`; equal to Python's `draw`.
///
/// Value `i` is splitmix64 at counter `i + 1` from the key `fnv1a64(name) ^ seed * golden`, of which the upper 24 bits
/// are the fraction.
pub fn draw(seed: u64, name: &str, shape: &[i64], low: f64, high: f64) -> Tensor {
    let key = fnv1a64(name) ^ seed.wrapping_mul(GOLDEN);
    let count: i64 = shape.iter().product();
    let values: Vec<f64> = (1..=count as u64).map(|counter| low + (high - low) * fraction(key, counter)).collect();
    Tensor::from_slice(&values).reshape(shape)
}

fn fraction(key: u64, counter: u64) -> f64 {
    let mut z = key.wrapping_add(counter.wrapping_mul(GOLDEN));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^= z >> 31;
    (z >> 40) as f64 / (1u64 << 24) as f64
}

fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}
