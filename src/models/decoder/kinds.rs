use serde_json::{Map, Value};

use super::DecoderSpec;
use crate::nn::rope::RopeSpec;
use crate::{Error, Result};

/// A layer that sees all tokens before it, as `layer_types` calls it.
pub const FULL: &str = "full_attention";

/// A layer that sees a window of tokens.
pub const SLIDING: &str = "sliding_attention";

/// Fills `layer_types` of a configuration, where it has none, with what `kind` says of each of its layers; `layers` is
/// how many there are where nothing is said.
pub fn fill_layer_types(fields: &mut Map<String, Value>, layers: i64, kind: impl Fn(i64) -> &'static str) {
    if fields.get("layer_types").is_some_and(|types| !types.is_null()) {
        return;
    }
    // A number of layers that cannot be is left for the parser and the validation to refuse.
    let layers = fields.get("num_hidden_layers").map_or(Some(layers), Value::as_i64).unwrap_or(0).min(10_000);
    fields.insert("layer_types".into(), (0..layers).map(kind).collect());
}

/// Takes `sliding_window_pattern` out of the fields of a configuration: every how many layers one sees all tokens;
/// `default` where nothing is said.
///
/// # Errors
/// [`Error::Config`] where it is no number of 1 or more.
pub fn take_pattern(model_type: &str, fields: &mut Map<String, Value>, default: i64) -> Result<i64> {
    match fields.remove("sliding_window_pattern").filter(|pattern| !pattern.is_null()) {
        None => Ok(default),
        Some(pattern) => pattern.as_i64().filter(|pattern| *pattern > 0).ok_or_else(|| {
            Error::config(model_type, "sliding_window_pattern", format!("must be 1 or more, got {pattern}"))
        }),
    }
}

/// Checks that `types` (`layer_types` of `model_type`) has one of `known` for each of `layers` layers.
///
/// # Errors
/// [`Error::Config`] that names what does not fit.
pub fn check_layer_types(model_type: &str, types: &[String], layers: i64, known: &[&str]) -> Result<()> {
    let wrong = |message: String| Err(Error::config(model_type, "layer_types", message));
    if let Some(other) = types.iter().find(|kind| !known.contains(&kind.as_str())) {
        return wrong(format!("`{other}` is not one of {}", known.join(", ")));
    }
    if types.len() as i64 != layers {
        return wrong(format!("has {} layers and `num_hidden_layers` is {layers}", types.len()));
    }
    Ok(())
}

/// Checks that there is a window of at least one token (`sliding_window` of `model_type`) where one of `types` is
/// [`SLIDING`].
///
/// # Errors
/// [`Error::Config`] otherwise.
pub fn check_window(model_type: &str, types: &[String], window: Option<i64>) -> Result<()> {
    match window {
        Some(1..) => Ok(()),
        None if types.iter().all(|kind| kind != SLIDING) => Ok(()),
        _ => {
            let message = format!("must be 1 or more, which layers of type {SLIDING} need; got {window:?}");
            Err(Error::config(model_type, "sliding_window", message))
        }
    }
}

impl DecoderSpec {
    /// The same with `window` on the layers that `types` calls [`SLIDING`].
    pub fn with_windows(self, types: &[String], window: Option<i64>) -> Self {
        self.with_layers(|index, layer| {
            layer.window = window.filter(|_| types.get(index).is_some_and(|kind| kind == SLIDING));
        })
    }

    /// The same with the rotation that `rope` gives for the type of each layer, which `types` says.
    ///
    /// # Errors
    /// Those of `rope`.
    pub fn with_ropes(mut self, types: &[String], rope: impl Fn(&str) -> Result<Option<RopeSpec>>) -> Result<Self> {
        for (layer, kind) in self.layers.iter_mut().zip(types) {
            layer.rope = rope(kind)?;
        }
        Ok(self)
    }
}
