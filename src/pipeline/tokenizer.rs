use std::path::Path;

use serde::Deserialize;
use tch::{Kind, Tensor};
use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Sequence};
use tokenizers::{
    Encoding, PaddingDirection, PaddingParams, PostProcessor, Tokenizer, TruncationDirection, TruncationParams,
    pad_encodings,
};

use super::read_optional;
use crate::{Error, Inputs, Result};

/// Texts to batches of token ids: `tokenizer.json` with what `tokenizer_config.json` changes about it.
#[derive(Debug)]
pub struct TextTokenizer {
    tokenizer: Tokenizer,
    /// `None` where the tokenizer has no padding token: then all texts of a batch must be equally long.
    padding: Option<PaddingParams>,
    max_length: usize,
}

/// What `tokenizer_config.json` says that changes ids.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Settings {
    /// Absurdly large where there is no limit, hence a float.
    model_max_length: Option<f64>,
    pad_token: Option<Token>,
    padding_side: Option<Side>,
    truncation_side: Option<Side>,
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Side {
    Left,
    Right,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Token {
    Plain(String),
    Added { content: String },
}

impl TextTokenizer {
    /// Reads the tokenizer in `directory`; texts are cut to `max_length` tokens, special ones included, and to what
    /// `tokenizer_config.json` allows where `max_length` is `None`, but never to more than `limit`.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`] or [`Error::Tokenizer`] for a file that is missing or damaged, and when
    /// `max_length` leaves no room for the text.
    pub fn from_directory(directory: &Path, max_length: Option<usize>, limit: Option<usize>) -> Result<Self> {
        let path = directory.join("tokenizer.json");
        let json = std::fs::read(&path).map_err(|error| Error::io(&path, error))?;
        let damaged = |error: tokenizers::Error| Error::Tokenizer(format!("{}: {error}", path.display()));
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(damaged)?;
        let settings: Settings = read_optional(&directory.join("tokenizer_config.json"))?.unwrap_or_default();
        settings.normalize(&mut tokenizer);

        let own = settings.model_max_length.filter(|length| *length < 1e9).map(|length| length as usize);
        let max_length = max_length.or(own).unwrap_or(usize::MAX).min(limit.unwrap_or(usize::MAX));
        let specials = tokenizer.get_post_processor().map_or(0, |processor| processor.added_tokens(false));
        if max_length <= specials {
            return Err(Error::Tokenizer(format!(
                "a length of {max_length} tokens leaves no room for a text besides {specials} special tokens"
            )));
        }
        let direction = match settings.truncation_side {
            Some(Side::Left) => TruncationDirection::Left,
            _ => TruncationDirection::Right,
        };
        let truncation = TruncationParams { max_length, direction, ..Default::default() };
        let padding = settings.padding(&tokenizer);
        tokenizer.with_truncation((max_length < usize::MAX).then_some(truncation)).map_err(damaged)?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer, padding, max_length })
    }

    /// Lowercases every text before anything else.
    pub fn lowercase(&mut self) {
        let rest = self.tokenizer.get_normalizer().cloned();
        let first = NormalizerWrapper::Lowercase(Lowercase);
        self.tokenizer.with_normalizer(Some(Sequence::new(std::iter::once(first).chain(rest).collect())));
    }

    /// The most tokens that a text may have; what comes after them is cut off.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The tokens of each text, special ones included.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], also for a text without any token (an empty one, where no special tokens are added).
    pub fn encode(&self, texts: &[&str]) -> Result<Vec<Encoding>> {
        let encodings = self.tokenizer.encode_batch(texts.to_vec(), true);
        let encodings = encodings.map_err(|error| Error::Tokenizer(error.to_string()))?;
        match encodings.iter().position(Encoding::is_empty) {
            Some(index) => Err(Error::Tokenizer(format!("text {} has no tokens: {:?}", index + 1, texts[index]))),
            None => Ok(encodings),
        }
    }

    /// `input_ids`, `attention_mask` and `token_type_ids`, `[texts, tokens]` each, padded to the longest.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when lengths differ and there is no padding token.
    pub fn batch(&self, mut encodings: Vec<Encoding>) -> Result<Inputs> {
        let unequal = encodings.windows(2).any(|pair| pair[0].len() != pair[1].len());
        match &self.padding {
            Some(padding) => {
                pad_encodings(&mut encodings, padding).map_err(|error| Error::Tokenizer(error.to_string()))?;
            }
            None if unequal => {
                return Err(Error::Tokenizer("texts of different lengths need a padding token; there is none".into()));
            }
            None => {}
        }
        let rows = encodings.len() as i64;
        let tensor = |of: fn(&Encoding) -> &[u32]| {
            let values: Vec<i64> = encodings.iter().flat_map(of).map(|value| i64::from(*value)).collect();
            Tensor::from_slice(&values).view([rows, -1]).to_kind(Kind::Int64)
        };
        Ok(Inputs::new()
            .with("input_ids", tensor(Encoding::get_ids))
            .with("attention_mask", tensor(Encoding::get_attention_mask))
            .with("token_type_ids", tensor(Encoding::get_type_ids)))
    }
}

impl Settings {
    /// The tokenizers of BERT's family build their normaliser from these settings, whatever `tokenizer.json` says.
    fn normalize(&self, tokenizer: &mut Tokenizer) {
        if let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() {
            let mut normalizer = *normalizer;
            normalizer.lowercase = self.do_lower_case.unwrap_or(normalizer.lowercase);
            normalizer.strip_accents = self.strip_accents.or(normalizer.strip_accents);
            normalizer.handle_chinese_chars = self.tokenize_chinese_chars.unwrap_or(normalizer.handle_chinese_chars);
            tokenizer.with_normalizer(Some(normalizer));
        }
    }

    fn padding(&self, tokenizer: &Tokenizer) -> Option<PaddingParams> {
        let stored = tokenizer.get_padding();
        let pad_token = match &self.pad_token {
            Some(Token::Plain(token) | Token::Added { content: token }) => token.clone(),
            None => stored.map(|stored| stored.pad_token.clone())?,
        };
        let direction = match (self.padding_side, stored) {
            (Some(Side::Left), _) => PaddingDirection::Left,
            (None, Some(stored)) => stored.direction,
            _ => PaddingDirection::Right,
        };
        let pad_id = tokenizer.token_to_id(&pad_token)?;
        let pad_type_id = stored.map_or(0, |stored| stored.pad_type_id);
        Some(PaddingParams { pad_id, pad_token, pad_type_id, direction, ..Default::default() })
    }
}
