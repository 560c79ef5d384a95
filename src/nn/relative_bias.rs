use tch::{Kind, Tensor};

use super::Embedding;
use crate::weights::Weights;

/// Learned biases of attention scores, one per head and bucket of distances (Raffel et al., 2019).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RelativeBiasSpec {
    /// Attention heads.
    pub heads: i64,
    /// Buckets of distances; half of a direction's are single distances, the rest grow logarithmically.
    pub buckets: i64,
    /// From this distance on, all are in the last bucket.
    pub max_distance: i64,
    /// Whether keys after the query have buckets of their own.
    pub bidirectional: bool,
}

/// [`RelativeBiasSpec`] with its table.
#[derive(Debug)]
pub struct RelativeBias {
    spec: RelativeBiasSpec,
    table: Embedding,
}

impl RelativeBias {
    /// Loads `weight` `[buckets, heads]`.
    pub fn load(weights: &Weights, spec: RelativeBiasSpec) -> Self {
        Self::load_longer(weights, spec, spec.buckets)
    }

    /// Loads a table of `rows` rows, of which only the first ones serve as buckets.
    pub fn load_longer(weights: &Weights, spec: RelativeBiasSpec, rows: i64) -> Self {
        Self { spec, table: Embedding::load(weights, rows, spec.heads) }
    }

    /// The biases of `queries` tokens that come after `past` others, to `keys` keys: `[1, heads, queries, keys]`.
    pub fn forward(&self, queries: i64, keys: i64, past: i64) -> Tensor {
        let options = (Kind::Int64, self.table.table().device());
        let query = Tensor::arange_start(past, past + queries, options).unsqueeze(1);
        let key = Tensor::arange(keys, options).unsqueeze(0);
        self.between(&(key - query).unsqueeze(0))
    }

    /// The biases of distances from queries to keys, `[batch, queries, keys]`: `[batch, heads, queries, keys]`.
    pub fn between(&self, distances: &Tensor) -> Tensor {
        self.table.forward(&self.buckets(distances)).permute([0, 3, 1, 2])
    }

    /// The bucket of each distance from query to key.
    fn buckets(&self, distance: &Tensor) -> Tensor {
        let RelativeBiasSpec { buckets, max_distance, bidirectional, .. } = self.spec;
        let (buckets, offset, distance) = match bidirectional {
            true => (buckets / 2, distance.gt(0).to_kind(Kind::Int64) * (buckets / 2), distance.abs()),
            false => (buckets, distance.zeros_like(), -distance.clamp_max(0)),
        };
        let exact = buckets / 2;
        let growth = (max_distance as f64 / exact as f64).ln();
        let steps = (distance.to_kind(Kind::Float) / exact as f64).log() / growth * (buckets - exact) as f64;
        let far = (steps.to_kind(Kind::Int64) + exact).clamp_max(buckets - 1);
        offset + distance.where_self(&distance.lt(exact), &far)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(bidirectional: bool, distances: &[i64]) -> Vec<i64> {
        let spec = RelativeBiasSpec { heads: 1, buckets: 8, max_distance: 10, bidirectional };
        let bias = RelativeBias::load(&Weights::nothing(), spec);
        Vec::try_from(bias.buckets(&Tensor::from_slice(distances))).unwrap()
    }

    #[test]
    fn near_distances_have_buckets_of_their_own_and_far_ones_share() {
        assert_eq!(buckets(false, &[3, 0, -1, -3, -4, -5, -9, -10, -99]), [0, 0, 1, 3, 4, 4, 7, 7, 7]);
        assert_eq!(buckets(true, &[0, -1, -2, -9, 1, 2, 9, 99]), [0, 1, 2, 3, 5, 6, 7, 7]);
    }
}
