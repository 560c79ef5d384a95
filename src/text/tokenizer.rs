use std::path::Path;

use serde::Deserialize;
use tch::{Kind, Tensor};
use tokenizers::normalizers::{Lowercase, NormalizerWrapper, Sequence};
use tokenizers::{
    Encoding, PaddingDirection, PaddingParams, PostProcessor, PostProcessorWrapper, TruncationDirection, pad_encodings,
};

use super::build::{Built, build};
use super::checks::wrong;
use super::{SpecialTokens, Strategy, Truncation};
use crate::error::catch;
use crate::{Error, Inputs, Result};

/// Texts to batches of token ids and back: `tokenizer.json` with what `tokenizer_config.json` changes about it.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    /// Without truncation, padding and post-processor: they depend on the call.
    inner: tokenizers::Tokenizer,
    processor: PostProcessorWrapper,
    special: SpecialTokens,
    padding_side: Side,
    truncation_side: Side,
    max_length: usize,
    /// Whether spaces that tokens bring are cleaned up in decoded text.
    clean_up: bool,
    /// Ends of words that become spaces in decoded text.
    suffix: Option<&'static str>,
}

/// An end of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Before the first token.
    Left,
    /// After the last token.
    Right,
}

impl Tokenizer {
    /// Reads the tokenizer in `directory`. Texts are cut to the length that `tokenizer_config.json` allows.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Json`] or [`Error::Tokenizer`] for a file that is missing or damaged, and when the
    /// length leaves no room for the text.
    pub fn from_directory(directory: &Path) -> Result<Self> {
        let Built { inner, processor, special, padding_side, truncation_side, max_length, clean_up, suffix } =
            guarded(|| build(directory))?;
        let max = usize::MAX;
        Self { inner, processor, special, padding_side, truncation_side, max_length: max, clean_up, suffix }
            .with_max_length(max_length)
            .map_err(|error| match error {
                Error::Tokenizer(message) => wrong(&directory.join("tokenizer_config.json"), message),
                error => error,
            })
    }

    /// Cuts texts to `max_length` tokens, special ones included, whatever `tokenizer_config.json` allows.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when that leaves no room for a text.
    pub fn with_max_length(self, max_length: usize) -> Result<Self> {
        let specials = self.added_tokens(false);
        if max_length <= specials {
            return Err(Error::Tokenizer(format!(
                "a length of {max_length} tokens leaves no room for a text besides {specials} special tokens"
            )));
        }
        Ok(Self { max_length, ..self })
    }

    /// Cuts texts to `limit` tokens where they could have more, such as the positions of a model.
    ///
    /// # Errors
    /// As [`Tokenizer::with_max_length`].
    pub fn limited_to(self, limit: usize) -> Result<Self> {
        let max_length = self.max_length.min(limit);
        self.with_max_length(max_length)
    }

    /// Fills up the rows of a batch on this side.
    pub fn padded_on(self, side: Side) -> Self {
        Self { padding_side: side, ..self }
    }

    /// Lowercases every text before anything else.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the added tokens cannot be normalised anew.
    pub fn lowercased(mut self) -> Result<Self> {
        let rest = self.inner.get_normalizer().cloned();
        let first = NormalizerWrapper::Lowercase(Lowercase);
        let both = Sequence::new(std::iter::once(first).chain(rest).collect());
        self.inner.with_normalizer(Some(both)).map_err(failed)?;
        Ok(self)
    }

    /// The tokenizer underneath, for its vocabulary. It has neither post-processor nor truncation nor padding, so that
    /// what it encodes is the text alone.
    pub fn inner(&self) -> &tokenizers::Tokenizer {
        &self.inner
    }

    /// The tokens with a role.
    pub fn special_tokens(&self) -> &SpecialTokens {
        &self.special
    }

    /// The most tokens that a text may have; what comes after them is cut off. `usize::MAX` where nothing limits it.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The side on which short rows of a batch are filled up.
    pub fn padding_side(&self) -> Side {
        self.padding_side
    }

    /// The tokens of each text, special ones included, cut to [`Tokenizer::max_length`]. Offsets count characters.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode(&self, texts: &[&str]) -> Result<Vec<Encoding>> {
        self.encode_texts(texts, self.truncation(), true)
    }

    /// The tokens of each text without special ones around them, not cut.
    ///
    /// # Errors
    /// [`Error::Tokenizer`].
    pub fn encode_plain(&self, texts: &[&str]) -> Result<Vec<Encoding>> {
        self.encode_texts(texts, Truncation::NONE, false)
    }

    /// As [`Tokenizer::encode`], cut as `truncation` says; [`Encoding::get_overflowing`] has the further pieces of a
    /// text that is cut.
    ///
    /// # Errors
    /// [`Error::Tokenizer`], also when `truncation` leaves no room or its stride is too long.
    pub fn encode_cut(&self, texts: &[&str], truncation: Truncation) -> Result<Vec<Encoding>> {
        self.encode_texts(texts, truncation, true)
    }

    /// As [`Tokenizer::encode_cut`], of a text that is split into words already: offsets count from the beginning of
    /// each word, and no token is of two words.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_cut`].
    pub fn encode_words(&self, words: &[String], truncation: Truncation) -> Result<Encoding> {
        let encoding = self.inner.encode_char_offsets(words, false).map_err(failed)?;
        self.finish(encoding, None, truncation, true)
    }

    /// The tokens of each pair of texts, special ones included; [`Encoding::get_overflowing`] has the further pieces
    /// of a pair that is cut.
    ///
    /// # Errors
    /// As [`Tokenizer::encode_cut`].
    pub fn encode_pairs(&self, pairs: &[(&str, &str)], truncation: Truncation) -> Result<Vec<Encoding>> {
        let texts: Vec<&str> = pairs.iter().flat_map(|(first, second)| [*first, *second]).collect();
        let mut encodings = self.encode_raw(texts)?.into_iter();
        let mut pairs = Vec::with_capacity(pairs.len());
        while let (Some(first), Some(second)) = (encodings.next(), encodings.next()) {
            pairs.push(self.finish(first, Some(second), truncation, true)?);
        }
        Ok(pairs)
    }

    /// How [`Tokenizer::encode`] cuts a text.
    pub fn truncation(&self) -> Truncation {
        Truncation { strategy: Strategy::LongestFirst, stride: 0, max_length: self.max_length }
    }

    fn encode_texts(&self, texts: &[&str], truncation: Truncation, add_special: bool) -> Result<Vec<Encoding>> {
        let encodings = self.encode_raw(texts.to_vec())?;
        encodings.into_iter().map(|encoding| self.finish(encoding, None, truncation, add_special)).collect()
    }

    /// The tokens of each text and nothing else.
    fn encode_raw(&self, texts: Vec<&str>) -> Result<Vec<Encoding>> {
        guarded(|| self.inner.encode_batch_char_offsets(texts, false).map_err(failed))
    }

    fn finish(
        &self,
        mut first: Encoding,
        mut second: Option<Encoding>,
        truncation: Truncation,
        add_special: bool,
    ) -> Result<Encoding> {
        if let Some(second) = &mut second {
            second.set_type_ids(vec![1; second.len()]);
        }
        let specials = if add_special { self.added_tokens(second.is_some()) } else { 0 };
        let direction = match self.truncation_side {
            Side::Left => TruncationDirection::Left,
            Side::Right => TruncationDirection::Right,
        };
        truncation.apply(&mut first, second.as_mut(), specials, direction)?;
        guarded(|| self.processor.process(first, second, add_special).map_err(failed))
    }

    /// How many special tokens stand around a text, or a pair of texts.
    fn added_tokens(&self, is_pair: bool) -> usize {
        self.processor.added_tokens(is_pair)
    }

    /// `input_ids`, `attention_mask` and `token_type_ids`, `[texts, tokens]` each, padded to the longest on
    /// [`Tokenizer::padding_side`].
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when lengths differ and there is no padding token, and for a text without any token (an
    /// empty one, where no special tokens are added).
    pub fn batch(&self, mut encodings: Vec<Encoding>) -> Result<Inputs> {
        if let Some(index) = encodings.iter().position(Encoding::is_empty) {
            return Err(Error::Tokenizer(format!("text {} has no tokens", index + 1)));
        }
        let unequal = encodings.windows(2).any(|pair| pair[0].len() != pair[1].len());
        match &self.special.pad {
            Some(pad) => {
                let padding = PaddingParams {
                    pad_id: pad.id,
                    pad_token: pad.content.clone(),
                    direction: match self.padding_side {
                        Side::Left => PaddingDirection::Left,
                        Side::Right => PaddingDirection::Right,
                    },
                    ..Default::default()
                };
                pad_encodings(&mut encodings, &padding).map_err(failed)?;
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

    /// The text of `ids`, with the spaces before punctuation removed where `tokenizer_config.json` asks for it.
    ///
    /// # Errors
    /// [`Error::Input`] for an id that no vocabulary has, [`Error::Tokenizer`].
    pub fn decode(&self, ids: &[i64], skip_special_tokens: bool) -> Result<String> {
        let id =
            |id: &i64| u32::try_from(*id).map_err(|_| Error::input("ids", format!("{id} is not the id of a token")));
        let ids = ids.iter().map(id).collect::<Result<Vec<_>>>()?;
        // Some decoders cannot do without a token.
        let is_left_out = |id: &u32| match self.inner.id_to_token(*id) {
            Some(token) => skip_special_tokens && self.inner.get_added_vocabulary().is_special_token(&token),
            None => true,
        };
        if ids.iter().all(is_left_out) {
            return Ok(String::new());
        }
        let mut text = guarded(|| self.inner.decode(&ids, skip_special_tokens).map_err(failed))?;
        if let Some(suffix) = self.suffix {
            text = text.replace(suffix, " ").trim().to_owned();
        }
        Ok(if self.clean_up { clean_up(text) } else { text })
    }
}

/// Runs code of `tokenizers`, which panics on some damaged files, and turns that into an error.
fn guarded<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    catch(run).map_err(|error| match error {
        Error::Libtorch(message) => Error::Tokenizer(message),
        error => error,
    })
}

fn failed(error: tokenizers::Error) -> Error {
    Error::Tokenizer(error.to_string())
}

/// Spaces that tokens bring between words, but that English does not write.
fn clean_up(text: String) -> String {
    let joined = [" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're"];
    joined.iter().fold(text, |text, spaced| text.replace(spaced, spaced.trim()))
}
