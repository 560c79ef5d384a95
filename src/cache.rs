//! What a model remembers between the steps of a generation.

use tch::Tensor;

/// Keys and values of past tokens, in storage that grows by doubling.
#[derive(Debug, Default)]
pub struct KeyValues {
    /// `[batch, heads, capacity, head_dim]` each.
    storage: Option<(Tensor, Tensor)>,
    len: i64,
}

impl KeyValues {
    /// Appends keys and values of shape `[batch, heads, new, head_dim]` and returns all of them.
    pub fn append(&mut self, keys: &Tensor, values: &Tensor) -> (Tensor, Tensor) {
        let new = keys.size()[2];
        let capacity = self.storage.as_ref().map_or(0, |(keys, _)| keys.size()[2]);
        if self.len + new > capacity {
            self.grow((self.len + new).max(2 * capacity).max(MIN_CAPACITY), keys, values);
        }
        let Some((all_keys, all_values)) = &self.storage else { return (keys.shallow_clone(), values.shallow_clone()) };
        all_keys.narrow(2, self.len, new).copy_(keys);
        all_values.narrow(2, self.len, new).copy_(values);
        self.len += new;
        (all_keys.narrow(2, 0, self.len), all_values.narrow(2, 0, self.len))
    }

    fn grow(&mut self, capacity: i64, keys: &Tensor, values: &Tensor) {
        let allocate = |like: &Tensor, old: Option<&Tensor>| {
            let mut shape = like.size();
            shape[2] = capacity;
            let storage = Tensor::empty(&shape[..], (like.kind(), like.device()));
            if let Some(old) = old {
                storage.narrow(2, 0, self.len).copy_(&old.narrow(2, 0, self.len));
            }
            storage
        };
        let old = self.storage.as_ref();
        let grown = (allocate(keys, old.map(|(keys, _)| keys)), allocate(values, old.map(|(_, values)| values)));
        self.storage = Some(grown);
    }
}

const MIN_CAPACITY: i64 = 32;

/// The state of one layer: a mixer uses the parts that it needs.
#[derive(Debug, Default)]
pub struct LayerCache {
    /// Keys and values of the tokens seen so far.
    pub past: KeyValues,
    /// Keys and values of what cross attention looks at, computed once.
    pub memory: Option<(Tensor, Tensor)>,
    /// What a convolution over the tokens sees of those before the next one, `[batch, kernel - 1, channels]`.
    pub window: Option<Tensor>,
    /// The state of a recurrent mixer after the last token, as that mixer lays it out; float32.
    pub recurrent: Option<Tensor>,
}

/// The state of a whole model: one [`LayerCache`] per layer, and what an encoder computed.
///
/// A fresh cache fits every model; a model grows it on the first step.
#[derive(Debug, Default)]
pub struct Cache {
    layers: Vec<LayerCache>,
    len: i64,
    /// Hidden states of the encoder, `[batch, source, hidden]`.
    pub encoded: Option<Tensor>,
    /// What a decoder attends to, `[batch, source, hidden]`, where that is something else made of it.
    pub memory: Option<Tensor>,
    /// Which of them are no padding, `[batch, source]`; `None` where all are real.
    pub encoded_mask: Option<Tensor>,
    /// How much further the positions of a row are than its number of tokens, `[batch, 1]`, where images took other
    /// positions than their tokens would count; `None` where positions count tokens.
    pub position_offset: Option<Tensor>,
}

impl Cache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of tokens seen.
    pub fn len(&self) -> i64 {
        self.len
    }

    /// Whether no token was seen yet.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The state of layer `index`.
    pub fn layer(&mut self, index: usize) -> &mut LayerCache {
        while self.layers.len() <= index {
            self.layers.push(LayerCache::default());
        }
        &mut self.layers[index]
    }

    /// Notes that `count` more tokens went through all layers.
    pub fn advance(&mut self, count: i64) {
        self.len += count;
    }
}
