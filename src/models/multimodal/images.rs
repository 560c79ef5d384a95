use serde::{Deserialize, Serialize, de::DeserializeOwned};
use tch::Tensor;

use super::{Found, Projector, Source};
use crate::config::OneOrMore;
use crate::inputs::Argument;
use crate::model::Module;
use crate::proofs::{Kind, Takes};
use crate::{Error, Inputs, Outputs, Result};

/// Which tokens of a vision tower are image features.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FeatureSelection {
    /// All but the first, the class token.
    Default,
    /// All.
    Full,
}

impl Takes for FeatureSelection {
    const KIND: Kind = Kind::Str;
}

/// What of a vision tower are image features.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pick {
    /// Its last hidden states.
    Last,
    /// Hidden states of some layers, side by side; a call may say others.
    Layers {
        /// Which layers: 0 are the embeddings, negative numbers count from the last.
        layers: OneOrMore,
        /// Which tokens.
        selection: FeatureSelection,
    },
}

/// Images of one size through a vision tower of the roster and a projector.
#[derive(Debug)]
pub struct Images {
    /// The architecture, for messages.
    pub model_type: &'static str,
    /// The tower.
    pub tower: Box<dyn Module>,
    /// What of it are features.
    pub pick: Pick,
    /// What brings them to the width of the language model.
    pub projector: Projector,
    /// The token whose places they take.
    pub placeholder: i64,
    /// Whether features are returned as one list, or by image.
    pub flat: bool,
}

impl Images {
    /// Features of the images, `[images, features, width]`.
    fn picked(&self, pixels: &Tensor, inputs: &Inputs) -> Result<Tensor> {
        let images = Inputs::new().with("pixel_values", pixels.shallow_clone());
        let Pick::Layers { layers, selection } = &self.pick else {
            let lacks = "the architecture returns no last_hidden_state";
            let last = self.tower.forward(&images, None)?.take("last_hidden_state");
            return last.ok_or_else(|| Error::config(self.model_type, "vision_config", lacks));
        };
        let layers = said(inputs, "vision_feature_layer", "a number or a list")?.unwrap_or_else(|| layers.clone());
        let selection =
            said(inputs, "vision_feature_select_strategy", "\"default\" or \"full\"")?.unwrap_or(*selection);
        let skipped = i64::from(selection == FeatureSelection::Default);
        let outputs = self.tower.forward(&images.with_flag("output_hidden_states", true), None)?;
        let states: Vec<&Tensor> =
            outputs.iter().filter(|(name, _)| name.starts_with("hidden_states.")).map(|(_, state)| state).collect();
        let feature = |layer: &i64| {
            let at = if *layer < 0 { layer + states.len() as i64 } else { *layer };
            let state = usize::try_from(at).ok().and_then(|at| states.get(at)).ok_or_else(|| {
                let message = format!("{layer}: the vision tower has {} hidden states, counted from 0", states.len());
                Error::config(self.model_type, "vision_feature_layer", message)
            })?;
            Ok(state.narrow(1, skipped, state.size()[1] - skipped))
        };
        let features = layers.all().iter().map(feature).collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&features, -1))
    }
}

/// What a call says as `name`, which is `kind`.
fn said<T: DeserializeOwned>(inputs: &Inputs, name: &str, kind: &str) -> Result<Option<T>> {
    let Some(flag) = inputs.flag(name).filter(|flag| !flag.is_null()) else { return Ok(None) };
    serde_json::from_value(flag.clone()).map(Some).map_err(|_| Error::input(name, format!("is {kind}, not {flag}")))
}

impl Source for Images {
    fn arguments(&self) -> Vec<Argument> {
        let pixels = self.tower.arguments().into_iter().filter(|argument| argument.name == "pixel_values");
        // There may be more images than texts.
        pixels.map(|pixels| Argument { required: false, ..pixels }.renamed("batch", "images")).collect()
    }

    fn features(&self, inputs: &Inputs) -> Result<Vec<Found>> {
        let Some(pixels) = inputs.get("pixel_values") else { return Ok(Vec::new()) };
        let projected = self.projector.forward(&self.picked(pixels, inputs)?);
        let features = projected.flatten(0, 1);
        let shown = if self.flat { features.shallow_clone() } else { projected };
        let shown = Outputs::new().with("image_hidden_states", shown);
        Ok(vec![Found { placeholder: self.placeholder, features, shown }])
    }
}
