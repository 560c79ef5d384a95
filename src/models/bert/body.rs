use tch::Tensor;
use tch_transformers_native::Weight;

use super::{Embeddings, Encoder, EncoderSpec, Vector};
use crate::inputs::{Argument, Dim, Values};
use crate::nn::Summary;
use crate::nn::heads::{Body, Features, Pooler};
use crate::weights::Weights;
use crate::{Cache, CacheFormula, Inputs, Result};

/// An encoder with its embeddings, and what makes one vector of a sequence where a class asks for one.
#[derive(Debug)]
pub struct EncoderBody {
    embeddings: Embeddings,
    encoder: Encoder,
    pooler: Option<Vectors>,
    hidden: i64,
    /// Width of the states that cross attention looks at.
    memory: Option<i64>,
}

#[derive(Debug)]
enum Vectors {
    Pooler(Pooler),
    Summary(Summary),
}

impl EncoderBody {
    /// Loads the body from the first of `places` below `root` that the file has anything under: the blocks of
    /// [`Embeddings`] and [`Encoder`], and `pooler` where the vector is its own.
    ///
    /// The vector may stand with the heads: `vector` is which, and the name of the head that reads it.
    pub fn load(spec: &EncoderSpec, root: &Weights, places: &[&str], vector: Option<(Vector, &str)>) -> Self {
        let weights = root.either(places).named(spec.names.body.clone());
        spec.names.ignored.iter().for_each(|name| weights.ignore(name));
        let hidden = spec.embeddings.hidden;
        let pooler = vector.and_then(|(vector, head)| {
            let head = root.named(spec.names.heads.clone()).at(head);
            Some(match vector {
                Vector::Pooler => Vectors::Pooler(Pooler::load(&weights.at("pooler"), hidden, spec.pooler?)),
                Vector::Dense(activation) => Vectors::Pooler(Pooler::load(&head, hidden, activation)),
                Vector::Summary(summary) => Vectors::Summary(Summary::load(&head, hidden, summary)),
            })
        });
        Self {
            embeddings: Embeddings::load(&weights, spec.embeddings.clone()),
            encoder: Encoder::load(&weights, &spec.layers),
            pooler,
            hidden,
            memory: spec.layers.layers.iter().find_map(|layer| Some(layer.cross?.source)),
        }
    }

    /// The table of tokens.
    pub fn words(&self) -> Weight {
        self.embeddings.table()
    }
}

impl EncoderBody {
    /// What a cache keeps of the layers, and of the states that cross attention looks at.
    pub fn formula_with_memory(&self) -> CacheFormula {
        CacheFormula { encoded: self.memory.unwrap_or(0), ..self.cache_formula() }
    }
}

impl Body for EncoderBody {
    fn arguments(&self) -> Vec<Argument> {
        use Dim::{Exactly, Named};
        let mut arguments = self.embeddings.arguments();
        if let Some(width) = self.memory {
            let memory = [Named("batch"), Named("memory tokens"), Exactly(width)];
            arguments.push(Argument::optional("encoder_hidden_states", Values::Float, &memory));
            arguments.push(Argument::optional("encoder_attention_mask", Values::Mask, &memory[..2]));
        }
        arguments
    }

    fn run(&self, inputs: &Inputs, cache: Option<&mut Cache>) -> Result<Features> {
        let past = cache.as_ref().map_or(0, |cache| cache.len());
        let x = self.embeddings.forward(inputs, past)?;
        Cache::check_room(cache.as_deref(), x.size()[1])?;
        let passed = self.encoder.forward(x, inputs, cache).tied();
        let hidden = passed.last.shallow_clone();
        let pooled = match &self.pooler {
            Some(Vectors::Pooler(pooler)) => Some(pooler.forward(&hidden)),
            Some(Vectors::Summary(summary)) => Some(summary.forward(&hidden, None)?),
            None => None,
        };
        Ok(Features { hidden, pooled, rest: passed.recorded("") })
    }

    fn embed(&self, ids: &Tensor) -> Option<Tensor> {
        Some(self.embeddings.tokens(ids))
    }

    fn table(&self) -> Option<Weight> {
        Some(self.words())
    }

    fn width(&self) -> Option<i64> {
        Some(self.hidden)
    }

    fn cache_formula(&self) -> CacheFormula {
        CacheFormula { layers: self.encoder.cached(), encoded: 0 }
    }
}
