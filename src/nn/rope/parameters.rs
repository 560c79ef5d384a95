use std::collections::BTreeMap;
use std::f64::consts::TAU;

use serde::de::{Deserializer, Error as _};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Pairing, RopeScaling, RopeSpec};
use crate::{Error, Result};

/// `rope_type` of [`RopeParameters`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RopeType {
    /// As trained.
    #[default]
    Default,
    /// All divided by a factor.
    Linear,
    /// A base that grows with sequences beyond the trained length (NTK-aware).
    Dynamic,
    /// High ones kept, low ones divided, a ramp between (Peng et al., 2023).
    Yarn,
    /// Each divided by a factor of its own, one set for short and one for long sequences (Ding et al., 2024).
    Longrope,
    /// By wavelength: short kept, long divided, smoothed between.
    Llama3,
    /// Only a proportion of the pairs rotates.
    Proportional,
}

/// `rope_parameters` of a configuration, as `transformers.modeling_rope_utils` defines them.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum RopeParameters {
    /// The same for all layers.
    Same(Box<RopeSettings>),
    /// For each type of layer its own; a type without any rotates nothing.
    ByType(BTreeMap<String, Option<RopeSettings>>),
}

/// Parameters of one kind of rotation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RopeSettings {
    /// Which frequencies.
    #[serde(default)]
    pub rope_type: RopeType,
    /// Base of the frequencies.
    #[serde(default = "default_theta")]
    pub rope_theta: f64,
    /// Part of a head that is rotated.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub partial_rotary_factor: Option<f64>,
    /// Growth of the context.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// Length of the context in pretraining.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub original_max_position_embeddings: Option<i64>,
    /// Scales queries and keys.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attention_factor: Option<f64>,
    /// Rotations above which YaRN keeps a frequency; 32 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta_fast: Option<f64>,
    /// Rotations below which YaRN divides a frequency; 1 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta_slow: Option<f64>,
    /// Weight of the logarithm in YaRN's attention factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mscale: Option<f64>,
    /// The same in its denominator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mscale_all_dim: Option<f64>,
    /// Whether YaRN's ramp starts and ends at whole pairs; true by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub truncate: Option<bool>,
    /// LongRoPE's divisors up to the original length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub short_factor: Option<Vec<f64>>,
    /// LongRoPE's divisors beyond.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub long_factor: Option<Vec<f64>>,
    /// Llama 3: the original length over this is where long wavelengths start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub low_freq_factor: Option<f64>,
    /// Llama 3: the original length over this is where short wavelengths end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_freq_factor: Option<f64>,
    /// How many pairs rotate by each of a token's positions in turn, where it has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mrope_section: Option<Vec<i64>>,
    /// Hunyuan: growth of the context that the base follows, whatever the length of a sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alpha: Option<f64>,
}

fn default_theta() -> f64 {
    10_000.0
}

impl crate::proofs::Takes for RopeParameters {
    const KIND: crate::proofs::Kind = crate::proofs::Kind::Table;
}

impl Default for RopeParameters {
    fn default() -> Self {
        Self::plain(default_theta())
    }
}

impl<'de> Deserialize<'de> for RopeParameters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let fields = Map::deserialize(deserializer)?;
        let settings = |value: Value| {
            serde_path_to_error::deserialize(value)
                .map_err(|error| D::Error::custom(format!("`{}`: {}", error.path(), error.inner())))
        };
        if !fields.values().any(Value::is_object) {
            return settings(Value::Object(fields)).map(Box::new).map(Self::Same);
        }
        let of_type = |(kind, value): (String, Value)| match value {
            Value::Null => Ok((kind, None)),
            Value::Object(_) => Ok((kind, Some(settings(value)?))),
            _ => Err(D::Error::custom(format!("`{kind}` stands beside parameters of single types of layers"))),
        };
        fields.into_iter().map(of_type).collect::<std::result::Result<_, _>>().map(Self::ByType)
    }
}

impl RopeParameters {
    /// Unscaled frequencies of base `rope_theta` in all layers.
    pub fn plain(rope_theta: f64) -> Self {
        Self::Same(Box::new(RopeSettings::plain(rope_theta)))
    }

    /// Unscaled frequencies, of a base for each type of layer.
    pub fn plain_by_type(bases: &[(&str, f64)]) -> Self {
        let of_type = |(kind, theta): &(&str, f64)| ((*kind).to_owned(), Some(RopeSettings::plain(*theta)));
        Self::ByType(bases.iter().map(of_type).collect())
    }

    /// The same rotating `share` of each head.
    pub fn partial(mut self, share: f64) -> Self {
        let settings: Vec<_> = match &mut self {
            Self::Same(settings) => vec![settings.as_mut()],
            Self::ByType(types) => types.values_mut().flatten().collect(),
        };
        settings.into_iter().for_each(|settings| settings.partial_rotary_factor = Some(share));
        self
    }

    /// What all layers share.
    ///
    /// # Errors
    /// [`Error::Config`] where types of layers differ.
    pub fn same(&self, model_type: &str) -> Result<&RopeSettings> {
        match self {
            Self::Same(settings) => Ok(settings),
            Self::ByType(_) => {
                let message = "this architecture rotates all layers alike; got parameters for types of layers";
                Err(Error::config(model_type, "rope_parameters", message))
            }
        }
    }

    /// What layers of type `kind` have; `None` where they rotate nothing.
    ///
    /// # Errors
    /// [`Error::Config`] where nothing is said about that type.
    pub fn of_type(&self, model_type: &str, kind: &str) -> Result<Option<&RopeSettings>> {
        match self {
            Self::Same(settings) => Ok(Some(settings)),
            Self::ByType(types) => {
                let missing = || Error::config(model_type, format!("rope_parameters.{kind}"), "is missing");
                types.get(kind).map(Option::as_ref).ok_or_else(missing)
            }
        }
    }
}

impl RopeSettings {
    /// Unscaled frequencies of base `rope_theta`.
    pub fn plain(rope_theta: f64) -> Self {
        Self {
            rope_type: RopeType::Default,
            rope_theta,
            partial_rotary_factor: None,
            factor: None,
            original_max_position_embeddings: None,
            attention_factor: None,
            beta_fast: None,
            beta_slow: None,
            mscale: None,
            mscale_all_dim: None,
            truncate: None,
            short_factor: None,
            long_factor: None,
            low_freq_factor: None,
            high_freq_factor: None,
            mrope_section: None,
            alpha: None,
        }
    }

    /// The frequencies for heads of `head_dim` in a model of `model_type` with `max_positions`
    /// (`max_position_embeddings`).
    ///
    /// `partial` is whether the architecture can rotate a part of a head, as `partial_rotary_factor` says; those that
    /// cannot rotate all of it.
    ///
    /// # Errors
    /// [`Error::Config`] for a parameter that is missing or out of range.
    pub fn spec(&self, model_type: &str, head_dim: i64, max_positions: i64, partial: bool) -> Result<RopeSpec> {
        let wrong =
            |field: &str, message: String| Error::config(model_type, format!("rope_parameters.{field}"), message);
        let need = |field: &str, value: Option<f64>| {
            let missing = || wrong(field, format!("is missing, which `rope_type` {:?} needs", self.rope_type));
            value.filter(|value| value.is_finite()).ok_or_else(missing)
        };
        let positive = |field: &str, value: f64| match value > 0.0 && value.is_finite() {
            true => Ok(value),
            false => Err(wrong(field, format!("must be positive and finite, got {value}"))),
        };
        let theta = positive("rope_theta", self.rope_theta)?;
        let factor = || positive("factor", need("factor", self.factor)?);
        let original = || {
            let length = self.original_max_position_embeddings.unwrap_or(max_positions);
            positive("original_max_position_embeddings", length as f64)
        };
        let share = self.partial_rotary_factor.unwrap_or(1.0);
        if !(0.0..=1.0).contains(&share) {
            return Err(wrong("partial_rotary_factor", format!("must be from 0 to 1, got {share}")));
        }
        let whole_head = matches!(self.rope_type, RopeType::Proportional);
        if !partial && !whole_head && self.rope_type != RopeType::Default && share != 1.0 {
            return Err(wrong("partial_rotary_factor", format!("this architecture rotates whole heads, got {share}")));
        }
        let width = if partial && !whole_head { (head_dim as f64 * share) as i64 } else { head_dim };
        if width < 2 || width % 2 != 0 {
            return Err(wrong(
                "partial_rotary_factor",
                format!("{width} elements of a head of {head_dim} form no pairs"),
            ));
        }
        let pairs = width / 2;
        let scaling = match self.rope_type {
            RopeType::Default => RopeScaling::None,
            RopeType::Linear => RopeScaling::Linear { factor: factor()? },
            RopeType::Dynamic if width == 2 => {
                return Err(wrong("rope_type", "dynamic needs more than one pair per head".into()));
            }
            RopeType::Dynamic => RopeScaling::Dynamic { factor: factor()?, max_positions },
            RopeType::Yarn => {
                let original = original()?;
                let factor = self.factor.map_or(Ok(max_positions as f64 / original), |_| factor())?;
                // Zero counts as absent, as Python reads it.
                let given = |value: Option<f64>| value.filter(|value| *value != 0.0);
                let ramp = self.ramp(theta, width, original, (given(self.beta_fast), given(self.beta_slow)));
                let attention_factor =
                    self.attention_factor.unwrap_or_else(|| match (given(self.mscale), given(self.mscale_all_dim)) {
                        (Some(over), Some(under)) => yarn_scale(factor, over) / yarn_scale(factor, under),
                        _ => yarn_scale(factor, 1.0),
                    });
                RopeScaling::Yarn { factor, attention_factor, ramp }
            }
            RopeType::Longrope => {
                let original = original()?;
                let factor = self.factor.map_or(Ok(max_positions as f64 / original), |_| factor())?;
                let factors = |field: &str, values: &Option<Vec<f64>>| match values {
                    Some(values) if values.len() as i64 == pairs => Ok(values.clone()),
                    Some(values) => {
                        Err(wrong(field, format!("needs {pairs} numbers, one per pair, got {}", values.len())))
                    }
                    None => Err(wrong(field, "is missing, which longrope needs".into())),
                };
                let attention_factor = self.attention_factor.unwrap_or(match factor <= 1.0 {
                    true => 1.0,
                    false => (1.0 + factor.ln() / original.ln()).sqrt(),
                });
                RopeScaling::Long {
                    short: factors("short_factor", &self.short_factor)?,
                    long: factors("long_factor", &self.long_factor)?,
                    original: original as i64,
                    attention_factor,
                }
            }
            RopeType::Llama3 => RopeScaling::Llama3 {
                factor: factor()?,
                low: positive("low_freq_factor", need("low_freq_factor", self.low_freq_factor)?)?,
                high: positive("high_freq_factor", need("high_freq_factor", self.high_freq_factor)?)?,
                original: original()?,
            },
            RopeType::Proportional => RopeScaling::Proportional {
                factor: self.factor.map_or(Ok(1.0), |_| factor())?,
                rotated: (share * head_dim as f64 / 2.0).floor() as i64,
            },
        };
        Ok(RopeSpec { theta, width, scaling, pairing: Pairing::Half, axes: Vec::new() })
    }

    /// The same with the base that `alpha` makes of it for heads of `head_dim`, where `rope_type` is dynamic and there is
    /// one (not 0): Hunyuan's models, whose frequencies do not follow the length of a sequence.
    pub fn stretched(&self, head_dim: i64) -> Self {
        match self.alpha.filter(|alpha| *alpha != 0.0 && self.rope_type == RopeType::Dynamic) {
            None => self.clone(),
            Some(alpha) => {
                let width = head_dim as f64;
                let rope_theta = self.rope_theta * alpha.powf(width / (width - 2.0));
                Self { rope_type: RopeType::Default, rope_theta, ..self.clone() }
            }
        }
    }

    /// What DeepSeek's models multiply the scale of scores by for stretched contexts, `mscale_all_dim` of YaRN squared;
    /// 1 where nothing is said.
    ///
    /// # Errors
    /// [`Error::Config`] where the factor that it follows from is missing.
    pub fn score_scale(&self, model_type: &str) -> Result<f64> {
        let weight = self.mscale_all_dim.filter(|weight| *weight != 0.0 && self.rope_type != RopeType::Default);
        let Some(weight) = weight else { return Ok(1.0) };
        let missing =
            || Error::config(model_type, "rope_parameters.factor", "is missing, which `mscale_all_dim` needs");
        Ok(yarn_scale(self.factor.ok_or_else(missing)?, weight).powi(2))
    }

    /// The pairs between which YaRN passes from kept to divided frequencies.
    fn ramp(&self, theta: f64, width: i64, original: f64, betas: (Option<f64>, Option<f64>)) -> (f64, f64) {
        let pair = |rotations: f64| width as f64 * (original / (rotations * TAU)).ln() / (2.0 * theta.ln());
        let (low, high) = (pair(betas.0.unwrap_or(32.0)), pair(betas.1.unwrap_or(1.0)));
        let (low, high) = if self.truncate.unwrap_or(true) { (low.floor(), high.ceil()) } else { (low, high) };
        (low.max(0.0), high.min((width - 1) as f64))
    }
}

fn yarn_scale(factor: f64, weight: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * weight * factor.ln() + 1.0 }
}

/// Brings the older spellings `rope_theta`, `rope_scaling`, `partial_rotary_factor` and
/// `original_max_position_embeddings` of a configuration into `rope_parameters`.
///
/// `default` and `max_positions` are what the architecture has where nothing is said. Where types of layers differ,
/// the older spellings speak of those that see all tokens.
pub fn upgrade(fields: &mut Map<String, Value>, default: &RopeParameters, max_positions: i64) {
    let max_positions = fields.get("max_position_embeddings").cloned().unwrap_or(json!(max_positions));
    let trained = fields.get("original_max_position_embeddings").cloned().filter(said);
    let scaling = fields.remove("rope_scaling").filter(said);
    let (theta, share) =
        (fields.remove("rope_theta").filter(said), fields.remove("partial_rotary_factor").filter(said));
    let given = fields.remove("rope_parameters").filter(said);
    let filled =
        |rope: &mut Map<String, Value>, default: &RopeSettings, theta: Option<Value>, trained: Option<Value>| {
            rope.entry("rope_theta").or_insert(theta.unwrap_or(json!(default.rope_theta)));
            if let Some(share) = share.clone().or(default.partial_rotary_factor.map(|share| json!(share))) {
                rope.entry("partial_rotary_factor").or_insert(share);
            }
            let kind = rope.remove("type").filter(said).unwrap_or(json!("default"));
            let kind = rope.entry("rope_type").or_insert(kind);
            if ["llama3", "yarn", "longrope"].iter().any(|needs| kind == needs) {
                match trained {
                    Some(trained) => drop(rope.insert("original_max_position_embeddings".into(), trained)),
                    None => drop(rope.entry("original_max_position_embeddings").or_insert(max_positions.clone())),
                }
            }
        };
    let rope = match default {
        RopeParameters::Same(default) => match scaling.or(given).unwrap_or_else(|| Map::new().into()) {
            Value::Object(rope) if rope.values().any(Value::is_object) => Value::Object(rope),
            Value::Object(mut rope) => {
                filled(&mut rope, default, theta, trained);
                Value::Object(rope)
            }
            // For the parser to refuse.
            other => other,
        },
        RopeParameters::ByType(types) => match given.unwrap_or_else(|| Map::new().into()) {
            Value::Object(mut rope) => {
                for (kind, default) in types {
                    let full = kind == "full_attention";
                    let Some(default) = default else { continue };
                    let of_type = rope.entry(kind.as_str()).or_insert(Value::Null);
                    if of_type.is_null() {
                        *of_type = Map::new().into();
                    }
                    let Value::Object(of_type) = of_type else { continue };
                    if let (true, Some(Value::Object(scaling))) = (full, &scaling) {
                        of_type.extend(scaling.clone());
                    }
                    filled(of_type, default, theta.clone().filter(|_| full), None);
                }
                Value::Object(rope)
            }
            other => other,
        },
    };
    fields.insert("rope_parameters".into(), rope);
}

/// Whether a configuration says anything with `value`.
fn said(value: &Value) -> bool {
    !value.is_null() && value.as_object().is_none_or(|object| !object.is_empty())
}
