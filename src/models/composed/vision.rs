use serde_json::{Map, Value};

use super::{DecoderLogits, composed};
use crate::config::{as_part, normalise_any_part};
use crate::model::{Architecture, Generation, Head, Module};
use crate::models::bert::BertConfig;
use crate::models::vit::VitConfig;
use crate::nn::heads::Headed;
use crate::weights::Weights;
use crate::{Result, tasks};

crate::config! {
    /// Configuration of [`VisionEncoderDecoder`].
    pub struct VisionEncoderDecoderConfig("vision-encoder-decoder") {
        /// The encoder: any architecture of the roster that returns hidden states of an image.
        encoder: Value = as_part(VitConfig::default()),
        /// The decoder: any language model of the roster that attends to an encoder.
        decoder: Value = as_part(BertConfig { is_decoder: true, add_cross_attention: true, ..BertConfig::default() }),
        /// The decoder's first token; where it is absent, what the decoder's own configuration calls it or its first token.
        decoder_start_token_id: Option<i64> = None,
    }
    parts: ["encoder", "decoder"]
    upgrade: upgrade;
}

fn upgrade(fields: &mut Map<String, Value>, default: &VisionEncoderDecoderConfig) -> Result<()> {
    let token =
        |name: &str| fields.get("decoder").and_then(|decoder| decoder.get(name)).filter(|token| !token.is_null());
    if fields.get("decoder_start_token_id").is_none_or(Value::is_null)
        && let Some(start) = token("decoder_start_token_id").or(token("bos_token_id")).cloned()
    {
        fields.insert("decoder_start_token_id".into(), start);
    }
    normalise_any_part::<VitConfig>(fields, "encoder", default.encoder.clone())?;
    normalise_any_part::<BertConfig>(fields, "decoder", default.decoder.clone())
}

/// A vision encoder whose output a language model writes out (TrOCR, Donut, image captioning);
/// `transformers.models.vision_encoder_decoder`.
#[derive(Debug)]
pub struct VisionEncoderDecoder;

impl Architecture for VisionEncoderDecoder {
    type Config = VisionEncoderDecoderConfig;
}

impl Head<tasks::ImageTextToText> for VisionEncoderDecoder {
    fn load(config: &VisionEncoderDecoderConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let body = composed("vision-encoder-decoder", &config.encoder, &config.decoder, weights)?;
        Ok(match config.decoder_start_token_id.filter(|_| body.decoder().generates()) {
            Some(start) => {
                let generation = Generation::EncoderDecoder { start, encodes: "pixel_values" };
                Box::new(Headed::generating(body, DecoderLogits, generation))
            }
            None => Box::new(Headed::new(body, DecoderLogits)),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;
    use tch::{Device, Kind, Tensor};

    use super::*;
    use crate::Inputs;
    use crate::config::ModelConfig;
    use crate::weights::{LoadOptions, TensorSource};

    fn config(decoder: Value) -> VisionEncoderDecoderConfig {
        let sizes = json!({
            "hidden_size": 4, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 6,
            "image_size": 4, "patch_size": 2,
        });
        let mut whole = json!({ "encoder": sizes, "decoder": sizes });
        whole["decoder"]["bos_token_id"] = 5.into();
        if let (Value::Object(whole), Value::Object(decoder)) = (&mut whole["decoder"], decoder) {
            whole.extend(decoder);
        }
        VisionEncoderDecoderConfig::from_json(&whole).unwrap()
    }

    fn load(config: &VisionEncoderDecoderConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        <VisionEncoderDecoder as Head<tasks::ImageTextToText>>::load(config, weights)
    }

    #[test]
    fn decoders_that_do_not_fit_are_refused() {
        for (decoder, field) in [
            (json!({}), "decoder"),
            (json!({ "model_type": "llama" }), "decoder"),
            (json!({ "model_type": "vit" }), "vit"),
            (json!({ "model_type": "trocr", "cross_attention_hidden_size": 6 }), "cross_attention_hidden_size"),
        ] {
            let error = load(&config(decoder), &Weights::nothing()).unwrap_err().to_string();
            assert!(error.contains(field), "{error}");
        }
    }

    #[test]
    fn a_checkpoint_without_the_pooler_loads() {
        let config = config(json!({ "is_decoder": true, "add_cross_attention": true }));
        assert_eq!(config.decoder_start_token_id, Some(5));
        let nothing = Weights::nothing();
        load(&config, &nothing).unwrap();
        let ones = |shape: &Vec<i64>| Tensor::ones(&shape[..], (Kind::Float, Device::Cpu));
        let stored: BTreeMap<_, _> = nothing
            .expected()
            .iter()
            .filter(|(name, _)| !name.starts_with("encoder.pooler."))
            .map(|(name, shape)| (name.clone(), ones(shape)))
            .collect();
        let count = stored.len();
        let weights = Weights::new(TensorSource::Memory(stored), LoadOptions::default());
        let model = load(&config, &weights).unwrap();
        let (report, state) = weights.finish();
        assert!(report.is_clean(), "{report}");
        assert_eq!(state.names().count(), count);
        let inputs = Inputs::new()
            .with("pixel_values", Tensor::ones([1, 3, 4, 4], (Kind::Float, Device::Cpu)))
            .with("decoder_input_ids", Tensor::from_slice2(&[[5_i64, 6]]));
        let logits = model.forward(&inputs, None).unwrap().take("logits").map(|logits| logits.size());
        assert_eq!(logits, Some(vec![1, 2, 30522]));
    }
}
