//! Texts to tokens and back: the tokenizer of a checkpoint's directory, as Python's `AutoTokenizer` makes it.

pub mod chat;
mod settings;
mod special;
mod streamer;
mod tokenizer;
mod truncation;

pub use chat::{ChatOptions, ChatTemplate, ChatTemplateError, Message};
pub use special::{SpecialToken, SpecialTokens};
pub use streamer::Streamer;
pub use tokenizer::{Side, Tokenizer};
pub use truncation::{Strategy, Truncation};
