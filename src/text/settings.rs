use std::path::Path;

use serde::Deserialize;
use tokenizers::TruncationDirection;
use tokenizers::normalizers::NormalizerWrapper;

use super::tokenizer::Side;
use super::{SpecialToken, SpecialTokens};
use crate::Result;
use crate::json::read_optional;

/// What `tokenizer_config.json` says that changes ids or text.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Settings {
    /// Absurdly large where there is no limit, hence a float.
    model_max_length: Option<f64>,
    pub padding_side: Option<Side>,
    truncation_side: Option<Side>,
    pub clean_up_tokenization_spaces: Option<bool>,
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    #[serde(flatten)]
    special: Named,
    additional_special_tokens: Option<Vec<Token>>,
}

/// The tokens with a role.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Named {
    bos_token: Option<Token>,
    eos_token: Option<Token>,
    unk_token: Option<Token>,
    sep_token: Option<Token>,
    pad_token: Option<Token>,
    cls_token: Option<Token>,
    mask_token: Option<Token>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Token {
    Plain(String),
    Added { content: String },
}

impl Token {
    fn content(&self) -> &str {
        match self {
            Self::Plain(content) | Self::Added { content } => content,
        }
    }
}

impl Settings {
    pub fn read(directory: &Path) -> Result<Self> {
        Ok(read_optional(&directory.join("tokenizer_config.json"))?.unwrap_or_default())
    }

    /// The most tokens of a text; `usize::MAX` where there is no limit.
    pub fn max_length(&self) -> usize {
        self.model_max_length.filter(|length| *length < 1e9).map_or(usize::MAX, |length| length as usize)
    }

    pub fn truncation_direction(&self) -> TruncationDirection {
        match self.truncation_side {
            Some(Side::Left) => TruncationDirection::Left,
            _ => TruncationDirection::Right,
        }
    }

    /// The tokenizers of BERT's family build their normaliser from these settings, whatever `tokenizer.json` says.
    pub fn normalize(&self, tokenizer: &mut tokenizers::Tokenizer) -> tokenizers::Result<()> {
        if let Some(NormalizerWrapper::BertNormalizer(normalizer)) = tokenizer.get_normalizer() {
            let mut normalizer = *normalizer;
            normalizer.lowercase = self.do_lower_case.unwrap_or(normalizer.lowercase);
            normalizer.strip_accents = self.strip_accents.or(normalizer.strip_accents);
            normalizer.handle_chinese_chars = self.tokenize_chinese_chars.unwrap_or(normalizer.handle_chinese_chars);
            tokenizer.with_normalizer(Some(normalizer))?;
        }
        Ok(())
    }

    pub fn special_tokens(&self, tokenizer: &tokenizers::Tokenizer) -> SpecialTokens {
        let find = |token: &Token| {
            let content = token.content().to_owned();
            tokenizer.token_to_id(&content).map(|id| SpecialToken { content, id })
        };
        let named = |token: &Option<Token>| token.as_ref().and_then(find);
        SpecialTokens {
            bos: named(&self.special.bos_token),
            eos: named(&self.special.eos_token),
            unk: named(&self.special.unk_token),
            sep: named(&self.special.sep_token),
            pad: named(&self.special.pad_token),
            cls: named(&self.special.cls_token),
            mask: named(&self.special.mask_token),
            additional: self.additional_special_tokens.iter().flatten().filter_map(find).collect(),
        }
    }
}
