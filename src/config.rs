//! Configurations: plain structs with the defaults of the pinned `transformers`, read from `config.json`.

mod declare;

use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::{Error, Result};

/// The configuration of one architecture.
///
/// Implemented by the [`config!`](crate::config!) macro; a field that `config.json` lacks takes its default.
pub trait ModelConfig:
    Serialize + DeserializeOwned + Default + Clone + std::fmt::Debug + Send + Sync + 'static
{
    /// `model_type` as it stands in `config.json`.
    const MODEL_TYPE: &'static str;
    /// Fields that the architecture reads.
    const FIELDS: &'static [&'static str];
    /// Fields that Python has and that change nothing about the numbers at inference.
    const IGNORED: &'static [&'static str];
    /// `(other spelling, field)`: names that older checkpoints use.
    const ALIASES: &'static [(&'static str, &'static str)];
    /// Fields that hold a configuration of their own.
    const PARTS: &'static [&'static str];

    /// Fields of the configuration that it derives from which Python's class lacks: nothing reads them.
    const WITHOUT: &'static [&'static str];
    /// Fields that Python's class does not declare, and reads where a file has them.
    const UNDECLARED: &'static [&'static str];

    /// Brings older spellings into today's form, and fills what follows from other fields, before the fields are read;
    /// `default` is what stands in for absent ones.
    fn upgrade(_fields: &mut Map<String, Value>, _default: &Self) -> Result<()> {
        Ok(())
    }

    /// Refuses values that the architecture does not support.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

    /// Reads fields that are in today's form; absent ones take their defaults.
    fn parse(fields: Map<String, Value>) -> Result<Self> {
        parse(Self::MODEL_TYPE, fields)
    }

    /// Reads a configuration from JSON: aliases, older spellings, defaults, then validation.
    fn from_json(json: &Value) -> Result<Self> {
        let Value::Object(fields) = json else {
            return Err(Error::config(Self::MODEL_TYPE, "config.json", "is not a JSON object"));
        };
        let mut fields = fields.clone();
        for (alias, field) in Self::ALIASES {
            if let Some(value) = fields.remove(*alias) {
                fields.entry(*field).or_insert(value);
            }
        }
        Self::WITHOUT.iter().for_each(|field| drop(fields.remove(*field)));
        count_labels(&mut fields);
        Self::upgrade(&mut fields, &Self::default())?;
        let config = Self::parse(fields)?;
        config.validate()?;
        Ok(config)
    }
}

/// Reads `fields` as a `C`, for [`ModelConfig::parse`].
#[doc(hidden)]
pub fn parse<C: DeserializeOwned>(model_type: &str, fields: Map<String, Value>) -> Result<C> {
    serde_path_to_error::deserialize(Value::Object(fields))
        .map_err(|error| Error::config(model_type, error.path().to_string(), error.inner().to_string()))
}

/// `fields` with the values of `default` where they have none, for [`ModelConfig::parse`].
#[doc(hidden)]
pub fn filled<C: ModelConfig>(default: &C, fields: Map<String, Value>) -> Result<Map<String, Value>> {
    match serde_json::to_value(default) {
        Ok(Value::Object(mut whole)) => {
            whole.extend(fields);
            Ok(whole)
        }
        _ => Err(Error::config(C::MODEL_TYPE, "config.json", "has defaults that are no JSON object")),
    }
}

/// What `Base` says of its configuration, said of that of its heir `C`.
#[doc(hidden)]
pub fn heir_of<Base: ModelConfig, C: ModelConfig>(error: Error) -> Error {
    match error {
        Error::Config { model_type, field, message } if model_type == Base::MODEL_TYPE => {
            Error::Config { model_type: C::MODEL_TYPE.into(), field, message }
        }
        other => other,
    }
}

/// Fields of `config.json` that no architecture reads at inference.
pub const IGNORED_EVERYWHERE: &[&str] = &[
    "_name_or_path",
    "architectures",
    "model_type",
    "transformers_version",
    "dtype",
    "torch_dtype",
    "return_dict",
    "output_hidden_states",
    "output_attentions",
    "use_cache",
    "chunk_size_feed_forward",
    "problem_type",
    "label2id",
    "id2label",
    "is_encoder_decoder",
    "initializer_range",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "sep_token_id",
    "cls_token_id",
    "decoder_start_token_id",
    "_attn_implementation",
    "attn_implementation",
    "tie_word_embeddings",
    "num_labels",
];

/// `id2label` fixes the number of labels; `num_labels` does where there is no table.
fn count_labels(fields: &mut Map<String, Value>) {
    if let Some(Value::Object(labels)) = fields.get("id2label") {
        let count = labels.len();
        fields.insert("num_labels".into(), count.into());
    }
}

/// Reads and parses `config.json` in `directory`.
pub fn read_json(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
    serde_json::from_str(&text).map_err(|error| Error::Json { path: path.into(), message: error.to_string() })
}

/// The `model_type` of a parsed `config.json`.
pub fn model_type(json: &Value) -> Result<&str> {
    json.get("model_type").and_then(Value::as_str).ok_or_else(|| {
        Error::config("?", "model_type", "is missing; config.json must name the architecture, e.g. \"bert\"")
    })
}

/// Layers, or experts of a layer, that a model may have at most: ten times what the deepest have. A larger number is a
/// mistake, and nothing is allocated for it.
const MOST_LAYERS: i64 = 10_000;

/// Any other size at most.
const MOST: i64 = i32::MAX as i64;

/// Checks that each of `sizes`, which count or shape something, is at least 1 and of this world.
pub fn positive(model_type: &str, sizes: &[(&str, i64)]) -> Result<()> {
    for (field, count) in sizes {
        let most = if field.contains("layers") || field.contains("experts") { MOST_LAYERS } else { MOST };
        if !(1..=most).contains(count) {
            return Err(Error::config(model_type, *field, format!("must be from 1 to {most}, got {count}")));
        }
    }
    Ok(())
}

/// Checks that `whole` is a multiple of `part`.
pub fn divides(model_type: &str, (whole, size): (&str, i64), (part, by): (&str, i64)) -> Result<()> {
    positive(model_type, &[(whole, size), (part, by)])?;
    if size % by == 0 {
        return Ok(());
    }
    Err(Error::config(model_type, whole, format!("{size} must be a multiple of `{part}` ({by})")))
}

/// Checks lists that describe the same layers: as long as the first, not empty, and positive.
pub fn same_length(model_type: &str, first: (&str, &[i64]), others: &[(&str, &Vec<i64>)]) -> Result<()> {
    let (name, sizes) = first;
    if sizes.is_empty() {
        return Err(Error::config(model_type, name, "must not be empty"));
    }
    positive(model_type, &sizes.iter().map(|size| (name, *size)).collect::<Vec<_>>())?;
    for (other, values) in others {
        if values.len() != sizes.len() {
            let message = format!("has {} values, `{name}` has {}", values.len(), sizes.len());
            return Err(Error::config(model_type, *other, message));
        }
        positive(model_type, &values.iter().map(|value| (*other, *value)).collect::<Vec<_>>())?;
    }
    Ok(())
}

/// One number or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(untagged)]
pub enum OneOrMore {
    /// One.
    One(i64),
    /// Several.
    Many(Vec<i64>),
}

impl OneOrMore {
    /// All of them.
    pub fn all(&self) -> &[i64] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl crate::proofs::Takes for OneOrMore {
    const KIND: crate::proofs::Kind = crate::proofs::ONE_OR_MORE_INTEGERS;
}

/// A size over two dimensions: one number for both, or height and width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(untagged, expecting = "expected an integer, or a list of height and width")]
pub enum Size2d {
    /// The same in both directions.
    Square(i64),
    /// Height and width.
    Sides([i64; 2]),
}

impl crate::proofs::Takes for Size2d {
    const KIND: crate::proofs::Kind = crate::proofs::ONE_OR_MORE_INTEGERS;
}

impl Size2d {
    /// Height and width.
    pub fn sides(self) -> [i64; 2] {
        match self {
            Self::Square(side) => [side; 2],
            Self::Sides(sides) => sides,
        }
    }
}

/// Reads the configuration that `fields` holds as `field`, its default where there is none, and puts it back in
/// today's form, checked.
///
/// # Errors
/// As [`ModelConfig::from_json`].
pub fn normalise_part<C: ModelConfig>(fields: &mut Map<String, Value>, field: &str) -> Result<()> {
    let given = fields.remove(field).filter(|given| !given.is_null());
    let part = normalised::<C>(field, &given.unwrap_or_else(|| Map::new().into()))?;
    fields.insert(field.to_owned(), part);
    Ok(())
}

/// As [`normalise_part`] for a part of any architecture, which is that of `C` where nothing is said: `default` stands
/// in where there is no such field, and another architecture's part stays as it is.
///
/// # Errors
/// As [`ModelConfig::from_json`].
pub fn normalise_any_part<C: ModelConfig>(fields: &mut Map<String, Value>, field: &str, default: Value) -> Result<()> {
    let given = fields.remove(field).filter(|given| !given.is_null()).unwrap_or(default);
    let other = given.get("model_type").is_some_and(|model_type| model_type != C::MODEL_TYPE);
    let mut part = if other { given } else { normalised::<C>(field, &given)? };
    if let Value::Object(part) = &mut part {
        part.entry("model_type").or_insert(C::MODEL_TYPE.into());
    }
    fields.insert(field.to_owned(), part);
    Ok(())
}

/// `config` as the part of another configuration, with its `model_type`.
pub fn as_part<C: ModelConfig>(config: C) -> Value {
    let mut fields = serde_json::to_value(config).unwrap_or_default();
    if let Value::Object(fields) = &mut fields {
        fields.insert("model_type".into(), C::MODEL_TYPE.into());
    }
    fields
}

fn normalised<C: ModelConfig>(field: &str, given: &Value) -> Result<Value> {
    serde_json::to_value(C::from_json(given)?)
        .map_err(|error| Error::config(C::MODEL_TYPE, field, format!("cannot be written as JSON: {error}")))
}

/// Checks that an image of `image_size` holds a patch of `patch_size` at least; height and width each.
pub fn holds_patches(model_type: &str, image: [i64; 2], patch: [i64; 2]) -> Result<()> {
    positive(model_type, &[("patch_size", patch[0].min(patch[1]))])?;
    if std::iter::zip(image, patch).all(|(image, patch)| image >= patch) {
        return Ok(());
    }
    let message = format!("{}x{} is smaller than `patch_size` ({}x{})", image[0], image[1], patch[0], patch[1]);
    Err(Error::config(model_type, "image_size", message))
}

/// The names of a stem and of `stages` stages after it.
pub fn stem_and_stages(stages: usize) -> Vec<String> {
    let stages = (1..=stages).map(|stage| format!("stage{stage}"));
    std::iter::once("stem".to_owned()).chain(stages).collect()
}

/// Brings `out_features`, `out_indices` and `stage_names` of a backbone into line: what is missing follows from the
/// rest, the last stage where nothing is said.
///
/// # Errors
/// When the two name different stages, a stage that does not exist, one twice, or stages out of order.
pub fn align_stages(model_type: &str, fields: &mut Map<String, Value>, names: &[String]) -> Result<()> {
    let wrong = |field: &str, why: &str| {
        Error::config(model_type, field, format!("{why}; the stages are, in order, {}", names.join(", ")))
    };
    let list = |field: &str| match fields.get(field) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items.clone())),
        Some(_) => Err(wrong(field, "is not a list")),
    };
    let position = |name: &Value| {
        names.iter().position(|known| name == known).ok_or_else(|| wrong("out_features", &format!("no stage {name}")))
    };
    // Negative indices count from the end.
    let index = |index: &Value| {
        let at = index.as_i64().map(|at| if at < 0 { at + names.len() as i64 } else { at });
        let at = at.and_then(|at| usize::try_from(at).ok()).filter(|at| *at < names.len());
        at.ok_or_else(|| wrong("out_indices", &format!("no stage {index}")))
    };
    let by_name: Option<Vec<_>> = list("out_features")?.map(|list| list.iter().map(position).collect()).transpose()?;
    let by_index: Option<Vec<_>> = list("out_indices")?.map(|list| list.iter().map(index).collect()).transpose()?;
    if by_name.is_some() && by_index.is_some() && by_name != by_index {
        return Err(wrong("out_indices", "names other stages than `out_features`"));
    }
    let (field, chosen) = match (by_name, by_index) {
        (Some(chosen), _) => ("out_features", chosen),
        (None, Some(chosen)) => ("out_indices", chosen),
        (None, None) => ("out_features", vec![names.len().saturating_sub(1)]),
    };
    if !chosen.is_sorted_by(|left, right| left < right) {
        return Err(wrong(field, "stages must come in order, each once"));
    }
    fields.insert("out_features".into(), chosen.iter().map(|at| names[*at].clone()).collect());
    fields.insert("out_indices".into(), chosen.into());
    fields.insert("stage_names".into(), names.to_vec().into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn aligned(given: Value) -> Result<(Value, Value)> {
        let Value::Object(mut fields) = given else { panic!("not an object: {given}") };
        align_stages("toy", &mut fields, &["stem", "stage1", "stage2"].map(str::to_owned))?;
        Ok((fields["out_features"].clone(), fields["out_indices"].clone()))
    }

    #[test]
    fn stages_follow_from_names_or_indices() {
        let both = |features: Value, indices: Value| (features, indices);
        assert_eq!(aligned(json!({})).unwrap(), both(json!(["stage2"]), json!([2])));
        assert_eq!(
            aligned(json!({"out_features": ["stem", "stage2"]})).unwrap(),
            both(json!(["stem", "stage2"]), json!([0, 2]))
        );
        assert_eq!(aligned(json!({"out_indices": [0, -2]})).unwrap(), both(json!(["stem", "stage1"]), json!([0, 1])));
    }

    #[test]
    fn stages_that_do_not_fit_are_refused() {
        for (given, field) in [
            (json!({"out_features": ["stage3"]}), "out_features"),
            (json!({"out_features": ["stage2", "stage1"]}), "out_features"),
            (json!({"out_features": "stage2"}), "out_features"),
            (json!({"out_indices": [3]}), "out_indices"),
            (json!({"out_indices": [1, 1]}), "out_indices"),
            (json!({"out_indices": [1], "out_features": ["stage2"]}), "out_indices"),
        ] {
            let error = aligned(given.clone()).unwrap_err();
            assert!(matches!(&error, Error::Config { field: named, .. } if named == field), "{given}: {error}");
        }
    }
}
