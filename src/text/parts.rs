//! Normaliser, pre-tokeniser and decoder of a recipe.

use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::bpe::BPEDecoder;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as DecoderSequence;
use tokenizers::decoders::strip::Strip as DecoderStrip;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{
    BertNormalizer, Lowercase, NFC, NFKD, NormalizerWrapper, Precompiled, Replace, Sequence, Strip, StripAccents,
};
use tokenizers::pre_tokenizers::PreTokenizerWrapper;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::digits::Digits;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizerSequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{Result, SplitDelimiterBehavior};

use super::recipe::{Decode, Normalize, PreTokenize, Prefix};
use super::settings::Options;

/// The steps of a normaliser; `None` where nothing is to do.
pub(super) fn normalizer(
    steps: &[Normalize],
    options: &Options,
    charsmap: Option<&Precompiled>,
) -> Result<Option<NormalizerWrapper>> {
    let mut made = Vec::new();
    extend(&mut made, steps, options, charsmap)?;
    Ok(match made.len() {
        0 => None,
        1 => made.pop(),
        _ => Some(Sequence::new(made).into()),
    })
}

fn extend(
    made: &mut Vec<NormalizerWrapper>,
    steps: &[Normalize],
    options: &Options,
    charsmap: Option<&Precompiled>,
) -> Result<()> {
    for step in steps {
        match step {
            Normalize::Bert { lowercase } => made.push(
                BertNormalizer::new(
                    options.clean_text.unwrap_or(true),
                    options.tokenize_chinese_chars.unwrap_or(true),
                    options.strip_accents,
                    options.do_lower_case.unwrap_or(*lowercase),
                )
                .into(),
            ),
            Normalize::PlainBert { lowercase, strip_accents } => {
                made.push(BertNormalizer::new(true, true, *strip_accents, *lowercase).into());
            }
            Normalize::Nfc => made.push(NFC.into()),
            Normalize::StripAccents { keep } if options.keep_accents.unwrap_or(*keep) => {}
            Normalize::StripAccents { .. } | Normalize::StripAccentsAlways => {
                made.extend([NFKD.into(), StripAccents.into()]);
            }
            Normalize::Lowercase(default) if !options.do_lower_case.unwrap_or(*default) => {}
            Normalize::Lowercase(_) | Normalize::LowercaseAlways => made.push(Lowercase.into()),
            Normalize::Text(text, with) => made.push(Replace::new(*text, *with)?.into()),
            Normalize::Pattern(pattern, with) => {
                made.push(Replace::new(ReplacePattern::Regex((*pattern).to_owned()), *with)?.into());
            }
            Normalize::Charsmap => made.extend(charsmap.cloned().map(Into::into)),
            Normalize::WithCharsmap(steps) if charsmap.is_some() => extend(made, steps, options, charsmap)?,
            Normalize::WithoutCharsmap(steps) if charsmap.is_none() => extend(made, steps, options, charsmap)?,
            Normalize::WithCharsmap(_) | Normalize::WithoutCharsmap(_) => {}
            Normalize::StripRight => made.push(Strip::new(false, true).into()),
        }
    }
    Ok(())
}

/// The steps of a pre-tokeniser.
pub(super) fn pre_tokenizer(steps: &[PreTokenize], options: &Options) -> Result<Option<PreTokenizerWrapper>> {
    let mut made: Vec<PreTokenizerWrapper> = Vec::new();
    for step in steps {
        made.push(match step {
            PreTokenize::Bert => BertPreTokenizer.into(),
            PreTokenize::Bytes { words, prefix } => {
                ByteLevel::new(options.add_prefix_space.unwrap_or(*prefix), true, *words).into()
            }
            PreTokenize::PlainBytes => ByteLevel::new(false, true, true).into(),
            PreTokenize::Whitespace => WhitespaceSplit.into(),
            PreTokenize::Metaspace(prefix) => prefix.metaspace(options).into(),
            PreTokenize::Matches(pattern) => {
                Split::new(SplitPattern::Regex((*pattern).to_owned()), SplitDelimiterBehavior::Removed, true)?.into()
            }
            PreTokenize::Isolated(pattern) => {
                Split::new(SplitPattern::Regex((*pattern).to_owned()), SplitDelimiterBehavior::Isolated, false)?.into()
            }
            PreTokenize::Spaces => Split::new(" ", SplitDelimiterBehavior::MergedWithPrevious, false)?.into(),
            PreTokenize::Digits => Digits::new(true).into(),
            PreTokenize::Punctuation if !options.split_by_punct.unwrap_or(false) => continue,
            PreTokenize::Punctuation => Punctuation::new(SplitDelimiterBehavior::Isolated).into(),
        });
    }
    Ok(match made.len() {
        0 => None,
        1 => made.pop(),
        _ => Some(PreTokenizerSequence::new(made).into()),
    })
}

/// A decoder.
pub(super) fn decoder(decode: &Decode, options: &Options) -> Result<DecoderWrapper> {
    Ok(match decode {
        Decode::WordPiece => WordPieceDecoder::new("##".into(), true).into(),
        Decode::Bytes | Decode::BytesAndSuffix(_) => ByteLevel::default().into(),
        Decode::Suffix(suffix) => BPEDecoder::new((*suffix).to_owned()).into(),
        Decode::Metaspace(prefix) => prefix.metaspace(options).into(),
        Decode::Pieces { strip } => {
            let mut steps: Vec<DecoderWrapper> =
                vec![Replace::new("▁", " ")?.into(), ByteFallback::new().into(), Fuse::new().into()];
            if *strip && options.add_prefix_space.unwrap_or(true) {
                steps.push(DecoderStrip::new(' ', 1, 0).into());
            }
            DecoderSequence::new(steps).into()
        }
    })
}

impl Prefix {
    fn metaspace(self, options: &Options) -> Metaspace {
        let prefix = options.add_prefix_space.unwrap_or(true);
        let scheme = match self {
            Self::Always => PrependScheme::Always,
            Self::Llama if prefix && !options.legacy.unwrap_or(false) => PrependScheme::First,
            _ if prefix => PrependScheme::Always,
            Self::OrFirst => PrependScheme::First,
            Self::OrNever | Self::Llama => PrependScheme::Never,
        };
        Metaspace::new('▁', scheme, !matches!(self, Self::Llama))
    }
}
