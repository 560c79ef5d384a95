use tch::{Kind, Tensor};
use tch_transformers_native::Weight;

use crate::weights::Weights;

/// Codebooks one after the other, each for what the ones before it left over (Zeghidour et al., 2021).
#[derive(Debug)]
pub struct ResidualQuantizer {
    /// `[codes, width]` each.
    codebooks: Vec<Weight>,
}

impl ResidualQuantizer {
    /// Loads `layers.N.codebook.embed` `[codes, width]` of `count` codebooks.
    ///
    /// Checkpoints keep statistics of their training beside them, from which nothing is computed.
    pub fn load(weights: &Weights, count: i64, codes: i64, width: i64) -> Self {
        let codebook = |index: usize| {
            let weights = weights.at("layers").layer(index).at("codebook");
            let statistics = [("inited", &[1][..]), ("cluster_size", &[codes]), ("embed_avg", &[codes, width])];
            statistics.iter().for_each(|(name, shape)| drop(weights.weight(name, shape)));
            // No gradient is defined with respect to codes that were chosen.
            Weight::new(weights.tensor("embed", &[codes, width]).detach())
        };
        Self { codebooks: (0..count as usize).map(codebook).collect() }
    }

    /// Number of codebooks.
    pub fn len(&self) -> usize {
        self.codebooks.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.codebooks.is_empty()
    }

    /// The nearest codes of `frames` (`[batch, width, frames]`) in the first `count` codebooks: `[batch, count, frames]`.
    pub fn encode(&self, frames: &Tensor, count: usize) -> Tensor {
        let mut residual = frames.transpose(1, 2);
        let mut codes = Vec::with_capacity(count);
        for codebook in self.codebooks.iter().take(count) {
            let squares = |x: &Tensor, dim| x.square().sum_dim_intlist([dim].as_slice(), true, None::<Kind>);
            let flat = residual.reshape([-1, residual.size()[2]]);
            let table = codebook.tr();
            let distance = squares(&flat, 1) - flat.matmul(&table) * 2.0 + squares(&table, 0);
            let nearest = distance.argmin(-1, false).view(&residual.size()[..2]);
            residual -= Tensor::embedding(codebook, &nearest, -1, false, false);
            codes.push(nearest);
        }
        Tensor::stack(&codes, 1)
    }

    /// What `codes` (`[batch, count, frames]`) stand for: `[batch, width, frames]`.
    pub fn decode(&self, codes: &Tensor) -> Tensor {
        let chosen = std::iter::zip(&self.codebooks, codes.unbind(1));
        let sum = chosen.fold(None, |sum: Option<Tensor>, (codebook, codes)| {
            let vectors = Tensor::embedding(codebook, &codes, -1, false, false);
            Some(sum.map_or_else(|| vectors.shallow_clone(), |sum| sum + &vectors))
        });
        sum.unwrap_or_default().transpose(1, 2)
    }
}
