//! Texts to tokens and back: the tokenizer of a checkpoint's directory, as Python's `AutoTokenizer` makes it.

mod build;
mod charsmap;
pub mod chat;
mod checks;
mod class_table;
mod classes;
mod generic;
mod languages;
mod parts;
mod piece_recipes;
mod process;
mod recipe;
mod sentencepiece;
mod settings;
mod special;
mod streamer;
mod tiktoken;
mod tokenizer;
mod truncation;
mod vocabulary;
mod word_recipes;

pub use chat::{ChatOptions, ChatTemplate, ChatTemplateError, Message};
#[cfg(test)]
pub(crate) use classes::vocabulary_files;
pub use special::{SpecialToken, SpecialTokens};
pub use streamer::Streamer;
pub use tokenizer::{Side, Tokenizer};
pub use truncation::{Strategy, Truncation};
