use tch::{Kind, Tensor};

use super::{Attend, Attention, AttentionSpec, Embedding, Linear, Norm, NormSpec};
use crate::weights::Weights;

/// Attention whose scores are those of content to content, of content to relative positions and of relative positions
/// to content, each with projections of its own (DeBERTa; He et al., 2020).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DisentangledSpec {
    /// The attention of content to content; its scale is that of all scores.
    pub attention: AttentionSpec,
    /// Whether queries look at the positions of keys.
    pub content_to_position: bool,
    /// Whether keys look at the positions of queries.
    pub position_to_content: bool,
    /// Whether positions are projected by the matrices of the content.
    pub shared: bool,
    /// Whether the projection that makes keys of positions has a bias; the one that makes queries has.
    pub key_bias: bool,
}

/// Vectors of relative positions that all layers share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelativeTableSpec {
    /// Width of the vectors.
    pub hidden: i64,
    /// Vectors on either side; positions farther away share the last one.
    pub span: i64,
    /// From half the first number on distances grow logarithmically, up to the second: `(buckets, max distance)`.
    pub buckets: Option<(i64, i64)>,
    /// The normalisation of the vectors.
    pub norm: Option<NormSpec>,
}

/// [`RelativeTableSpec`] with its parameters.
#[derive(Debug)]
pub struct RelativeTable {
    spec: RelativeTableSpec,
    table: Embedding,
    norm: Option<Norm>,
}

/// The relative positions of the tokens of one pass.
#[derive(Debug)]
pub struct RelativePositions {
    /// The vectors that occur, `[1, vectors, hidden]`.
    vectors: Tensor,
    /// Which one stands between a query and a key, `[queries, keys]`.
    index: Tensor,
}

impl RelativePositions {
    /// The products of queries `[batch, heads, queries, hidden]` with the vector of the distance to each key:
    /// `[batch, heads, queries, keys]`.
    pub fn scores(&self, q: &Tensor) -> Tensor {
        self.pick(&q.matmul(&self.vectors.unsqueeze(1).transpose(2, 3)))
    }

    /// Of products of queries with all vectors, `[batch, heads, queries, vectors]`, those of the distance to each key.
    fn pick(&self, products: &Tensor) -> Tensor {
        let size = [&products.size()[..2], &self.index.size()[..]].concat();
        products.gather(-1, &self.index.expand(&size, false), false)
    }
}

impl RelativeTable {
    /// Loads `table` `[2 * span, hidden]` and, where there is one, `norm`.
    pub fn load(weights: &Weights, spec: RelativeTableSpec) -> Self {
        let RelativeTableSpec { hidden, span, norm, .. } = spec;
        let table = Embedding::load(&weights.at("table"), 2 * span, hidden);
        Self { spec, table, norm: norm.map(|norm| Norm::load(&weights.at("norm"), norm, hidden)) }
    }

    /// The relative positions of `tokens` tokens to each other.
    pub fn forward(&self, tokens: i64) -> RelativePositions {
        let device = self.table.table().device();
        let positions = Tensor::arange(tokens, (Kind::Int64, device));
        let buckets = self.buckets(&positions);
        let distance = positions.unsqueeze(1) - &positions;
        let relative = buckets.index_select(0, &distance.abs().flatten(0, 1)).view_as(&distance) * distance.sign();
        // Only the rows that occur are projected.
        let reach = (buckets.max().int64_value(&[]) + 1).min(self.spec.span);
        let vectors = self.table.rows(self.spec.span - reach, 2 * reach);
        let vectors = self.norm.as_ref().map_or_else(|| vectors.shallow_clone(), |norm| norm.forward(&vectors));
        RelativePositions { vectors: vectors.unsqueeze(0), index: (relative + reach).clamp(0, 2 * reach - 1) }
    }

    /// The bucket of each distance.
    fn buckets(&self, distance: &Tensor) -> Tensor {
        let Some((buckets, most)) = self.spec.buckets else { return distance.shallow_clone() };
        let near = buckets / 2;
        // In float, as in the reference: `ceil` shows each rounding.
        let growth = Tensor::full([], (most - 1) as f64 / near as f64, (Kind::Float, distance.device())).log();
        let steps = (distance.to_kind(Kind::Float) / near as f64).log() / growth * (near - 1) as f64;
        let far = steps.ceil() + near as f64;
        distance.where_self(&distance.le(near), &far.to_kind(Kind::Int64))
    }
}

/// [`DisentangledSpec`] with its parameters.
#[derive(Debug)]
pub struct DisentangledAttention {
    spec: DisentangledSpec,
    attention: Attention,
    /// Makes keys of positions.
    key: Option<Linear>,
    /// Makes queries of positions.
    query: Option<Linear>,
}

impl DisentangledAttention {
    /// Loads what [`Attention::load`] does, and where positions have projections of their own `position_key`,
    /// `position_query`.
    pub fn load(weights: &Weights, spec: DisentangledSpec) -> Self {
        let AttentionSpec { hidden, heads, head_dim, .. } = spec.attention;
        let linear = |wanted: bool, name: &str, bias| {
            (wanted && !spec.shared).then(|| Linear::load(&weights.at(name), hidden, heads * head_dim, bias))
        };
        Self {
            attention: Attention::load(weights, spec.attention),
            key: linear(spec.content_to_position, "position_key", spec.key_bias),
            query: linear(spec.position_to_content, "position_query", true),
            spec,
        }
    }

    /// As [`Attention::forward`], without a past; the bias of `attend` counts where there are no relative positions.
    pub fn forward(
        &self,
        x: &Tensor,
        attend: Attend,
        relative: Option<&RelativePositions>,
    ) -> (Tensor, Option<Tensor>) {
        let Some(relative) = relative else { return self.attention.forward(x, attend, None) };
        self.attention.forward_scored(x, attend, None, Some(&|q, k| self.scores(q, k, relative)))
    }

    /// The scores of content to positions and of positions to content, `[batch, heads, queries, keys]`.
    fn scores(&self, q: &Tensor, k: &Tensor, relative: &RelativePositions) -> Tensor {
        let RelativePositions { vectors, index } = relative;
        let size = [&q.size()[..2], &index.size()[..]].concat();
        let (query, key) = self.positions(vectors);
        let to_position = key.map(|key| relative.pick(&q.matmul(&key.transpose(2, 3))));
        let to_content = query.map(|query| {
            let of_keys = index.transpose(0, 1).expand(&size, false);
            k.matmul(&query.transpose(2, 3)).gather(-1, &of_keys, false).transpose(2, 3)
        });
        let scores = match (to_position, to_content) {
            (Some(to_position), Some(to_content)) => to_position + to_content,
            (Some(scores), None) | (None, Some(scores)) => scores,
            (None, None) => Tensor::zeros(&size[..], (q.kind(), q.device())),
        };
        scores * self.spec.attention.scale
    }

    /// Queries and keys of positions, `[1, heads, vectors, head_dim]`, where they are looked at.
    fn positions(&self, vectors: &Tensor) -> (Option<Tensor>, Option<Tensor>) {
        let DisentangledSpec { attention, content_to_position, position_to_content, shared, .. } = self.spec;
        if shared && let Some((query, key)) = self.attention.queries_and_keys(vectors) {
            return (position_to_content.then_some(query), content_to_position.then_some(key));
        }
        let heads = |linear: &Linear| {
            let projected = linear.forward(vectors);
            projected.view([1, projected.size()[1], attention.heads, attention.head_dim]).transpose(1, 2)
        };
        (self.query.as_ref().map(heads), self.key.as_ref().map(heads))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(span: i64, buckets: Option<(i64, i64)>, tokens: i64) -> (i64, Vec<i64>) {
        let spec = RelativeTableSpec { hidden: 2, span, buckets, norm: None };
        let positions = RelativeTable::load(&Weights::nothing(), spec).forward(tokens);
        (positions.vectors.size()[1], Vec::try_from(positions.index.select(0, tokens - 1)).unwrap())
    }

    #[test]
    fn distances_beyond_the_span_share_its_last_vector() {
        assert_eq!(index(3, None, 5), (6, vec![5, 5, 5, 4, 3]));
    }

    #[test]
    fn far_distances_share_buckets_and_only_vectors_that_occur_are_taken() {
        assert_eq!(index(8, Some((8, 32)), 4), (8, vec![7, 6, 5, 4]));
        let (vectors, index) = index(8, Some((8, 32)), 20);
        // Distances up to 4 are buckets of their own.
        assert_eq!((vectors, &index[15..]), (16, &[12, 11, 10, 9, 8][..]));
        assert!(index[..15].iter().all(|bucket| (13..=15).contains(bucket)));
    }
}
