//! Texts to tokens and back: the tokenizer of a checkpoint's directory, as Python's `AutoTokenizer` makes it.

mod settings;
mod special;
mod streamer;
mod tokenizer;
mod truncation;

pub use special::{SpecialToken, SpecialTokens};
pub use streamer::TextStreamer;
pub use tokenizer::{Side, Tokenizer};
pub use truncation::{Strategy, Truncation};
