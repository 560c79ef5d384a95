//! Encoders built as today's decoders are: rotary positions, gated feed-forward, norms before the sublayers, windows.
//!
//! Each is a [`DecoderSpec`](super::decoder::DecoderSpec) that is not causal, with the heads of an encoder around a
//! [transform](crate::nn::heads::Transform): [`ModernSpec`]. What varies is in the spec: which layers see a window, which
//! rotate how, which norms have a shift, and how a sequence becomes one vector.

mod classes;
mod modernbert;

pub use classes::{Class, ClassifierPooling, ModernBody, ModernSpec};
pub use modernbert::{ModernBert, ModernBertConfig};
