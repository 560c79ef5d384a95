//! BERT and its heirs: bidirectional encoders over token, position and segment embeddings.

mod config;

pub use config::BertConfig;

use crate::inputs::{Argument, Dim, Values, covers};
use crate::model::{Architecture, Generation, Head, Module};
use crate::nn::heads::{
    Bare, Body, Features, Headed, PerChoice, PerSequence, PerToken, Pooler, Prediction, Readout, Span, pooled,
};
use crate::nn::{
    Activation, AttentionSpec, Context, Embedding, LayerSpec, Linear, Mask, MlpSpec, Norm, NormSpec, Placement, Stack,
    StackSpec,
};
use crate::tasks;
use crate::weights::{NameTable, Weights};
use crate::{Cache, Inputs, Outputs, Result};

/// BERT (Devlin et al., 2018); `transformers.models.bert`.
#[derive(Debug)]
pub struct Bert;

impl Architecture for Bert {
    type Config = BertConfig;
}

/// What each layer is, and how many.
fn stack(config: &BertConfig) -> StackSpec {
    let attention = AttentionSpec::even(config.hidden_size, config.num_attention_heads);
    let mlp = MlpSpec::plain(config.hidden_size, config.intermediate_size, config.hidden_act);
    let layer = LayerSpec {
        cross: config.add_cross_attention.then_some(attention),
        placement: Placement::Post,
        ..LayerSpec::new(attention, mlp, NormSpec::layer(config.layer_norm_eps))
    };
    StackSpec { layers: vec![layer; config.num_hidden_layers as usize], final_norm: None }
}

fn names() -> NameTable {
    NameTable::new().names(&[
        ("word", "embeddings.word_embeddings"),
        ("position", "embeddings.position_embeddings"),
        ("segment", "embeddings.token_type_embeddings"),
        ("embedding_norm", "embeddings.LayerNorm"),
        ("layers", "encoder.layer"),
        ("layers.*.attention.q", "encoder.layer.*.attention.self.query"),
        ("layers.*.attention.k", "encoder.layer.*.attention.self.key"),
        ("layers.*.attention.v", "encoder.layer.*.attention.self.value"),
        ("layers.*.attention.o", "encoder.layer.*.attention.output.dense"),
        ("layers.*.attention_norm", "encoder.layer.*.attention.output.LayerNorm"),
        ("layers.*.cross.q", "encoder.layer.*.crossattention.self.query"),
        ("layers.*.cross.k", "encoder.layer.*.crossattention.self.key"),
        ("layers.*.cross.v", "encoder.layer.*.crossattention.self.value"),
        ("layers.*.cross.o", "encoder.layer.*.crossattention.output.dense"),
        ("layers.*.cross_norm", "encoder.layer.*.crossattention.output.LayerNorm"),
        ("layers.*.mlp.up", "encoder.layer.*.intermediate.dense"),
        ("layers.*.mlp.down", "encoder.layer.*.output.dense"),
        ("layers.*.mlp_norm", "encoder.layer.*.output.LayerNorm"),
    ])
}

/// The encoder with its embeddings: everything but the heads.
#[derive(Debug)]
pub struct BertBody {
    config: BertConfig,
    word: Embedding,
    position: Embedding,
    segment: Embedding,
    embedding_norm: Norm,
    stack: Stack,
    pooler: Option<Pooler>,
}

impl BertBody {
    /// Loads the body from the root of a class's weights, below `bert` or not.
    fn load(config: &BertConfig, weights: &Weights, pooler: bool) -> Self {
        let weights = weights.either(&["bert", ""]).named(names());
        weights.ignore("embeddings.position_ids");
        let width = config.hidden_size;
        Self {
            word: Embedding::load(&weights.at("word"), config.vocab_size, width).with_padding(config.pad_token_id),
            position: Embedding::load(&weights.at("position"), config.max_position_embeddings, width),
            segment: Embedding::load(&weights.at("segment"), config.type_vocab_size, width),
            embedding_norm: Norm::load(&weights.at("embedding_norm"), NormSpec::layer(config.layer_norm_eps), width),
            stack: Stack::load(&weights, &stack(config)),
            pooler: pooler.then(|| Pooler::load(&weights.at("pooler"), width, Activation::Tanh)),
            config: config.clone(),
        }
    }

    fn embed(&self, inputs: &Inputs, past: i64) -> Result<tch::Tensor> {
        let words = match inputs.get("inputs_embeds") {
            Some(embeds) => embeds.shallow_clone(),
            None => self.word.forward(inputs.need("input_ids")?),
        };
        let tokens = words.size()[1];
        let positions = match inputs.get("position_ids") {
            Some(ids) => self.position.forward(ids),
            None => self.position.rows(past, tokens),
        };
        let segments = match inputs.get("token_type_ids") {
            Some(ids) => self.segment.forward(ids),
            None => self.segment.rows(0, 1),
        };
        Ok(self.embedding_norm.forward(&(words + segments + positions)))
    }
}

impl Body for BertBody {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{AtMost, Broadcast, Exactly, Named};
        let BertConfig { vocab_size, type_vocab_size, max_position_embeddings, hidden_size, .. } = self.config;
        let tokens = AtMost("tokens", max_position_embeddings);
        let mut arguments = vec![
            Argument::optional("input_ids", Values::Ids(vocab_size), &[Named("batch"), tokens]),
            Argument::optional("attention_mask", Values::Mask, &[Named("batch"), Named("all tokens")]),
            Argument::optional("token_type_ids", Values::Ids(type_vocab_size), &[Named("batch"), tokens]),
            Argument::optional("position_ids", Values::Ids(max_position_embeddings), &[Broadcast("batch"), tokens]),
            Argument::optional("inputs_embeds", Values::Float, &[Named("batch"), tokens, Exactly(hidden_size)]),
        ];
        if self.config.add_cross_attention {
            let memory = [Named("batch"), Named("memory tokens"), Exactly(hidden_size)];
            arguments.push(Argument::optional("encoder_hidden_states", Values::Float, &memory));
            arguments.push(Argument::optional("encoder_attention_mask", Values::Mask, &memory[..2]));
        }
        arguments
    }

    fn run(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<Features> {
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        let x = self.embed(inputs, past)?;
        let attention_mask = inputs.get("attention_mask");
        covers("attention_mask", attention_mask, past, x.size()[1])?;
        let mask = match self.config.is_decoder {
            true => Mask::causal(attention_mask, x.size()[1], past, None, &x),
            false => Mask::padding(attention_mask),
        };
        let memory = inputs.get("encoder_hidden_states").map(tch::Tensor::shallow_clone);
        let context =
            Context::new(mask, inputs).with_memory(memory, Mask::padding(inputs.get("encoder_attention_mask")));
        let passed = self.stack.forward(x, &context, cache.filter(|_| self.config.is_decoder)).tied();
        let hidden = passed.last.shallow_clone();
        let pooled = self.pooler.as_ref().map(|pooler| pooler.forward(&hidden));
        Ok(Features { hidden, pooled, rest: passed.recorded("") })
    }
}

fn prediction(config: &BertConfig, weights: &Weights, body: &BertBody) -> Prediction {
    let names = NameTable::new().names(&[("dense", "transform.dense"), ("norm", "transform.LayerNorm")]);
    let at = weights.at("cls.predictions");
    let (head, table) = match config.tie_word_embeddings {
        true => {
            // Copies of tied parameters that older checkpoints carry.
            at.ignore("decoder.weight");
            at.ignore("decoder.bias");
            (at.named(names), body.word.table())
        }
        false => {
            // Untied, the decoder has a bias of its own, and the other is stored but not used.
            let _unused = at.weight("bias", &[config.vocab_size]);
            let table = at.matrix("decoder.weight", &[config.vocab_size, config.hidden_size]);
            (at.named(names.name("bias", "decoder.bias")), table)
        }
    };
    Prediction::load(&head, config.hidden_act, NormSpec::layer(config.layer_norm_eps), table)
}

fn next_sentence(config: &BertConfig, weights: &Weights) -> Linear {
    Linear::load(&weights.at("cls.seq_relationship"), config.hidden_size, 2, true)
}

impl Head<tasks::FeatureExtraction> for Bert {
    fn load(config: &BertConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        Ok(Box::new(Headed::new(BertBody::load(config, weights, true), Bare)))
    }
}

impl Head<tasks::FillMask> for Bert {
    fn load(config: &BertConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let body = BertBody::load(config, weights, false);
        let head = prediction(config, weights, &body);
        Ok(Box::new(Headed::new(body, head)))
    }
}

impl Head<tasks::TextGeneration> for Bert {
    fn load(config: &BertConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let body = BertBody::load(config, weights, false);
        let head = prediction(config, weights, &body);
        Ok(match config.is_decoder {
            true => Box::new(Headed::generating(body, head, Generation::DecoderOnly)),
            false => Box::new(Headed::new(body, head)),
        })
    }
}

impl Head<tasks::TextClassification> for Bert {
    fn load(config: &BertConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let head = Linear::load(&weights.at("classifier"), config.hidden_size, config.num_labels, true);
        Ok(Box::new(Headed::new(BertBody::load(config, weights, true), PerSequence(head))))
    }
}

impl Head<tasks::TokenClassification> for Bert {
    fn load(config: &BertConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let head = Linear::load(&weights.at("classifier"), config.hidden_size, config.num_labels, true);
        Ok(Box::new(Headed::new(BertBody::load(config, weights, false), PerToken(head))))
    }
}

impl Head<tasks::QuestionAnswering> for Bert {
    fn load(config: &BertConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let head = Linear::load(&weights.at("qa_outputs"), config.hidden_size, config.num_labels, true);
        Ok(Box::new(Headed::new(BertBody::load(config, weights, false), Span(head))))
    }
}

impl Head<tasks::MultipleChoice> for Bert {
    fn load(config: &BertConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let head = Linear::load(&weights.at("classifier"), config.hidden_size, 1, true);
        Ok(Box::new(PerChoice::new(BertBody::load(config, weights, true), head)))
    }
}

impl Head<tasks::NextSentencePrediction> for Bert {
    fn load(config: &BertConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let head = next_sentence(config, weights);
        Ok(Box::new(Headed::new(BertBody::load(config, weights, true), PerSequence(head))))
    }
}

/// Masked language model and next sentence at once.
#[derive(Debug)]
struct Pretraining {
    prediction: Prediction,
    next_sentence: Linear,
}

impl Readout for Pretraining {
    fn read(&self, features: &Features, _: &Inputs) -> Result<Outputs> {
        Ok(Outputs::new()
            .with("prediction_logits", self.prediction.forward(&features.hidden))
            .with("seq_relationship_logits", self.next_sentence.forward(pooled(features)?)))
    }
}

impl Head<tasks::Pretraining> for Bert {
    fn load(config: &BertConfig, weights: &Weights) -> Result<Box<dyn Module>> {
        let body = BertBody::load(config, weights, true);
        let prediction = prediction(config, weights, &body);
        let head = Pretraining { prediction, next_sentence: next_sentence(config, weights) };
        Ok(Box::new(Headed::new(body, head)))
    }
}
