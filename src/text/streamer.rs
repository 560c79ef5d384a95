//! A text as it comes, token by token.

use super::Tokenizer;
use crate::Result;

/// Turns the tokens of a growing text into pieces of it that stand for good: whole words, and never a part of a character.
#[derive(Debug)]
pub struct TextStreamer<'a> {
    tokenizer: &'a Tokenizer,
    skip_special_tokens: bool,
    /// Tokens since the last line or ideograph.
    ids: Vec<i64>,
    /// Bytes of their text that were handed over.
    given: usize,
}

impl<'a> TextStreamer<'a> {
    /// A streamer at the beginning of a text.
    pub fn new(tokenizer: &'a Tokenizer, skip_special_tokens: bool) -> Self {
        Self { tokenizer, skip_special_tokens, ids: Vec::new(), given: 0 }
    }

    /// The piece of the text that stands for good with the token `id`; empty where there is none yet.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, id: i64) -> Result<String> {
        self.ids.push(id);
        let text = self.tokenizer.decode(&self.ids, self.skip_special_tokens)?;
        if text.ends_with('\n') || text.chars().next_back().is_some_and(is_ideograph) {
            // Nothing that follows changes these.
            return Ok(self.finished(&text));
        }
        let word = text.rfind(' ').map_or(0, |space| space + 1);
        Ok(self.upto(&text, word))
    }

    /// The rest of the text.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(&mut self) -> Result<String> {
        let text = self.tokenizer.decode(&self.ids, self.skip_special_tokens)?;
        Ok(self.finished(&text))
    }

    fn finished(&mut self, text: &str) -> String {
        let piece = self.upto(text, text.len());
        self.ids.clear();
        self.given = 0;
        piece
    }

    /// What lies between what was handed over and `end`.
    fn upto(&mut self, text: &str, end: usize) -> String {
        let piece = text.get(self.given..end.max(self.given)).unwrap_or_default().to_owned();
        self.given = self.given.max(end);
        piece
    }
}

/// Whether `c` is written without spaces around it: the blocks of CJK ideographs.
fn is_ideograph(c: char) -> bool {
    matches!(
        c,
        '\u{4E00}'..='\u{9FFF}'
            | '\u{3400}'..='\u{4DBF}'
            | '\u{20000}'..='\u{2A6DF}'
            | '\u{2A700}'..='\u{2CEAF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{2F800}'..='\u{2FA1F}'
    )
}
