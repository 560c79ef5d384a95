use tch::Kind;

use super::keys::most_tokens;

/// What a layer keeps of a row, in numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LayerFormula {
    /// Per token: its keys and values.
    pub per_token: i64,
    /// How many tokens back a token sees, itself included, where that is bounded.
    pub window: Option<i64>,
    /// Per token of what cross attention looks at: its keys and values.
    pub per_source: i64,
    /// What a convolution sees of the tokens before the next one.
    pub convolution: i64,
    /// The state of a recurrent mixer, in float32.
    pub recurrent: i64,
}

impl LayerFormula {
    /// Attention with `heads` of keys and values, `head_dim` wide.
    pub fn attention(heads: i64, head_dim: i64) -> Self {
        Self { per_token: 2 * heads * head_dim, ..Self::default() }
    }
}

/// What a cache is to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CacheSize {
    /// Rows of the batch.
    pub rows: i64,
    /// Tokens of a row that there is room for.
    pub tokens: i64,
    /// Tokens that an encoder made, 0 where there is none.
    pub source: i64,
    /// Kind of the model's numbers.
    pub kind: Kind,
}

/// How much the cache of a model takes: 2 × heads of keys × width of a head for each token, layer and row, and what else
/// the layers keep; [`Model::cache_formula`](crate::Model::cache_formula) has that of a model.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CacheFormula {
    /// The layers, first to last.
    pub layers: Vec<LayerFormula>,
    /// Numbers per token that an encoder made, which are kept once for all layers.
    pub encoded: i64,
}

impl CacheFormula {
    /// Bytes of a [static](crate::CacheKind::Static) cache of this size.
    ///
    /// A layer with a window has room for the tokens that the window sees besides the next one and an eighth of the window
    /// more, 16 tokens at least, if that is less than all. A growing cache that has seen as many tokens as the size says
    /// takes so much at least, and at most what is needed for twice as many or for 32.
    pub fn bytes(&self, size: CacheSize) -> usize {
        let CacheSize { rows, tokens, source, kind } = size;
        let (element, float) = (kind.elt_size_in_bytes(), Kind::Float.elt_size_in_bytes());
        let layer = |layer: &LayerFormula| {
            let kept = most_tokens(Some(tokens), layer.window).unwrap_or(tokens);
            let numbers = layer.per_token * kept + layer.per_source * source + layer.convolution;
            count(numbers) * element + count(layer.recurrent) * float
        };
        let row = self.layers.iter().map(layer).sum::<usize>() + count(self.encoded * source) * element;
        count(rows) * row
    }

    /// The same with layers that keep all tokens, as those of [`CacheKind::Whole`](crate::CacheKind::Whole) do.
    pub fn whole(mut self) -> Self {
        self.layers.iter_mut().for_each(|layer| layer.window = None);
        self
    }
}

fn count(numbers: i64) -> usize {
    usize::try_from(numbers).unwrap_or(0)
}
