use tch_transformers_native::{Matrix, Weight};

use super::Seq2seqSpec;
use crate::model::{Generation, Module};
use crate::models::seq2seq::{
    DecoderAlone, DecoderNames, EncoderDecoder, EndTokenClassifier, SideSpec, TextDecoder, TextEncoder,
};
use crate::nn::Linear;
use crate::nn::heads::{Bare, Headed, NextToken, Span};
use crate::tasks::{self, Task};
use crate::weights::Weights;

/// A task that every architecture of the family can have a class for.
pub trait Class: Task {
    /// Builds the class.
    fn load(spec: Seq2seqSpec, weights: &Weights) -> Box<dyn Module>;
}

type TextBody = EncoderDecoder<TextEncoder, TextDecoder>;

/// Both sides, from the root of a class's weights, below the first of `places` that the checkpoint has.
fn body(spec: &Seq2seqSpec, weights: &Weights, places: &[&str]) -> TextBody {
    let weights = weights.either(places);
    ["encoder.version", "decoder.version"].iter().for_each(|name| weights.ignore(name));
    let shape = [spec.encoder.vocabulary, spec.encoder.width];
    let shared = match (spec.shared, spec.tied) {
        (true, true) => {
            let names = ["shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"];
            Some(weights.weight_of(&names, &shape))
        }
        (true, false) => {
            // It is stored, and each side has a table of its own.
            let _unused = weights.tensor_if_stored("shared.weight", &shape);
            None
        }
        (false, _) => None,
    };
    let encoder = TextEncoder::load(spec.encoder.clone(), &weights.at("encoder"), shared.as_ref());
    let decoder = weights.at("decoder");
    let decoder = TextDecoder::load(spec.decoder.clone(), DecoderNames::BESIDE_ENCODER, &decoder, shared.as_ref());
    EncoderDecoder::new(encoder, decoder, spec.encoder.width).starting(spec.start)
}

/// The matrix of the head `name` over the vocabulary: `tied`, or one of its own with `rows`.
fn vocabulary(weights: &Weights, name: &str, tied: Option<Weight>, rows: [i64; 2]) -> Matrix {
    let head = weights.at(name);
    match tied {
        Some(table) => head.matrix_tied("weight", &table),
        None => head.matrix("weight", rows),
    }
}

impl Class for tasks::FeatureExtraction {
    fn load(spec: Seq2seqSpec, weights: &Weights) -> Box<dyn Module> {
        Box::new(Headed::new(body(&spec, weights, &["", "model"]), Bare))
    }
}

impl Class for tasks::Text2textGeneration {
    fn load(spec: Seq2seqSpec, weights: &Weights) -> Box<dyn Module> {
        let body = body(&spec, weights, &["model", ""]);
        let rows = spec.decoder.vocabulary;
        let tied = spec.tied.then(|| body.decoder().table());
        let table = vocabulary(weights, spec.head, tied, [rows, spec.decoder.width]);
        let stored = |_| weights.tensor_if_stored("final_logits_bias", &[1, rows]);
        let bias = spec.logits_bias.then_some(()).and_then(stored);
        let head = NextToken(Linear::of(table, bias.map(|bias| Weight::new(bias.squeeze_dim(0)))));
        match spec.start_token {
            Some(start) => {
                Box::new(Headed::generating(body, head, Generation::EncoderDecoder { start, encodes: "input_ids" }))
            }
            None => Box::new(Headed::new(body, head)),
        }
    }
}

impl Class for tasks::FillMask {
    fn load(spec: Seq2seqSpec, weights: &Weights) -> Box<dyn Module> {
        <tasks::Text2textGeneration as Class>::load(spec, weights)
    }
}

impl Class for tasks::TextClassification {
    fn load(spec: Seq2seqSpec, weights: &Weights) -> Box<dyn Module> {
        let place = weights.at("classification_head");
        let head = EndTokenClassifier::load(&place, spec.decoder.width, spec.labels, spec.end_token);
        Box::new(Headed::new(body(&spec, weights, &["model", ""]), head))
    }
}

impl Class for tasks::QuestionAnswering {
    fn load(spec: Seq2seqSpec, weights: &Weights) -> Box<dyn Module> {
        let head = Linear::load(&weights.at("qa_outputs"), spec.decoder.width, 2, true);
        Box::new(Headed::new(body(&spec, weights, &["model", ""]), Span(head)))
    }
}

impl Class for tasks::TextGeneration {
    fn load(spec: Seq2seqSpec, weights: &Weights) -> Box<dyn Module> {
        // An untied head is as large as the vocabulary of the encoder, where the decoder has another.
        let rows = [spec.encoder.vocabulary, spec.decoder.width];
        weights.ignore("final_logits_bias");
        alone(spec.decoder, weights, spec.head, (!spec.tied).then_some(rows))
    }
}

/// A language model that is the decoder alone, with the head `name`, which has the table of tokens or `rows` of its own.
pub fn alone(spec: SideSpec, weights: &Weights, name: &str, rows: Option<[i64; 2]>) -> Box<dyn Module> {
    let base = weights.either(&["model", ""]);
    base.ignore_below("encoder");
    base.ignore("shared.weight");
    let shape = [spec.vocabulary, spec.width];
    let source = spec.stack.layers.iter().find_map(|layer| layer.cross).map_or(spec.width, |cross| cross.source);
    let decoder = TextDecoder::load(spec, DecoderNames::ALONE, &base.at("decoder"), None);
    let tied = rows.is_none().then(|| decoder.table());
    let table = vocabulary(weights, name, tied, rows.unwrap_or(shape));
    let body = DecoderAlone::new(decoder, source);
    Box::new(Headed::generating(body, NextToken(Linear::of(table, None)), Generation::DecoderOnly))
}
