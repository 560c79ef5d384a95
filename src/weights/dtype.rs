use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use tch::Kind;

use super::kind_of;
use crate::{Error, Result};

/// The floating-point kind of a model that is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dtype {
    /// The checkpoint's own: what `dtype` or `torch_dtype` of `config.json` says, else the kind of the first
    /// floating-point tensor.
    #[default]
    Auto,
    /// This one: `Float`, `Double`, `Half` or `BFloat16`.
    Kind(Kind),
}

impl Dtype {
    /// The kind, or `None` for the checkpoint's own: [`LoadOptions::kind`](super::LoadOptions::kind).
    pub fn kind(self) -> Option<Kind> {
        match self {
            Self::Auto => None,
            Self::Kind(kind) => Some(kind),
        }
    }
}

impl From<Kind> for Dtype {
    fn from(kind: Kind) -> Self {
        Self::Kind(kind)
    }
}

impl From<Option<Kind>> for Dtype {
    fn from(kind: Option<Kind>) -> Self {
        kind.map_or(Self::Auto, Self::Kind)
    }
}

/// The kinds that a model can be in, by the names that Python gives them.
const NAMES: [(&str, Kind); 4] =
    [("float32", Kind::Float), ("bfloat16", Kind::BFloat16), ("float16", Kind::Half), ("float64", Kind::Double)];

impl FromStr for Dtype {
    type Err = String;

    /// Reads `auto`, `float32`, `bfloat16`, `float16` or `float64`.
    fn from_str(name: &str) -> Result<Self, String> {
        if name == "auto" {
            return Ok(Self::Auto);
        }
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known
            .map(|(_, kind)| Self::Kind(*kind))
            .ok_or_else(|| format!("no dtype `{name}`; there are auto, {}", NAMES.map(|(known, _)| known).join(", ")))
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Kind(kind) = self else { return f.write_str("auto") };
        match NAMES.iter().find(|(_, known)| known == kind) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{kind:?}"),
        }
    }
}

/// The kind that `config.json` says its weights are in: `dtype`, else `torch_dtype` as older files call it.
///
/// # Errors
/// When it names no floating-point kind that a model can be in.
pub(crate) fn kind_in_config(model_type: &str, config: &Value) -> Result<Option<Kind>> {
    let said = ["dtype", "torch_dtype"].into_iter().find_map(|field| {
        let value = config.get(field).filter(|value| !value.is_null())?;
        Some((field, value))
    });
    let Some((field, value)) = said else { return Ok(None) };
    let kind = value.as_str().and_then(kind_of).filter(|kind| NAMES.iter().any(|(_, known)| known == kind));
    let names = NAMES.map(|(name, _)| name).join(", ");
    let message = || format!("is {value}, expected one of {names}; or say which kind to load the weights in");
    kind.map(Some).ok_or_else(|| Error::config(model_type, field, message()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for name in ["auto", "float32", "bfloat16", "float16", "float64"] {
            assert_eq!(name.parse::<Dtype>().unwrap().to_string(), name);
        }
        assert!("int8".parse::<Dtype>().unwrap_err().contains("float16"));
    }

    #[test]
    fn a_configuration_names_its_kind_by_either_field() {
        let said = |config: Value| kind_in_config("toy", &config);
        assert_eq!(said(json!({"dtype": "bfloat16", "torch_dtype": "float32"})).unwrap(), Some(Kind::BFloat16));
        assert_eq!(said(json!({"dtype": null, "torch_dtype": "float16"})).unwrap(), Some(Kind::Half));
        assert_eq!(said(json!({})).unwrap(), None);
        for wrong in [json!("int8"), json!("float31"), json!(16)] {
            let error = said(json!({"torch_dtype": wrong})).unwrap_err();
            assert!(matches!(&error, Error::Config { field, .. } if field == "torch_dtype"), "{error}");
        }
    }
}
