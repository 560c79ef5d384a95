//! What encoder-decoder models share: an encoder whose output is kept between the steps of a generation, a decoder that
//! attends to it, and the classification head that reads the decoder.

mod text;

pub use text::{PositionSpec, SideSpec, TextDecoder, TextEncoder};

use std::fmt::Debug;

use tch::{Kind, Tensor};

use crate::inputs::{Argument, Dim, Values, covers};
use crate::nn::heads::{Body, Features, Readout};
use crate::nn::{Context, Embedding, Linear, Mask};
use crate::weights::{NameTable, Weights};
use crate::{Cache, CacheFormula, Error, Inputs, LayerFormula, Outputs, Result};

/// An encoder: a body that another sequence attends to.
pub trait Encoder: Body {
    /// Which of the encoded tokens the decoder sees, `[batch, tokens]` with 0 for padding; `None` for all.
    fn memory_mask(&self, inputs: &Inputs) -> Option<Tensor> {
        inputs.get("attention_mask").map(Tensor::shallow_clone)
    }
}

/// A decoder: attends to itself and, where there is such, to what an encoder made.
pub trait Decoder: Debug + Send + Sync {
    /// The arguments that are the decoder's own, such as `decoder_input_ids`.
    fn arguments(&self) -> Vec<Argument>;

    /// Passes the decoder's inputs through its layers. With a cache, they are the tokens after those in it.
    fn decode(&self, inputs: &Inputs, encoded: Option<&Encoded>, cache: Option<&mut Cache>) -> Result<Features>;

    /// What a cache keeps of the layers.
    fn cached(&self) -> Vec<LayerFormula>;

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
    /// Positions of the tokens, `[batch, tokens]`, where callers may give them.
    pub positions: Option<&'static str>,
}

impl DecoderNames {
    /// Where an encoder has the plain names.
    pub const BESIDE_ENCODER: Self = Self {
        ids: "decoder_input_ids",
        mask: "decoder_attention_mask",
        embeds: "decoder_inputs_embeds",
        positions: None,
    };
    /// Where the decoder stands alone.
    pub const ALONE: Self = Self { ids: "input_ids", mask: "attention_mask", embeds: "inputs_embeds", positions: None };

    /// The same with positions that callers may give.
    pub fn placed(self, positions: &'static str) -> Self {
        Self { positions: Some(positions), ..self }
    }

    /// The arguments of a decoder `width` wide that looks tokens up in a table of `vocabulary`, and takes `most` of them
    /// where there is a bound.
    pub fn arguments(&self, vocabulary: i64, width: i64, most: Option<i64>) -> Vec<Argument> {
        use Dim::{AtMost, Broadcast, Exactly, Named};
        let tokens = most.map_or(Named("decoder tokens"), |most| AtMost("decoder tokens", most));
        let mask = [Named("batch"), Named("all decoder tokens")];
        let mut arguments = vec![
            Argument::optional(self.ids, Values::Ids(vocabulary), &[Named("batch"), tokens]),
            Argument::optional(self.mask, Values::Mask, &mask),
            Argument::optional(self.embeds, Values::Float, &[Named("batch"), tokens, Exactly(width)]),
        ];
        if let Some(name) = self.positions {
            let positions = most.map_or(Values::Integer, Values::Ids);
            arguments.push(Argument::optional(name, positions, &[Broadcast("batch"), tokens]));
        }
        arguments
    }
}

/// The names that BART gives to the parts of one side, and those who followed it: for a place that holds `layers` and a
/// last `layer_norm`.
pub fn bart_layer_names() -> NameTable {
    NameTable::new().names(&[
        ("embedding_norm", "layernorm_embedding"),
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

impl Encoded {
    /// `context` with what was encoded, where there is such, for cross attention.
    pub fn seen_by(context: Context, encoded: Option<&Self>) -> Context {
        match encoded {
            Some(Self { hidden, mask }) => {
                context.with_memory(Some(hidden.shallow_clone()), Mask::padding(mask.as_ref()))
            }
            None => context,
        }
    }
}

/// Where the decoder's tokens come from when the caller gives none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// The caller must give them.
    Given,
    /// They are `input_ids` one place to the right, behind this token.
    Shifted(i64),
    /// They are `input_ids` one place to the right, behind the last of them that is not this token of padding.
    Wrapped(i64),
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
    /// Brings it to the width that the decoder attends to.
    bridge: Option<Linear>,
    start: Start,
}

impl<E: Encoder, D: Decoder> EncoderDecoder<E, D> {
    /// `decoder` on the output of `encoder`, which is `width` wide.
    pub fn new(encoder: E, decoder: D, width: i64) -> Self {
        Self { encoder, decoder, width, bridge: None, start: Start::Given }
    }

    /// With another rule for missing `decoder_input_ids`.
    pub fn starting(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// With `bridge` between the encoder's output and the decoder.
    pub fn bridged(mut self, bridge: Option<Linear>) -> Self {
        self.bridge = bridge;
        self
    }

    /// The decoder.
    pub fn decoder(&self) -> &D {
        &self.decoder
    }

    /// The encoder's output, what the decoder sees of it, and what was recorded on the way: from the cache, the caller,
    /// or the encoder.
    fn encode(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<(Tensor, Encoded, Outputs)> {
        let mask = self.encoder.memory_mask(inputs);
        if let Some(Cache { encoded: Some(output), memory, encoded_mask, .. }) = cache.as_deref() {
            let mask = mask.or_else(|| encoded_mask.as_ref().map(Tensor::shallow_clone));
            let hidden = memory.as_ref().unwrap_or(output).shallow_clone();
            return Ok((output.shallow_clone(), Encoded { hidden, mask }, Outputs::new()));
        }
        let (output, recorded) = match inputs.get("encoder_outputs") {
            Some(output) => (output.shallow_clone(), Outputs::new()),
            None => {
                let features = self.encoder.run(inputs, None)?;
                (features.hidden, features.rest)
            }
        };
        let bridged = self.bridge.as_ref().map(|bridge| bridge.forward(&output));
        let hidden = bridged.as_ref().unwrap_or(&output).shallow_clone();
        if let Some(cache) = cache {
            cache.encoded = Some(output.shallow_clone());
            cache.memory = bridged;
            cache.encoded_mask = mask.as_ref().map(Tensor::shallow_clone);
        }
        Ok((output, Encoded { hidden, mask }, recorded))
    }

    /// `inputs` with the decoder's tokens where the class derives them.
    fn started(&self, inputs: &Inputs) -> Result<Inputs> {
        let given = inputs.get("decoder_input_ids").or(inputs.get("decoder_inputs_embeds")).is_some();
        Ok(match self.start {
            Start::Shifted(first) if !given => {
                inputs.clone().with("decoder_input_ids", shift_right(inputs.need("input_ids")?, first))
            }
            Start::Wrapped(padding) if !given => {
                let ids = inputs.need("input_ids")?;
                let last = ids.ne(padding).sum_dim_intlist([1].as_slice(), true, Kind::Int64) - 1;
                let first = ids.gather(1, &last.clamp_min(0), false);
                let ids = Tensor::cat(&[first, ids.narrow(1, 0, ids.size()[1] - 1)], 1);
                inputs.clone().with("decoder_input_ids", ids)
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
        let (output, encoded, recorded) = self.encode(&inputs, cache.as_deref_mut())?;
        covers("attention_mask", encoded.mask.as_ref(), 0, encoded.hidden.size()[1])?;
        let batch = encoded.hidden.size()[0];
        for name in ["decoder_input_ids", "decoder_inputs_embeds", "decoder_input_values"] {
            match inputs.get(name).map(|tensor| tensor.size()[0]) {
                Some(rows) if rows != batch => {
                    return Err(Error::input(name, format!("has a batch of {rows}, what was encoded has {batch}")));
                }
                _ => {}
            }
        }
        let features = self.decoder.decode(&inputs, Some(&encoded), cache)?;
        let mut rest = Outputs::new();
        for (name, tensor) in features.rest {
            // Cross attention belongs to both sides.
            let name = if name.starts_with("cross_attentions.") { name } else { format!("decoder_{name}") };
            rest.insert(name, tensor);
        }
        rest.insert("encoder_last_hidden_state", output);
        rest.extend(recorded.into_iter().map(|(name, tensor)| (format!("encoder_{name}"), tensor)));
        Ok(Features { hidden: features.hidden, pooled: None, rest })
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        self.encoder.embed(ids).or_else(|| self.decoder.embed(ids))
    }

    fn cache_formula(&self) -> CacheFormula {
        let bridged = self.bridge.as_ref().map_or(0, Linear::outputs);
        CacheFormula { layers: self.decoder.cached(), encoded: self.width + bridged }
    }
}

/// A decoder that stands alone, on what another model encoded or on nothing.
///
/// With a [`Cache`] later steps need not be given what was encoded.
#[derive(Debug)]
pub struct DecoderAlone<D> {
    decoder: D,
    /// The arguments that hold what was encoded.
    arguments: Vec<Argument>,
}

impl<D: Decoder> DecoderAlone<D> {
    /// `decoder` on `encoder_hidden_states`, `width` wide, under `encoder_attention_mask`.
    pub fn new(decoder: D, width: i64) -> Self {
        use Dim::{Exactly, Named};
        let shape = [Named("batch"), Named("encoded tokens"), Exactly(width)];
        let memory = Argument::optional("encoder_hidden_states", Values::Float, &shape);
        let mask = Argument::optional("encoder_attention_mask", Values::Mask, &shape[..2]);
        Self { decoder, arguments: vec![memory, mask] }
    }

    /// The same for classes that call the encoded states `name` and have no mask for them.
    pub fn unmasked(mut self, name: &'static str) -> Self {
        self.arguments.truncate(1);
        self.arguments.iter_mut().for_each(|argument| argument.name = name);
        self
    }

    /// The argument `index`, from the caller or as `kept` by the cache.
    fn given(&self, index: usize, inputs: &Inputs, kept: Option<&Tensor>) -> Option<Tensor> {
        let given = self.arguments.get(index).and_then(|argument| inputs.get(argument.name));
        given.or(kept).map(Tensor::shallow_clone)
    }
}

impl<D: Decoder> Body for DecoderAlone<D> {
    fn arguments(&self) -> Vec<Argument> {
        let mut arguments = self.decoder.arguments();
        arguments.extend(self.arguments.iter().cloned());
        arguments
    }

    fn run(&self, inputs: &Inputs, mut cache: Option<&mut Cache>) -> Result<Features> {
        let (kept, kept_mask) =
            cache.as_deref().map_or((None, None), |cache| (cache.encoded.as_ref(), cache.encoded_mask.as_ref()));
        let mask = self.given(1, inputs, kept_mask);
        let encoded = self.given(0, inputs, kept).map(|hidden| Encoded { hidden, mask });
        // Within another model the cache holds it already.
        if let (Some(cache @ Cache { encoded: None, .. }), Some(encoded)) = (cache.as_deref_mut(), &encoded) {
            cache.encoded = Some(encoded.hidden.shallow_clone());
            cache.encoded_mask = encoded.mask.as_ref().map(Tensor::shallow_clone);
        }
        self.decoder.decode(inputs, encoded.as_ref(), cache)
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        self.decoder.embed(ids)
    }

    fn cache_formula(&self) -> CacheFormula {
        let encoded = self.arguments.first().and_then(|memory| memory.shape.last());
        let encoded = match encoded {
            Some(Dim::Exactly(width)) => *width,
            _ => 0,
        };
        CacheFormula { layers: self.decoder.cached(), encoded }
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
    end: Option<i64>,
}

impl EndTokenClassifier {
    /// Loads `dense` and `out_proj` of a classifier into `labels`; `end` is the end token.
    pub fn load(weights: &Weights, width: i64, labels: i64, end: Option<i64>) -> Self {
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
        let end = self.end.ok_or_else(|| wrong("has no end token: config.json has no `eos_token_id`".into()))?;
        let decoded = features.hidden.size()[1];
        if ids.size()[1] != decoded {
            return Err(wrong(format!(
                "has {} tokens, the decoder {decoded}; this class needs as many",
                ids.size()[1]
            )));
        }
        let ends = ids.eq(end);
        let counts = ends.sum_dim_intlist(1, false, Kind::Int64);
        let (fewest, most) = (counts.min().int64_value(&[]), counts.max().int64_value(&[]));
        if fewest != most || fewest == 0 {
            return Err(wrong(format!(
                "rows have from {fewest} to {most} end tokens ({end}); each needs as many, at least one"
            )));
        }
        let position = Tensor::arange(decoded, (Kind::Int64, ids.device()));
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
        let head = EndTokenClassifier::load(&Weights::nothing(), 4, 3, Some(1));
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
