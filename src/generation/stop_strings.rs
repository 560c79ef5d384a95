//! Strings that end a row as soon as its text contains them.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use tokenizers::{Decoder, Tokenizer};

use crate::{Error, Result};

/// A text whose tokens come before the one that is looked at: some decoders treat the first token of a text differently.
const BEFORE: &str = "abcdef";

/// What every token adds to the text before it.
///
/// A clone is another handle on the same texts.
#[derive(Debug, Clone)]
pub struct TokenTexts {
    texts: Arc<HashMap<i64, Vec<u8>>>,
    /// Whether tokens may be parts of a character.
    bytes: bool,
}

impl TokenTexts {
    /// Tokens with their texts.
    pub fn new(texts: impl IntoIterator<Item = (i64, String)>) -> Self {
        let texts = texts.into_iter().map(|(id, text)| (id, text.into_bytes())).collect();
        Self { texts: Arc::new(texts), bytes: false }
    }

    /// The tokens of a tokenizer, special and added ones included; those of byte-level tokenizers, and of others that
    /// fall back to bytes, may be parts of a character.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] where the tokenizer does not give back a text that it has split.
    pub fn of(tokenizer: &Tokenizer) -> Result<Self> {
        let failed = |error: tokenizers::Error| Error::Tokenizer(error.to_string());
        let encoding = tokenizer.encode(BEFORE, false).map_err(failed)?;
        let real = std::iter::zip(encoding.get_tokens(), encoding.get_attention_mask());
        let before: Vec<String> = real.filter(|(_, mask)| **mask != 0).map(|(token, _)| token.clone()).collect();
        let decoder = tokenizer.get_decoder();
        let state = decoder.map_or(Value::Null, |decoder| serde_json::to_value(decoder).unwrap_or(Value::Null));
        let kind = if names(&state, "ByteFallback") {
            Bytes::Fallback(byte_of_fallback)
        } else if names(&state, "ByteLevel") {
            Bytes::Level(bytes_of_characters())
        } else {
            Bytes::Whole
        };
        let text_of = |token: &str| -> Result<Vec<u8>> {
            if let Some(bytes) = kind.of(token) {
                return Ok(bytes);
            }
            let tokens: Vec<String> = before.iter().cloned().chain([token.to_owned()]).collect();
            let text = match decoder {
                Some(decoder) => decoder.decode(tokens).map_err(failed)?,
                None => tokens.join(" "),
            };
            match text.split_once(BEFORE) {
                Some((_, added)) => Ok(added.as_bytes().to_vec()),
                None => Err(Error::Tokenizer(format!(
                    "does not decode `{BEFORE}` to itself, so that what a token adds to a text cannot be told; give \
                     the texts of tokens with `TokenTexts::new`"
                ))),
            }
        };
        let tokens = tokenizer.get_vocab(true);
        let texts = tokens.iter().map(|(token, id)| Ok((i64::from(*id), text_of(token)?))).collect::<Result<_>>()?;
        Ok(Self { texts: Arc::new(texts), bytes: !matches!(kind, Bytes::Whole) })
    }

    fn text(&self, id: i64) -> Option<&[u8]> {
        self.texts.get(&id).map(Vec::as_slice)
    }
}

/// How a tokenizer spells bytes that are no characters.
enum Bytes {
    /// Not at all.
    Whole,
    /// As `<0xNN>`.
    Fallback(fn(&str) -> Option<Vec<u8>>),
    /// Every byte as a character.
    Level(HashMap<char, u8>),
}

impl Bytes {
    /// The bytes of a token that consists of them.
    fn of(&self, token: &str) -> Option<Vec<u8>> {
        match self {
            Self::Whole => None,
            Self::Fallback(byte) => byte(token),
            Self::Level(bytes) => token.chars().map(|character| bytes.get(&character).copied()).collect(),
        }
    }
}

fn byte_of_fallback(token: &str) -> Option<Vec<u8>> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    let fits = digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    fits.then(|| u8::from_str_radix(digits, 16).ok().map(|byte| vec![byte])).flatten()
}

/// The characters that byte-level tokenizers write for bytes: printable ones for themselves, and those from 256 on for
/// the others in turn.
fn bytes_of_characters() -> HashMap<char, u8> {
    let printable = |byte: u8| matches!(byte, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    let others = (0..=u8::MAX).filter(|byte| !printable(*byte));
    let own = (0..=u8::MAX).filter(|byte| printable(*byte)).map(|byte| (char::from(byte), byte));
    own.chain(std::iter::zip((256..).filter_map(char::from_u32), others)).collect()
}

/// Whether a decoder, or one that it is made of, is of the type `name`.
fn names(state: &Value, name: &str) -> bool {
    match state {
        Value::Object(fields) => {
            fields.get("type").and_then(Value::as_str) == Some(name) || fields.values().any(|value| names(value, name))
        }
        Value::Array(items) => items.iter().any(|item| names(item, name)),
        _ => false,
    }
}

/// Ends a row with the token that completes one of several strings.
///
/// The string need not end where the token does: `["st", "opera"]` contains `stop`. What was complete before the last
/// token does not count again.
#[derive(Debug, Clone)]
pub struct StopStrings {
    texts: TokenTexts,
    strings: Vec<Vec<u8>>,
    /// How many tokens from the end are looked at.
    reach: usize,
}

impl StopStrings {
    /// The strings, and the texts of the tokens that they are made of.
    ///
    /// # Errors
    /// [`Error::Input`] for an empty string, and where no token can end any of them.
    pub fn new(texts: &TokenTexts, strings: &[String]) -> Result<Self> {
        let refused = |message: String| Err(Error::input("stop_strings", message));
        if strings.is_empty() || strings.iter().any(String::is_empty) {
            return refused(format!("are {strings:?}, expected at least one string, and none that is empty"));
        }
        let length = |string: &String| if texts.bytes { string.len() } else { string.chars().count() };
        let reach = strings.iter().map(length).max().unwrap_or(0);
        let strings: Vec<_> = strings.iter().map(|string| string.as_bytes().to_vec()).collect();
        let ends = |text: &Vec<u8>| strings.iter().any(|string| overlaps(string, text).next().is_some());
        if !texts.texts.values().any(ends) {
            return refused("end with what no token begins with, so that they would never occur".into());
        }
        Ok(Self { texts: texts.clone(), strings, reach })
    }

    /// How many tokens from the end of a row are looked at.
    pub fn reach(&self) -> usize {
        self.reach
    }

    /// Whether the last of the tokens `ids` completes one of the strings.
    pub fn completed_by(&self, ids: &[i64]) -> bool {
        let ids = &ids[ids.len().saturating_sub(self.reach)..];
        let Some((last, before)) = ids.split_last() else { return false };
        let Some(last) = self.texts.text(*last) else { return false };
        self.strings.iter().any(|string| overlaps(string, last).any(|rest| self.ends_with(before, rest)))
    }

    /// Whether the text of the tokens `ids` ends with `string`.
    fn ends_with(&self, ids: &[i64], string: &[u8]) -> bool {
        let mut rest = string;
        for id in ids.iter().rev() {
            if rest.is_empty() {
                return true;
            }
            let Some((text, shared)) = self.texts.text(*id).map(|text| (text, text.len().min(rest.len()))) else {
                return false;
            };
            let (before, end) = rest.split_at(rest.len() - shared);
            if !text.ends_with(end) {
                return false;
            }
            rest = before;
        }
        rest.is_empty()
    }
}

/// For every part at the beginning of `text` that `string` can end with: what of `string` comes before it.
fn overlaps<'a>(string: &'a [u8], text: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    (1..=text.len()).filter_map(move |length| {
        let (before, end) = string.split_at(string.len() - length.min(string.len()));
        text[..length].ends_with(end).then_some(before)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(tokens: &[&str], strings: &[&str]) -> Result<StopStrings> {
        let texts = TokenTexts::new(std::iter::zip(0.., tokens.iter().map(|text| (*text).to_owned())));
        StopStrings::new(&texts, &strings.iter().map(|string| (*string).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn a_string_may_begin_and_end_inside_of_tokens() {
        let tokens = ["st", "op", "stop", "opera", "sto", "pper", "las", "topper", "s", "to", "pped", "at", "tion", ""];
        let stops = stops(&tokens, &["stop"]).unwrap();
        let met = |texts: &[&str]| {
            let ids: Vec<i64> =
                texts.iter().map(|text| tokens.iter().position(|token| token == text).unwrap() as i64).collect();
            stops.completed_by(&ids)
        };
        for yes in [&["st", "op"][..], &["stop"], &["st", "opera"], &["sto", "pper"], &["las", "topper"]] {
            assert!(met(yes), "{yes:?}");
        }
        assert!(met(&["at", "s", "to", "pped"]) && met(&["st", "", "op"]));
        for no in [&["stop", "at"][..], &["st", "op", "at"], &["st", "opera", "tion"], &["op"], &["st"], &["stop", ""]]
        {
            assert!(!met(no), "{no:?}");
        }
        assert!(!stops.completed_by(&[]) && !stops.completed_by(&[99, 1]) && !stops.completed_by(&[0, 99]));
    }

    #[test]
    fn strings_that_end_nothing_are_refused() {
        for strings in [&[""][..], &[], &["x", ""], &["zz"]] {
            assert!(matches!(stops(&["a", "b"], strings), Err(Error::Input { name, .. }) if name == "stop_strings"));
        }
        assert!(stops(&["a", "b"], &["zz", "xb"]).is_ok());
    }

    #[test]
    fn every_byte_has_a_character() {
        let bytes = bytes_of_characters();
        assert_eq!(bytes.len(), 256);
        assert_eq!((bytes[&'Ġ'], bytes[&'A'], bytes[&'Ċ']), (b' ', b'A', b'\n'));
    }
}
