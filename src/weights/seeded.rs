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
    seed: u64,
    tensors: BTreeMap<String, SeededTensor>,
}

#[derive(Debug, Deserialize)]
struct SeededFile {
    seed: u64,
    #[serde(default)]
    default: Drawing,
    tensors: BTreeMap<String, Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    shape: Vec<i64>,
    #[serde(flatten)]
    drawing: Drawing,
}

/// How the values of a tensor come about; what is absent is that of `default`.
#[derive(Debug, Default, Deserialize)]
struct Drawing {
    dtype: Option<String>,
    low: Option<f64>,
    high: Option<f64>,
    value: Option<f64>,
}

impl Drawing {
    /// This one's keys, and those of `default` where it has none.
    fn or(self, default: &Self) -> Self {
        let (constant, ranged) = (self.value.is_some(), self.low.is_some() || self.high.is_some());
        Self {
            dtype: self.dtype.or_else(|| default.dtype.clone()),
            low: self.low.or(default.low.filter(|_| !constant)),
            high: self.high.or(default.high.filter(|_| !constant)),
            value: self.value.or(default.value.filter(|_| !ranged)),
        }
    }

    fn kind(&self) -> std::result::Result<Option<Kind>, String> {
        let known = |name: &String| super::kind_of(name).ok_or_else(|| format!("the unknown dtype `{name}`"));
        self.dtype.as_ref().map(known).transpose()
    }

    fn values(&self) -> std::result::Result<Option<Values>, String> {
        match (self.value, self.low, self.high) {
            (Some(value), None, None) => Ok(Some(Values::All(value))),
            (None, Some(low), Some(high)) => Ok(Some(Values::Between(low, high))),
            (None, None, None) => Ok(None),
            (Some(_), ..) => Err("both a value and a range".into()),
            (None, ..) => Err("one end of a range".into()),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Values {
    All(f64),
    Between(f64, f64),
}

#[derive(Debug)]
struct SeededTensor {
    shape: Vec<i64>,
    kind: Kind,
    values: Values,
}

/// Elements that a seeded tensor may have at most: such files describe small tensors, a larger one is a mistake.
const MOST_ELEMENTS: i64 = 1 << 31;

impl SeededTensors {
    /// Reads `weights.json`.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Json`] where it cannot be read; [`Error::WeightsFile`] for an impossible shape, an
    /// unknown dtype, and a tensor or a default without exactly one of a value and a range.
    pub fn open(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
        let file: SeededFile = serde_json::from_str(&text)
            .map_err(|error| Error::Json { path: path.into(), message: error.to_string() })?;
        let damaged = |message: String| Error::WeightsFile { path: path.into(), message };
        let SeededFile { seed, default, tensors } = file;
        let checked = default.kind().and(default.values().map(drop));
        checked.map_err(|fault| damaged(format!("`default` has {fault}")))?;
        let resolved = tensors.into_iter().map(|(name, Row { shape, drawing })| {
            let tensor = SeededTensor::new(shape, drawing.or(&default));
            Ok((name.clone(), tensor.map_err(|fault| damaged(format!("tensor `{name}` has {fault}")))?))
        });
        Ok(Self { path: path.into(), seed, tensors: resolved.collect::<Result<_>>()? })
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    pub(super) fn shape(&self, name: &str) -> Option<Vec<i64>> {
        self.tensors.get(name).map(|tensor| tensor.shape.clone())
    }

    pub(super) fn kind(&self, name: &str) -> Option<Kind> {
        self.tensors.get(name).map(|tensor| tensor.kind)
    }

    pub(super) fn tensor(&self, name: &str) -> Result<Tensor> {
        let SeededTensor { shape, kind, values } = self
            .tensors
            .get(name)
            .ok_or_else(|| Error::WeightsFile { path: self.path.clone(), message: format!("no tensor `{name}`") })?;
        let values = match *values {
            Values::All(value) => Tensor::full(&shape[..], value, (Kind::Double, tch::Device::Cpu)),
            Values::Between(low, high) => {
                let values = draw(self.seed, name, shape, low, high);
                if super::is_float(*kind) { values } else { values.floor() }
            }
        };
        Ok(values.to_kind(if super::is_float(*kind) { Kind::Float } else { *kind }).to_kind(*kind))
    }
}

impl SeededTensor {
    fn new(shape: Vec<i64>, drawing: Drawing) -> std::result::Result<Self, String> {
        let count = shape.iter().try_fold(1i64, |count, size| match size {
            0.. => count.checked_mul(*size),
            _ => None,
        });
        if count.is_none_or(|count| count > MOST_ELEMENTS) {
            return Err(format!("the impossible shape {shape:?}"));
        }
        let kind = drawing.kind()?.ok_or("no dtype")?;
        Ok(Self { shape, kind, values: drawing.values()?.ok_or("neither a range nor a value")? })
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
    (splitmix64(key, counter) >> 40) as f64 / (1u64 << 24) as f64
}

/// Element `counter` of splitmix64 started from `key`.
pub(crate) fn splitmix64(key: u64, counter: u64) -> u64 {
    let mut z = key.wrapping_add(counter.wrapping_mul(GOLDEN));
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str) -> Result<SeededTensors> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.json");
        std::fs::write(&path, text).unwrap();
        SeededTensors::open(&path)
    }

    #[test]
    fn a_tensor_overrides_the_default_key_by_key() {
        let short = r#"{"seed": 7, "default": {"dtype": "float32", "low": -1, "high": 1}, "tensors": {
            "encoder.weight": {"shape": [3]}, "count": {"shape": [4], "dtype": "int64", "low": 1, "high": 9},
            "upper": {"shape": [40], "low": 0}, "scale": {"shape": [2], "value": 2.5}}}"#;
        let short = open(short).unwrap();
        let values = Vec::<f64>::try_from(short.tensor("encoder.weight").unwrap().to_kind(Kind::Double)).unwrap();
        assert_eq!(values, [0.34286022186279297, 0.27006304264068604, 0.46133875846862793]);
        assert_eq!(short.kind("count"), Some(Kind::Int64));
        assert!(short.tensor("upper").unwrap().min().double_value(&[]) >= 0.0);
        assert_eq!(Vec::<f64>::try_from(short.tensor("scale").unwrap().to_kind(Kind::Double)).unwrap(), [2.5, 2.5]);
    }

    #[test]
    fn a_bad_default_and_a_tensor_without_values_are_refused() {
        let refused = |default: &str, row: &str, fault: &str| {
            let text = format!(r#"{{"seed": 1, "default": {default}, "tensors": {{"a": {{"shape": [2]{row}}}}}}}"#);
            match open(&text) {
                Err(Error::WeightsFile { message, .. }) => assert!(message.contains(fault), "{message}"),
                other => panic!("{text}: {other:?}"),
            }
        };
        refused(r#"{"dtype": "float31", "value": 1}"#, "", "`default` has the unknown dtype");
        refused(r#"{"dtype": "float32", "low": 1}"#, "", "`default` has one end");
        refused(r#"{"dtype": "float32", "low": 1, "high": 2, "value": 3}"#, "", "`default` has both");
        refused(r#"{"dtype": "float32"}"#, "", "tensor `a` has neither");
        refused(r#"{"low": 1, "high": 2}"#, "", "tensor `a` has no dtype");
        refused(r#"{"dtype": "float32"}"#, r#", "low": 1, "value": 3"#, "tensor `a` has both");
        assert!(matches!(open(r#"{"seed": 1, "default": [], "tensors": {}}"#), Err(Error::Json { .. })));
    }
}
