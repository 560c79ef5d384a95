//! Which cache a generation uses.

use serde::Deserialize;

use super::GenerationConfig;
use super::text::to_i64;
use crate::cache::CacheKind;

/// The cache of a generation, under the names that `transformers` gives them in `cache_implementation`.
///
/// Those that keep what they hold elsewhere (`offloaded`, `offloaded_static`, `offloaded_hybrid`,
/// `offloaded_hybrid_chunked`), in fewer bits (`quantized`) or in pages (`paged`) are not supported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CacheImplementation {
    /// It grows with the text; a layer that sees a window keeps those tokens only. `hybrid` means this as well.
    #[default]
    #[serde(alias = "hybrid")]
    Dynamic,
    /// It is made at once, for the longest text that the settings allow. The older names `sliding_window` and
    /// `hybrid_chunked` mean the same: which layers see a window, their model says.
    #[serde(alias = "sliding_window", alias = "hybrid_chunked")]
    Static,
}

/// The cache of a generation that `config` sets up, of `most` tokens at most.
pub(super) fn cache_kind(config: &GenerationConfig, most: usize) -> CacheKind {
    match config.cache_implementation {
        CacheImplementation::Dynamic => CacheKind::Growing,
        CacheImplementation::Static => {
            // The last token is never passed in.
            let tokens = most.saturating_sub(1).max(config.max_cache_len.unwrap_or(0));
            CacheKind::Static(to_i64(tokens))
        }
    }
}
