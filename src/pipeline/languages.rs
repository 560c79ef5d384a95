//! Languages that are tokens: of mBART, NLLB, M2M100.

use tokenizers::Encoding;

use crate::auto::nearest;
use crate::text::{SpecialToken, Tokenizer};
use crate::{Error, Result};

/// The special tokens of a tokenizer, some of which may stand for languages.
pub(super) struct Languages<'a> {
    tokens: &'a [SpecialToken],
}

impl<'a> Languages<'a> {
    pub fn of(tokenizer: &'a Tokenizer) -> Self {
        Self { tokens: &tokenizer.special_tokens().additional }
    }

    /// The names of the languages: `en_XX`, `eng_Latn`, and `en` where the token is `__en__`.
    pub fn names(&self) -> impl Iterator<Item = &'a str> {
        self.tokens.iter().filter_map(|token| name(&token.content))
    }

    /// The token that stands for `language`, which `argument` names; `None` where the tokenizer has no languages.
    pub fn token(&self, argument: &str, language: &str) -> Result<Option<u32>> {
        let is_it = |token: &&SpecialToken| token.content == language || name(&token.content) == Some(language);
        if let Some(token) = self.tokens.iter().find(is_it) {
            return Ok(Some(token.id));
        }
        let names: Vec<&str> = self.names().collect();
        if names.is_empty() {
            return Ok(None);
        }
        let hint = match &nearest(language, names.iter().copied())[..] {
            [] => "it".to_owned(),
            near => format!("did you mean {}? It", near.join(", ")),
        };
        let message = format!("`{language}` is no language of the tokenizer; {hint} knows {}", names.join(", "));
        Err(Error::input(argument, message))
    }

    /// `encoding` with the language that the tokenizer has put there replaced by the token `id`.
    pub fn spoken(&self, encoding: &Encoding, id: u32) -> Result<Encoding> {
        let specials = encoding.get_special_tokens_mask();
        let is_language = |token: u32| self.tokens.iter().any(|language| language.id == token);
        let mut ids = encoding.get_ids().to_vec();
        let mut replaced = false;
        for (token, special) in std::iter::zip(&mut ids, specials) {
            if *special == 1 && is_language(*token) {
                (*token, replaced) = (id, true);
            }
        }
        if !replaced {
            return Err(Error::input("src_lang", "is of no use: the tokenizer puts no language around a text"));
        }
        Ok(Encoding::new(
            ids,
            encoding.get_type_ids().to_vec(),
            encoding.get_tokens().to_vec(),
            encoding.get_word_ids().to_vec(),
            encoding.get_offsets().to_vec(),
            specials.to_vec(),
            encoding.get_attention_mask().to_vec(),
            Vec::new(),
            Default::default(),
        ))
    }
}

/// The language that a token stands for, where it is written as one: two or three letters, and the country or the script
/// behind them or underscores around them.
fn name(token: &str) -> Option<&str> {
    let is_code = |code: &str| (2..=3).contains(&code.len()) && code.bytes().all(|byte| byte.is_ascii_lowercase());
    if let Some(code) = token.strip_prefix("__").and_then(|rest| rest.strip_suffix("__")) {
        return is_code(code).then_some(code);
    }
    let (code, region) = token.split_once('_')?;
    let is_region = (2..=4).contains(&region.len())
        && region.bytes().all(|byte| byte.is_ascii_alphabetic())
        && region.starts_with(|first: char| first.is_ascii_uppercase());
    (is_code(code) && is_region).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::name;

    #[test]
    fn tokens_are_languages_where_they_are_written_as_such() {
        for (token, language) in [("en_XX", "en_XX"), ("ace_Arab", "ace_Arab"), ("__en__", "en"), ("__ceb__", "ceb")] {
            assert_eq!(name(token), Some(language));
        }
        for token in ["<mask>", "<extra_id_0>", "en", "en_", "_XX", "en_xx", "____", "__EN__", "<unk_2>", "big_Number"]
        {
            assert_eq!(name(token), None, "{token}");
        }
    }
}
