use super::Tokenizer;
use crate::Result;

/// Tokens to pieces of text as they come: no piece ends within a character or a word.
///
/// Pieces are those of Python's `TextStreamer`: up to the last space, all of it after a line break, and all of it
/// after a Chinese character, which needs no space. Joined, they are the whole text.
#[derive(Debug)]
pub struct Streamer<'a> {
    tokenizer: &'a Tokenizer,
    skip_special_tokens: bool,
    /// Tokens since the last line break.
    tokens: Vec<i64>,
    /// How much of their text was handed out, in bytes.
    printed: usize,
}

impl<'a> Streamer<'a> {
    /// A streamer at the beginning of a text, with special tokens written out or not.
    pub fn new(tokenizer: &'a Tokenizer, skip_special_tokens: bool) -> Self {
        Self { tokenizer, skip_special_tokens, tokens: Vec::new(), printed: 0 }
    }

    /// Takes the next token; returns what has become certain, which may be nothing.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, token: i64) -> Result<String> {
        self.tokens.push(token);
        let text = self.text()?;
        if text.ends_with('\n') {
            let piece = self.after(&text, text.len());
            self.tokens.clear();
            self.printed = 0;
            return Ok(piece);
        }
        let end = match text.chars().next_back() {
            Some(last) if is_chinese(last) => text.len(),
            _ => text.rfind(' ').map_or(0, |space| space + 1),
        };
        Ok(self.after(&text, end))
    }

    /// What is left at the end; the next token begins another text.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(&mut self) -> Result<String> {
        let text = self.text()?;
        let piece = self.after(&text, text.len());
        self.tokens.clear();
        self.printed = 0;
        Ok(piece)
    }

    fn text(&self) -> Result<String> {
        self.tokenizer.decode(&self.tokens, self.skip_special_tokens)
    }

    /// The text from what was handed out to `end`, which is handed out by that.
    fn after(&mut self, text: &str, end: usize) -> String {
        let piece = text.get(self.printed..end).unwrap_or_default().to_owned();
        self.printed += piece.len();
        piece
    }
}

/// Whether a character stands in one of Unicode's blocks of CJK ideographs.
fn is_chinese(c: char) -> bool {
    matches!(
        u32::from(c),
        0x4e00..=0x9fff
            | 0x3400..=0x4dbf
            | 0x20000..=0x2a6df
            | 0x2a700..=0x2b73f
            | 0x2b740..=0x2b81f
            | 0x2b820..=0x2ceaf
            | 0xf900..=0xfaff
            | 0x2f800..=0x2fa1f
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tokenizer whose tokens are the bytes of a text.
    fn bytes() -> (tempfile::TempDir, Tokenizer) {
        let directory = tempfile::tempdir().unwrap();
        // Bytes that print stand for themselves in byte-level vocabularies, others for characters from 256 on.
        let prints = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
        let mut next = 256;
        let mut vocabulary = serde_json::Map::new();
        for byte in 0..256 {
            let code = if prints(byte) { byte } else { next };
            next += u32::from(!prints(byte));
            vocabulary.insert(char::from_u32(code).unwrap().to_string(), byte.into());
        }
        let json = serde_json::json!({
            "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
            "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "post_processor": null,
            "decoder": {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
            "model": {"type": "BPE", "vocab": vocabulary, "merges": []}
        });
        std::fs::write(directory.path().join("tokenizer.json"), json.to_string()).unwrap();
        let tokenizer = Tokenizer::from_directory(directory.path()).unwrap();
        (directory, tokenizer)
    }

    fn pieces(text: &str) -> Vec<String> {
        let (_keep, tokenizer) = bytes();
        let mut streamer = Streamer::new(&tokenizer, true);
        let mut pieces: Vec<_> = text.bytes().map(|byte| streamer.push(byte.into()).unwrap()).collect();
        pieces.push(streamer.finish().unwrap());
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }

    #[test]
    fn pieces_end_with_words_lines_and_chinese_characters() {
        assert_eq!(pieces("Hello big world"), ["Hello ", "big ", "world"]);
        assert_eq!(pieces("a b\nc d"), ["a ", "b\n", "c ", "d"]);
        assert_eq!(pieces("你好 x"), ["你", "好", " ", "x"]);
        assert_eq!(pieces(""), [] as [&str; 0]);
    }

    #[test]
    fn characters_are_never_cut() {
        assert_eq!(pieces("naïve 👩‍👧 שלום"), ["naïve ", "👩‍👧 ", "שלום"]);
    }
}
