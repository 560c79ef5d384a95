use serde_json::{Map, Value};
use tch::Tensor;

use super::VisionSpec;
use crate::config::{align_stages, stem_and_stages};
use crate::nn::heads::{Features, Readout};
use crate::nn::{Norm, PatchSpec};
use crate::{Error, Inputs, Outputs, Result};

/// Hidden states of some layers as feature maps, for detectors and segmenters: `feature_maps.N`.
///
/// The body records the hidden states of its layers whether the caller wants them or not ([`VisionSpec::recording`]).
#[derive(Debug)]
pub struct FeatureMaps {
    patches: PatchSpec,
    /// 0 stands for what goes into the first layer.
    layers: Vec<usize>,
    norm: Option<Norm>,
    /// Whether they are maps, or the sequences as they are.
    reshaped: bool,
}

impl FeatureMaps {
    /// Maps of `layers` of the tower `spec`; 0 stands for what goes into the first.
    pub fn new(spec: &VisionSpec, layers: impl IntoIterator<Item = i64>) -> Self {
        let layers = layers.into_iter().map(|layer| usize::try_from(layer).unwrap_or(0)).collect();
        Self { patches: spec.patches, layers, norm: None, reshaped: true }
    }

    /// The same normalised first, where there is a norm.
    pub fn normed(self, norm: Option<Norm>) -> Self {
        Self { norm, ..self }
    }

    /// Sequences in place of maps, special tokens included, unless `reshaped`.
    pub fn reshaped(self, reshaped: bool) -> Self {
        Self { reshaped, ..self }
    }

    /// The maps, `[batch, width, rows, columns]` each.
    ///
    /// # Errors
    /// [`Error::Input`] when the body has not recorded a layer.
    pub fn of(&self, features: &Features, inputs: &Inputs) -> Result<Vec<Tensor>> {
        let size = inputs.need("pixel_values")?.size();
        let [rows, columns] = self.patches.grid([size[2], size[3]]);
        let map = |layer: &usize| {
            let name = format!("hidden_states.{layer}");
            let hidden = features.rest.get(&name).ok_or_else(|| Error::input(&name, "is not recorded"))?;
            let hidden = self.norm.as_ref().map_or_else(|| hidden.shallow_clone(), |norm| norm.forward(hidden));
            if !self.reshaped {
                return Ok(hidden);
            }
            let patches = hidden.narrow(1, self.patches.tokens.len() as i64, rows * columns);
            Ok(patches.transpose(1, 2).reshape([size[0], -1, rows, columns]))
        };
        self.layers.iter().map(map).collect()
    }

    /// Whether the hidden states under `name` are returned: where the caller asked for them.
    pub fn returned(name: &str, inputs: &Inputs) -> bool {
        !name.starts_with("hidden_states.") || inputs.is_set("output_hidden_states")
    }
}

impl Readout for FeatureMaps {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let mut outputs = Outputs::new();
        outputs.insert_list("feature_maps", self.of(features, inputs)?);
        Ok(outputs)
    }

    fn returns(&self, name: &str, inputs: &Inputs) -> bool {
        Self::returned(name, inputs)
    }
}

/// Brings the stages of a backbone into line where each layer is one: see [`align_stages`]. There are `default` layers
/// where the fields do not say.
pub(super) fn align_layers(model_type: &str, fields: &mut Map<String, Value>, default: i64) -> Result<()> {
    let layers = fields.get("num_hidden_layers").and_then(Value::as_i64).unwrap_or(default);
    // More are refused when the configuration is validated.
    let layers = usize::try_from(layers.clamp(0, 10_000)).unwrap_or(0);
    align_stages(model_type, fields, &stem_and_stages(layers))
}
