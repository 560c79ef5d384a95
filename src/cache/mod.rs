//! What a model remembers between the steps of a generation.

mod formula;
mod keys;

use tch::Tensor;

use crate::{Error, Result};

pub use formula::{CacheFormula, CacheSize, LayerFormula};
pub use keys::KeyValues;
use keys::{bytes, rows};

/// How a cache stores keys and values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CacheKind {
    /// In storage that grows by doubling; a layer that sees a window of tokens keeps those of the window.
    #[default]
    Growing,
    /// The same, and every layer keeps all tokens, so that any number of them can be taken back.
    Whole,
    /// In storage that is made at once, with the first tokens, for as many as this; never for more. A layer that sees a
    /// window has storage for the window only, where that is less.
    Static(i64),
}

impl CacheKind {
    /// How many tokens storage is made for at once.
    fn tokens(self) -> Option<i64> {
        match self {
            Self::Static(tokens) => Some(tokens),
            Self::Growing | Self::Whole => None,
        }
    }
}

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

impl LayerCache {
    /// The same state in storage that both have, with every row `times` times.
    fn fork(&mut self, times: i64) -> Self {
        let part = |x: &Option<Tensor>| x.as_ref().map(|x| rows(x, times));
        Self {
            past: self.past.fork(times),
            memory: self.memory.as_ref().map(|(keys, values)| (rows(keys, times), rows(values, times))),
            window: part(&self.window),
            recurrent: part(&self.recurrent),
        }
    }

    fn bytes(&self) -> usize {
        let memory = self.memory.iter().flat_map(|(keys, values)| [keys, values]);
        self.past.bytes() + memory.chain(&self.window).chain(&self.recurrent).map(bytes).sum::<usize>()
    }
}

/// The state of a whole model: one [`LayerCache`] per layer, and what an encoder computed.
///
/// A fresh cache fits every model; a model fills it on the first step.
#[derive(Debug, Default)]
pub struct Cache {
    layers: Vec<LayerCache>,
    len: i64,
    kind: CacheKind,
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
    /// An empty cache that grows.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty cache of a kind.
    pub fn of_kind(kind: CacheKind) -> Self {
        Self { kind, ..Self::default() }
    }

    /// How it stores keys and values.
    pub fn kind(&self) -> CacheKind {
        self.kind
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
            let mut layer = LayerCache::default();
            layer.past.reserve(self.kind.tokens());
            self.layers.push(layer);
        }
        &mut self.layers[index]
    }

    /// Notes that layer `index` sees a `window` of tokens, itself included, so that no more of them need be kept.
    pub fn slide(&mut self, index: usize, window: i64) {
        if self.kind != CacheKind::Whole {
            self.layer(index).past.slide(window);
        }
    }

    /// Notes that `count` more tokens went through all layers.
    pub fn advance(&mut self, count: i64) {
        self.len += count;
    }

    /// Checks that there is room for `new` more tokens; a model asks before it passes them.
    ///
    /// # Errors
    /// [`Error::Input`] where they exceed what a static cache was made for.
    pub fn check_room(cache: Option<&Self>, new: i64) -> Result<()> {
        match cache.map(|cache| (cache.kind, cache.len)) {
            Some((CacheKind::Static(most), len)) if len + new > most => {
                let message = format!("{new} tokens after {len} exceed the {most} that the static cache was made for");
                Err(Error::input("cache", message))
            }
            _ => Ok(()),
        }
    }

    /// Forgets all tokens after the first `len`; the next pass goes on from there. What an encoder computed stays, and
    /// where images have moved the positions, they are to be among the tokens that stay.
    ///
    /// # Errors
    /// [`Error::Input`] where there are fewer, or what is left cannot be had back: a recurrent state has no past, and a
    /// layer that sees a window has forgotten what lies before it ([`CacheKind::Whole`] keeps it). The cache is then as
    /// it was.
    pub fn truncate(&mut self, len: i64) -> Result<()> {
        let count = self.len - len;
        let refused = |why: String| Err(Error::input("cache", format!("cannot go back to {len} tokens: {why}")));
        if count < 0 || len < 0 {
            return refused(format!("it has {}", self.len));
        }
        if count == 0 {
            return Ok(());
        }
        if let Some(index) = self.recurrent_layer() {
            return refused(format!("layer {index} has a recurrent state, which does not go back"));
        }
        for (index, layer) in self.layers.iter().enumerate() {
            if !layer.past.reaches_back(count, self.len) {
                return refused(format!("layer {index} keeps the tokens of its window only"));
            }
        }
        self.layers.iter_mut().for_each(|layer| layer.past.drop_last(count, self.len));
        self.len = len;
        if len == 0 {
            self.position_offset = None;
        }
        Ok(())
    }

    /// The first layer whose state cannot be [taken back](Cache::truncate) by any number of tokens.
    pub fn recurrent_layer(&self) -> Option<usize> {
        self.layers.iter().position(|layer| layer.recurrent.is_some() || layer.window.is_some())
    }

    /// The same state, with every row `times` times, one copy after another: neither cache changes what the other holds.
    /// Keys and values are copied when one of the two goes on, not before.
    pub fn fork(&mut self, times: i64) -> Self {
        let part = |x: &Option<Tensor>| x.as_ref().map(|x| rows(x, times));
        Self {
            layers: self.layers.iter_mut().map(|layer| layer.fork(times)).collect(),
            len: self.len,
            kind: self.kind,
            encoded: part(&self.encoded),
            memory: part(&self.memory),
            encoded_mask: part(&self.encoded_mask),
            position_offset: part(&self.position_offset),
        }
    }

    /// Puts row `rows[i]` (`[rows]`, int64) in the place of row `i`.
    ///
    /// Rows that take each other's places continue one prompt: what an encoder computed for them, and where the positions
    /// of the prompt end, is the same and stays.
    pub fn reorder(&mut self, rows: &Tensor) {
        for layer in &mut self.layers {
            layer.past.reorder(rows);
            for part in [&mut layer.window, &mut layer.recurrent].into_iter().flatten() {
                *part = part.index_select(0, rows);
            }
        }
    }

    /// The same state, stored as `kind` says from the next tokens on.
    ///
    /// What a layer has forgotten of the tokens before its window does not come back.
    pub fn into_kind(mut self, kind: CacheKind) -> Self {
        self.kind = kind;
        self.layers.iter_mut().for_each(|layer| layer.past.reserve(kind.tokens()));
        self
    }

    /// Forgets all tokens, but not what an encoder computed.
    pub fn restart(&mut self) {
        let memories = self.layers.drain(..).map(|layer| layer.memory).collect::<Vec<_>>();
        for (index, memory) in memories.into_iter().enumerate() {
            self.layer(index).memory = memory;
        }
        (self.len, self.position_offset) = (0, None);
    }

    /// Bytes of the storage of keys, values, states and what an encoder made, filled or not; storage that several caches
    /// share counts in each. [`CacheFormula`] says what they will be.
    pub fn bytes(&self) -> usize {
        let encoded: usize = self.encoded.iter().chain(&self.memory).map(bytes).sum();
        encoded + self.layers.iter().map(LayerCache::bytes).sum::<usize>()
    }
}
