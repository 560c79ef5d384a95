//! Encoder-decoders that are composed of two architectures of the roster: any encoder, and any language model that can
//! attend to what another encoded.
//!
//! `composed` is the body of all of them; an architecture says what its configuration is and which encoders it takes.

mod vision;

pub use vision::{VisionEncoderDecoder, VisionEncoderDecoderConfig};

use serde_json::Value;
use tch::Tensor;

use super::seq2seq::{Decoder, Encoded, Encoder, EncoderDecoder};
use crate::inputs::{Argument, Dim};
use crate::model::Module;
use crate::nn::Linear;
use crate::nn::heads::{Body, Features, Readout};
use crate::weights::Weights;
use crate::{Cache, Error, Inputs, LayerFormula, Outputs, Result, auto};

/// The arguments of a decoder on its own, and within an encoder-decoder.
const NAMES: [(&str, &str); 5] = [
    ("input_ids", "decoder_input_ids"),
    ("attention_mask", "decoder_attention_mask"),
    ("inputs_embeds", "decoder_inputs_embeds"),
    ("position_ids", "decoder_position_ids"),
    ("token_type_ids", "decoder_token_type_ids"),
];

/// The body of a composed model: `encoder` and `decoder` of `model_type`'s configuration at the places of these names, and
/// `enc_to_dec_proj` between them where the decoder is not as wide as what it attends to.
///
/// # Errors
/// [`Error::Config`] for parts that cannot be an encoder or a decoder, or do not fit each other.
pub fn composed(
    model_type: &str,
    encoder: &Value,
    decoder: &Value,
    weights: &Weights,
) -> Result<EncoderDecoder<PartEncoder, PartDecoder>> {
    let wrong = |field: &str, message: String| Error::config(model_type, field, message);
    // Whole vectors of an image or a text are not read, and many checkpoints have nothing to make them.
    weights.spare_below("encoder.pooler");
    let encoder = auto::part(encoder, "feature-extraction", &weights.at("encoder"))?;
    let width = encoder
        .width()
        .ok_or_else(|| wrong("encoder", "the architecture returns no hidden states to attend to".into()))?;
    let wanted = decoder.get("cross_attention_hidden_size").and_then(Value::as_i64);
    if let Some(wanted) = wanted.filter(|wanted| *wanted != width) {
        let message = format!("is {wanted}; what the encoder returns is {width} wide");
        return Err(wrong("decoder.cross_attention_hidden_size", message));
    }
    let decoder = PartDecoder(auto::part(decoder, "text-generation", &weights.at("decoder"))?);
    let takes = decoder.memory_width().ok_or_else(|| {
        let message = "the architecture attends to no encoder; those that can do so with `add_cross_attention`";
        wrong("decoder", message.into())
    })?;
    let bridge = (takes != width).then(|| Linear::load(&weights.at("enc_to_dec_proj"), width, takes, true));
    Ok(EncoderDecoder::new(PartEncoder(encoder), decoder, width).bridged(bridge))
}

/// An architecture as an encoder; all that it returns is seen.
#[derive(Debug)]
pub struct PartEncoder(Box<dyn Module>);

impl Body for PartEncoder {
    fn arguments(&self) -> Vec<Argument> {
        self.0.arguments()
    }

    fn run(&self, inputs: &Inputs, _: Option<&mut Cache>) -> Result<Features> {
        let mut rest = self.0.forward(inputs, None)?;
        let hidden = rest
            .take("last_hidden_state")
            .ok_or_else(|| Error::input("encoder", "the architecture returns no last_hidden_state"))?;
        rest.take("pooler_output");
        Ok(Features { hidden, pooled: None, rest })
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        self.0.embed(ids)
    }
}

impl Encoder for PartEncoder {
    fn memory_mask(&self, _: &Inputs) -> Option<Tensor> {
        None
    }
}

/// A language model as a decoder: its hidden states are its logits.
#[derive(Debug)]
pub struct PartDecoder(Box<dyn Module>);

impl PartDecoder {
    /// Width of what the decoder attends to, if it does.
    fn memory_width(&self) -> Option<i64> {
        let arguments = self.0.arguments();
        let memory = arguments.iter().find(|argument| argument.name == "encoder_hidden_states")?;
        memory.shape.iter().find_map(|dim| match dim {
            Dim::Exactly(width) => Some(*width),
            _ => None,
        })
    }

    /// Whether the decoder generates: it does not where its tokens see those after them.
    pub fn generates(&self) -> bool {
        self.0.generation().is_some()
    }
}

impl Decoder for PartDecoder {
    fn arguments(&self) -> Vec<Argument> {
        let within = |argument: Argument| {
            let (_, name) = NAMES.into_iter().find(|(plain, _)| *plain == argument.name)?;
            let argument = argument.renamed("tokens", "decoder tokens").renamed("all tokens", "all decoder tokens");
            Some(Argument { name, ..argument })
        };
        self.0.arguments().into_iter().filter_map(within).collect()
    }

    fn decode(&self, inputs: &Inputs, encoded: Option<&Encoded>, cache: Option<&mut Cache>) -> Result<Features> {
        let mut own = Inputs::new();
        for (name, value) in inputs.flags() {
            own = own.with_flag(name, value.clone());
        }
        for (plain, name) in NAMES {
            own = own.with_opt(plain, inputs.get(name));
        }
        let own = own
            .with_opt("encoder_hidden_states", encoded.map(|encoded| &encoded.hidden))
            .with_opt("encoder_attention_mask", encoded.and_then(|encoded| encoded.mask.as_ref()));
        let mut rest = self.0.forward(&own, cache).map_err(within)?;
        let hidden =
            rest.take("logits").ok_or_else(|| Error::input("decoder", "the architecture returns no logits"))?;
        Ok(Features { hidden, pooled: None, rest })
    }

    fn cached(&self) -> Vec<LayerFormula> {
        self.0.cache_formula().layers
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        self.0.embed(ids)
    }
}

/// What a decoder says of its argument, said of that of the whole model.
fn within(error: Error) -> Error {
    match error {
        Error::Input { name, message } => {
            let known = NAMES.into_iter().find(|(plain, _)| *plain == name);
            Error::Input { name: known.map_or(name, |(_, name)| name.into()), message }
        }
        other => other,
    }
}

/// `logits`, as the decoder computed them.
#[derive(Debug)]
pub struct DecoderLogits;

impl Readout for DecoderLogits {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        Ok(Outputs::new().with("logits", features.hidden.shallow_clone()))
    }
}
