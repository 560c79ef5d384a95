//! What encoder-decoder models share: an encoder whose output is kept between the steps of a generation, a decoder that
//! attends to it, and the classification head that reads the decoder.

use std::fmt::Debug;

use tch::Tensor;

use crate::inputs::{Argument, Dim, Values, covers};
use crate::nn::heads::{Body, Features, Readout};
use crate::nn::{Embedding, Linear, Passed};
use crate::weights::{NameTable, Weights};
use crate::{Cache, Error, Inputs, Outputs, Result};

/// An encoder: a body that another sequence attends to.
pub trait Encoder: Body {
    /// Which of the encoded tokens the decoder sees, `[batch, tokens]` with 0 for padding; `None` for all.
    fn memory_mask(&self, inputs: &Inputs) -> Option<Tensor> {
        inputs.get("attention_mask").map(Tensor::shallow_clone)
    }
}

/// A decoder: attends to itself and to what an encoder made.
pub trait Decoder: Debug + Send + Sync {
    /// The arguments that are the decoder's own, such as `decoder_input_ids`.
    fn arguments(&self) -> Vec<Argument>;

    /// Passes the decoder's inputs through its layers. With a cache, they are the tokens after those in it.
    fn decode(&self, inputs: &Inputs, encoded: &Encoded, cache: Option<&mut Cache>) -> Result<Passed>;

    /// As [`Body::embed`].
    fn embed(&self, _ids: &Tensor) -> Option<Tensor> {
        None
    }
}

/// What the arguments of a decoder are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecoderNames {
    /// Token ids, `[batch, tokens]`.
    pub ids: &'static str,
    /// Which tokens are no padding, those in the cache included: `[batch, all tokens]`.
    pub mask: &'static str,
    /// Vectors in place of ids, `[batch, tokens, width]`.
    pub embeds: &'static str,
    /// Positions of the tokens, `[batch, tokens]`.
    pub positions: &'static str,
}

impl DecoderNames {
    /// Where an encoder has the plain names.
    pub const BESIDE_ENCODER: Self = Self {
        ids: "decoder_input_ids",
        mask: "decoder_attention_mask",
        embeds: "decoder_inputs_embeds",
        positions: "decoder_position_ids",
    };
    /// Where the decoder stands alone.
    pub const ALONE: Self =
        Self { ids: "input_ids", mask: "attention_mask", embeds: "inputs_embeds", positions: "position_ids" };

    /// The arguments of a decoder `width` wide that looks tokens up in a table of `vocabulary` and their positions in
    /// one of `positions`.
    pub fn arguments(&self, vocabulary: i64, width: i64, positions: i64) -> Vec<Argument> {
        use Dim::{AtMost, Broadcast, Exactly, Named};
        let tokens = AtMost("decoder tokens", positions);
        let mask = [Named("batch"), Named("all decoder tokens")];
        vec![
            Argument::optional(self.ids, Values::Ids(vocabulary), &[Named("batch"), tokens]),
            Argument::optional(self.mask, Values::Mask, &mask),
            Argument::optional(self.embeds, Values::Float, &[Named("batch"), tokens, Exactly(width)]),
            Argument::optional(self.positions, Values::Ids(positions), &[Broadcast("batch"), tokens]),
        ]
    }
}

/// The names that BART gives to the parts of a layer, and those who followed it: for a place that holds `layers` and a
/// last `layer_norm`.
pub fn bart_layer_names() -> NameTable {
    NameTable::new().names(&[
        ("norm", "layer_norm"),
        ("layers.*.attention.q", "layers.*.self_attn.q_proj"),
        ("layers.*.attention.k", "layers.*.self_attn.k_proj"),
        ("layers.*.attention.v", "layers.*.self_attn.v_proj"),
        ("layers.*.attention.o", "layers.*.self_attn.out_proj"),
        ("layers.*.attention_norm", "layers.*.self_attn_layer_norm"),
        ("layers.*.cross.q", "layers.*.encoder_attn.q_proj"),
        ("layers.*.cross.k", "layers.*.encoder_attn.k_proj"),
        ("layers.*.cross.v", "layers.*.encoder_attn.v_proj"),
        ("layers.*.cross.o", "layers.*.encoder_attn.out_proj"),
        ("layers.*.cross_norm", "layers.*.encoder_attn_layer_norm"),
        ("layers.*.mlp.up", "layers.*.fc1"),
        ("layers.*.mlp.down", "layers.*.fc2"),
        ("layers.*.mlp_norm", "layers.*.final_layer_norm"),
    ])
}

/// What the decoder attends to.
#[derive(Debug)]
pub struct Encoded {
    /// `[batch, tokens, width]`.
    pub hidden: Tensor,
    /// `[batch, tokens]`, 0 = padding; `None` where all is seen.
    pub mask: Option<Tensor>,
}

/// Where the decoder's tokens come from when the caller gives none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The caller must give them.
    Given,
    /// They are `input_ids` one place to the right, behind this token.
    Shifted(i64),
}

/// An encoder and a decoder: the body of encoder-decoder classes.
///
/// Besides the arguments of both it takes `encoder_outputs`, the encoder's last hidden state, in place of the encoder's
/// arguments. With a [`Cache`] the encoder runs once: later steps need neither its arguments nor their mask.
#[derive(Debug)]
pub struct EncoderDecoder<E, D> {
    encoder: E,
    decoder: D,
    /// Width of the encoder's output.
    width: i64,
    start: Start,
}

impl<E: Encoder, D: Decoder> EncoderDecoder<E, D> {
    /// `decoder` on the output of `encoder`, which is `width` wide.
    pub fn new(encoder: E, decoder: D, width: i64) -> Self {
        Self { encoder, decoder, width, start: Start::Given }
    }

    /// With another rule for missing `decoder_input_ids`.
    pub fn starting(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// The decoder.
    pub fn decoder(&self) -> &D {
        &self.decoder
    }

    /// The encoder's output, and what it recorded on the way: from the cache, the caller, or the encoder.
    fn encode(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<(Encoded, Outputs)> {
        let mask = self.encoder.memory_mask(inputs);
        if let Some(Cache { encoded: Some(hidden), encoded_mask, .. }) = cache.as_deref() {
            let mask = mask.or_else(|| encoded_mask.as_ref().map(Tensor::shallow_clone));
            return Ok((Encoded { hidden: hidden.shallow_clone(), mask }, Outputs::new()));
        }
        let (hidden, recorded) = match inputs.get("encoder_outputs") {
            Some(hidden) => (hidden.shallow_clone(), Outputs::new()),
            None => {
                let features = self.encoder.run(inputs, None)?;
                (features.hidden, features.rest)
            }
        };
        if let Some(cache) = cache {
            cache.encoded = Some(hidden.shallow_clone());
            cache.encoded_mask = mask.as_ref().map(Tensor::shallow_clone);
        }
        Ok((Encoded { hidden, mask }, recorded))
    }

    /// `inputs` with the decoder's tokens where the class derives them.
    fn started(&self, inputs: &Inputs) -> Result<Inputs> {
        let given = inputs.get("decoder_input_ids").or(inputs.get("decoder_inputs_embeds")).is_some();
        Ok(match self.start {
            Start::Shifted(first) if !given => {
                inputs.clone().with("decoder_input_ids", shift_right(inputs.need("input_ids")?, first))
            }
            _ => inputs.clone(),
        })
    }
}

impl<E: Encoder, D: Decoder> Body for EncoderDecoder<E, D> {
    fn arguments(&self) -> Vec<Argument> {
        let mut arguments = self.encoder.arguments();
        // They are absent once the cache or the caller has the encoder's output.
        arguments.iter_mut().for_each(|argument| argument.required = false);
        let shape = [Dim::Named("batch"), Dim::Named("encoded tokens"), Dim::Exactly(self.width)];
        arguments.push(Argument::optional("encoder_outputs", Values::Float, &shape));
        arguments.extend(self.decoder.arguments());
        arguments
    }

    fn run(&self, inputs: &Inputs, mut cache: Option<&mut Cache>) -> Result<Features> {
        let inputs = self.started(inputs)?;
        let (encoded, recorded) = self.encode(&inputs, cache.as_deref_mut())?;
        covers("attention_mask", encoded.mask.as_ref(), 0, encoded.hidden.size()[1])?;
        let batch = encoded.hidden.size()[0];
        for name in ["decoder_input_ids", "decoder_inputs_embeds"] {
            match inputs.get(name).map(|tensor| tensor.size()[0]) {
                Some(rows) if rows != batch => {
                    return Err(Error::input(name, format!("has a batch of {rows}, what was encoded has {batch}")));
                }
                _ => {}
            }
        }
        let passed = self.decoder.decode(&inputs, &encoded, cache)?;
        let hidden = passed.last.shallow_clone();
        let mut rest = passed.recorded("decoder_");
        rest.insert("encoder_last_hidden_state", encoded.hidden);
        rest.extend(recorded.into_iter().map(|(name, tensor)| (format!("encoder_{name}"), tensor)));
        Ok(Features { hidden, pooled: None, rest })
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        self.encoder.embed(ids).or_else(|| self.decoder.embed(ids))
    }
}

/// `ids` (`[batch, tokens]`) one place to the right, behind `first`; the last one drops out.
pub fn shift_right(ids: &Tensor, first: i64) -> Tensor {
    let tokens = ids.size()[1];
    Tensor::cat(&[ids.narrow(1, 0, 1).full_like(first), ids.narrow(1, 0, tokens - 1)], 1)
}

/// The vectors `[batch, tokens, width]` that a pass begins with: those given as `embeds`, or those of the tokens `ids`.
///
/// # Errors
/// When `inputs` have both or neither.
pub fn embedded(inputs: &Inputs, ids: &str, embeds: &str, table: &Embedding) -> Result<Tensor> {
    match (inputs.get(ids), inputs.get(embeds)) {
        (Some(ids), None) => Ok(table.forward(ids)),
        (None, Some(embeds)) => Ok(embeds.shallow_clone()),
        (Some(_), Some(_)) => Err(Error::input(embeds, format!("cannot be given together with `{ids}`"))),
        (None, None) => Err(Error::input(ids, format!("is missing, and so is `{embeds}`"))),
    }
}

/// `logits` of a sequence: `out_proj(tanh(dense(x)))` of the decoder's output where `input_ids` have their last end token.
#[derive(Debug)]
pub struct EndTokenClassifier {
    dense: Linear,
    out_proj: Linear,
    end: i64,
}

impl EndTokenClassifier {
    /// Loads `dense` and `out_proj` of a classifier into `labels`; `end` is the end token.
    pub fn load(weights: &Weights, width: i64, labels: i64, end: i64) -> Self {
        let dense = Linear::load(&weights.at("dense"), width, width, true);
        Self { dense, out_proj: Linear::load(&weights.at("out_proj"), width, labels, true), end }
    }
}

impl Readout for EndTokenClassifier {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let wrong = |message: String| Error::input("input_ids", message);
        let ids = inputs.get("input_ids").ok_or_else(|| {
            wrong("is missing; this class looks for the end tokens and cannot do with `inputs_embeds` alone".into())
        })?;
        let decoded = features.hidden.size()[1];
        if ids.size()[1] != decoded {
            return Err(wrong(format!(
                "has {} tokens, the decoder {decoded}; this class needs as many",
                ids.size()[1]
            )));
        }
        let ends = ids.eq(self.end);
        let counts = ends.sum_dim_intlist(1, false, tch::Kind::Int64);
        let (fewest, most) = (counts.min().int64_value(&[]), counts.max().int64_value(&[]));
        if fewest != most || fewest == 0 {
            let message = format!(
                "rows have from {fewest} to {most} end tokens ({}); each needs as many, at least one",
                self.end
            );
            return Err(wrong(message));
        }
        let position = Tensor::arange(decoded, (tch::Kind::Int64, ids.device()));
        let last = (ends * position).argmax(1, true).unsqueeze(-1);
        let width = features.hidden.size()[2];
        let x = features.hidden.gather(1, &last.expand([-1, 1, width], false), false).squeeze_dim(1);
        Ok(Outputs::new().with("logits", self.out_proj.forward(&self.dense.forward(&x).tanh())))
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn inputs_move_behind_the_first_token() {
        let shifted = shift_right(&Tensor::from_slice2(&[[5_i64, 6, 7], [8, 9, 1]]), 2);
        assert!(shifted.equal(&Tensor::from_slice2(&[[2_i64, 5, 6], [2, 8, 9]])));
        assert!(shift_right(&Tensor::from_slice2(&[[5_i64]]), 2).equal(&Tensor::from_slice2(&[[2_i64]])));
    }

    #[test]
    fn end_tokens_must_be_as_many_in_each_row() {
        let head = EndTokenClassifier::load(&Weights::nothing(), 4, 3, 1);
        let hidden = Tensor::zeros([2, 3, 4], (Kind::Float, Device::Cpu));
        let features = Features { hidden, pooled: None, rest: Outputs::new() };
        let read = |ids: [[i64; 3]; 2]| {
            head.read(&features, &Inputs::new().with("input_ids", Tensor::from_slice2(&ids)))
                .map(|outputs| outputs.get("logits").map(Tensor::size))
        };
        assert_eq!(read([[5, 1, 1], [1, 1, 5]]).unwrap(), Some(vec![2, 3]));
        assert!(read([[5, 1, 1], [1, 5, 5]]).is_err());
        assert!(read([[5, 6, 7], [5, 6, 7]]).is_err());
        assert!(head.read(&features, &Inputs::new()).is_err());
    }
}
