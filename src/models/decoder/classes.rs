use tch::{Kind, Tensor};

use super::{DecoderBody, DecoderSpec};
use crate::model::{Generation, Module};
use crate::nn::Linear;
use crate::nn::heads::{Bare, Features, Headed, PerToken, Readout, Span, last_tokens};
use crate::nn::moe::load_balance;
use crate::tasks::{self, Task};
use crate::weights::Weights;
use crate::{Error, Inputs, Outputs, Result};

/// A task that every decoder can have a class for.
pub trait Class: Task {
    /// Builds the class.
    fn load(spec: DecoderSpec, weights: &Weights) -> Box<dyn Module>;
}

/// Gives a decoder the classes of the blueprint: `decoder_classes!(Llama, spec, [TextGeneration, …])`, where `spec`
/// makes a [`DecoderSpec`] of the configuration.
macro_rules! decoder_classes {
    ($architecture:ty, $spec:path, $classes:tt) => {
        $crate::models::classes::classes!($architecture, $spec, $crate::models::decoder::Class, $classes);
    };
}
pub(crate) use decoder_classes;

/// Declares an architecture of the blueprint: `decoder! { pub struct Llama(LlamaConfig) = spec; [TextGeneration, …] }`,
/// where `spec` makes a [`DecoderSpec`] of the configuration.
macro_rules! decoder {
    (
        $(#[$meta:meta])*
        pub struct $architecture:ident($config:ty) = $spec:path;
        $classes:tt
    ) => {
        $crate::models::classes::architecture! {
            $(#[$meta])*
            pub struct $architecture($config) = $spec;
            $crate::models::decoder::Class;
            $classes
        }
    };
}
pub(crate) use decoder;

impl Class for tasks::FeatureExtraction {
    fn load(spec: DecoderSpec, weights: &Weights) -> Box<dyn Module> {
        let places = ["", spec.names.prefix];
        Box::new(Headed::new(DecoderBody::load(spec, weights, &places), Bare))
    }
}

impl Class for tasks::TextGeneration {
    fn load(spec: DecoderSpec, weights: &Weights) -> Box<dyn Module> {
        let body = below(spec, weights);
        let head = body.vocabulary(weights);
        Box::new(Headed::generating(body, head, Generation::DecoderOnly))
    }
}

impl Class for tasks::TextClassification {
    fn load(spec: DecoderSpec, weights: &Weights) -> Box<dyn Module> {
        let score = Linear::load(&weights.at("score"), spec.token_width, spec.labels, false);
        let head = LastToken { score, pad_token: spec.pad_token };
        Box::new(Headed::new(below(unrouted(spec), weights), head))
    }
}

impl Class for tasks::TokenClassification {
    fn load(spec: DecoderSpec, weights: &Weights) -> Box<dyn Module> {
        let head = Linear::load(&weights.at(spec.names.token_head), spec.token_width, spec.labels, true);
        Box::new(Headed::new(below(unrouted(spec), weights), PerToken(head)))
    }
}

impl Class for tasks::QuestionAnswering {
    fn load(spec: DecoderSpec, weights: &Weights) -> Box<dyn Module> {
        let head = Linear::load(&weights.at("qa_outputs"), spec.token_width, 2, true);
        let places = [spec.names.span_prefix, spec.names.prefix, ""];
        Box::new(Headed::new(DecoderBody::load(unrouted(spec), weights, &places), Span(head)))
    }
}

/// What the routers of experts said is no output of classes that classify.
fn unrouted(spec: DecoderSpec) -> DecoderSpec {
    DecoderSpec { router_logits: None, ..spec }
}

/// The body of a class with a head.
fn below(spec: DecoderSpec, weights: &Weights) -> DecoderBody {
    let places = [spec.names.prefix, ""];
    DecoderBody::load(spec, weights, &places)
}

/// `logits` over the vocabulary, of the last `logits_to_keep` tokens where the input says so; `aux_loss`, how unevenly
/// experts are used, where what their routers said is an output.
#[derive(Debug)]
pub struct Vocabulary {
    pub(super) head: Linear,
    pub(super) scale: Option<f64>,
    pub(super) softcap: Option<f64>,
    pub(super) balance: Option<i64>,
}

impl Vocabulary {
    /// `head`, whose logits approach `softcap` where there is such a bound.
    pub fn new(head: Linear, softcap: Option<f64>) -> Self {
        Self { head, scale: None, softcap, balance: None }
    }

    /// `[…, hidden]` to `[…, vocabulary]`.
    pub fn forward(&self, hidden: &Tensor) -> Tensor {
        let logits = self.head.forward(hidden);
        let logits = match self.scale {
            Some(scale) => logits * scale,
            None => logits,
        };
        match self.softcap {
            Some(cap) => (logits / cap).tanh() * cap,
            None => logits,
        }
    }
}

impl Readout for Vocabulary {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let mut outputs = Outputs::new().with("logits", self.forward(&last_tokens(&features.hidden, inputs)));
        if let Some(chosen) = self.balance {
            let routed: Vec<_> =
                (0..).map_while(|layer| features.rest.get(&format!("router_logits.{layer}"))).collect();
            let tokens = features.hidden.size()[1];
            // Of the tokens of this pass, not of those in the cache.
            let mask = inputs.get("attention_mask").map(|mask| mask.slice(1, -tokens, None, 1));
            if let Some(loss) = load_balance(&routed, chosen, mask.as_ref()) {
                outputs.insert("aux_loss", loss);
            }
        }
        Ok(outputs)
    }
}

/// `logits` of a whole sequence, from its last token that is not padding.
#[derive(Debug)]
pub struct LastToken {
    score: Linear,
    pad_token: Option<i64>,
}

impl LastToken {
    /// Per row the position of the last token, `[batch]`; none where it is the last position in all rows.
    fn last(&self, batch: i64, ids: Option<&Tensor>) -> Result<Option<Tensor>> {
        match (self.pad_token, ids) {
            (None, _) if batch > 1 => {
                let message = format!("{batch} rows cannot be classified without `pad_token_id` in config.json");
                Err(Error::input("input_ids", message))
            }
            (None, _) | (_, None) => Ok(None),
            (Some(pad), Some(ids)) => {
                let positions = Tensor::arange(ids.size()[1], (Kind::Int64, ids.device()));
                Ok(Some((positions * ids.ne(pad)).argmax(-1, false)))
            }
        }
    }
}

impl Readout for LastToken {
    fn read(&self, features: &Features, inputs: &Inputs) -> Result<Outputs> {
        let hidden = &features.hidden;
        let batch = hidden.size()[0];
        let last = match self.last(batch, inputs.get("input_ids"))? {
            Some(last) => {
                let rows = Tensor::arange(batch, (Kind::Int64, hidden.device()));
                hidden.index(&[Some(rows), Some(last)])
            }
            None => hidden.select(1, -1),
        };
        Ok(Outputs::new().with("logits", self.score.forward(&last)))
    }
}
