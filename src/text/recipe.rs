//! What a class of `transformers` makes a tokenizer of, as data.

use super::tokenizer::Side;

/// How one class, or several alike, make their tokenizer from a vocabulary.
pub(super) struct Recipe {
    /// The names of the classes.
    pub classes: &'static [&'static str],
    pub model: Model,
    /// Where the vocabulary is when there is no `tokenizer.json`.
    pub files: Files,
    /// The tokens with a role, where `tokenizer_config.json` says nothing: field, content, how it is found in a text.
    pub roles: &'static [(&'static str, &'static str, Found)],
    pub normalizer: &'static [Normalize],
    pub pre_tokenizer: &'static [PreTokenize],
    pub decoder: Decode,
    pub processor: Process,
    /// Special tokens without a role.
    pub extra: Extra,
    pub padding_side: Side,
}

/// The algorithm that makes tokens of a word.
pub(super) enum Model {
    /// With `##` before pieces within a word.
    WordPiece,
    Bpe(Bpe),
    /// With the id of the unknown token.
    Unigram(Unknown),
}

/// The switches of byte-pair encoding.
pub(super) struct Bpe {
    /// Whether the unknown token stands for what the vocabulary lacks; it is left out otherwise.
    pub unknown: bool,
    /// Ends the last piece of a word.
    pub suffix: &'static str,
    pub fuse_unknown: bool,
    pub byte_fallback: bool,
}

/// Byte-pair encoding on bytes.
pub(super) const BYTES: Model =
    Model::Bpe(Bpe { unknown: false, suffix: "", fuse_unknown: false, byte_fallback: false });

/// Where the unknown token of a unigram model is.
pub(super) enum Unknown {
    At(usize),
    /// Where the vocabulary has it, else here.
    Named(usize),
    /// The first from `at_least` on that has a score of 0, else here; an error where there is neither.
    Scoreless {
        at_least: usize,
        otherwise: Option<usize>,
    },
    /// Where the vocabulary has it with a score of 0, else where the file says, else the second.
    ScorelessOrStored,
    /// Where the file says, else the first.
    Stored,
}

/// The files of a vocabulary.
pub(super) enum Files {
    /// `vocab.txt`.
    Lines,
    /// `vocab.json` and `merges.txt`.
    Merges,
    /// Nowhere else.
    None,
    /// SentencePiece: the file's name, where there is no `tokenizer.model`, and what its pieces become.
    Pieces(&'static str, Pieces),
}

/// Tokens before and after the pieces of a SentencePiece model.
pub(super) struct Pieces {
    pub before: &'static [Piece],
    /// Pieces of the model that are left out.
    pub skipped: usize,
    pub after: &'static [Piece],
}

/// The pieces as they are.
pub(super) const AS_STORED: Pieces = Pieces { before: &[], skipped: 0, after: &[] };

/// A token, or several, that a SentencePiece model does not have.
pub(super) enum Piece {
    /// What the field of `tokenizer_config.json` says, else this.
    Token(&'static str, &'static str),
    /// This one with its score.
    Fixed(&'static str, f64),
    /// All of them.
    Languages(&'static [&'static str]),
    /// `<extra_id_99>` down to `<extra_id_0>`.
    ExtraIds,
    /// `<unk_2>` up to `<unk_102>`.
    Unknowns,
}

/// How a token that is given by its content alone is found in a text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// As it is written.
    Verbatim,
    /// With the spaces before it.
    WithSpaces,
    /// In the normalised text, with the spaces before it.
    NormalizedWithSpaces,
}

/// A step of the normaliser.
pub(super) enum Normalize {
    /// BERT's, lowercasing or not where no setting says so.
    Bert {
        lowercase: bool,
    },
    /// BERT's, whatever the settings.
    PlainBert {
        lowercase: bool,
        strip_accents: Option<bool>,
    },
    Nfc,
    /// Decomposed and without accents, unless `keep_accents`, which is this by default.
    StripAccents {
        keep: bool,
    },
    StripAccentsAlways,
    /// Where `do_lower_case`, which is this by default.
    Lowercase(bool),
    LowercaseAlways,
    Text(&'static str, &'static str),
    Pattern(&'static str, &'static str),
    /// The character map of a SentencePiece model, where it has one.
    Charsmap,
    /// These where there is a character map.
    WithCharsmap(&'static [Normalize]),
    /// These where there is none.
    WithoutCharsmap(&'static [Normalize]),
    StripRight,
}

/// A step of the pre-tokeniser.
pub(super) enum PreTokenize {
    Bert,
    /// Bytes as characters, of words or of what comes before; a space before the text where `add_prefix_space`.
    Bytes {
        words: bool,
        prefix: bool,
    },
    /// Bytes as characters, of words.
    PlainBytes,
    Whitespace,
    Metaspace(Prefix),
    /// The matches of the pattern, and nothing else.
    Matches(&'static str),
    /// At the matches of the pattern.
    Isolated(&'static str),
    /// After each space.
    Spaces,
    Digits,
    /// Punctuation where `split_by_punct`.
    Punctuation,
}

/// Where `▁` stands for the space before a text.
#[derive(Clone, Copy)]
pub(super) enum Prefix {
    Always,
    /// Nowhere unless `add_prefix_space`, which is the default.
    OrNever,
    /// Once, unless `add_prefix_space`, which is the default.
    OrFirst,
    /// Llama's: once, everywhere with `legacy`, nowhere without `add_prefix_space`; words are not split.
    Llama,
}

/// From tokens to text.
pub(super) enum Decode {
    WordPiece,
    Bytes,
    /// CLIP's: bytes, and then ends of words to spaces.
    BytesAndSuffix(&'static str),
    Suffix(&'static str),
    Metaspace(Prefix),
    /// `▁` to spaces and fallback bytes to text; without the first space where `strip`.
    Pieces {
        strip: bool,
    },
}

/// The special tokens around texts. Templates name roles by their field without `_token`.
pub(super) enum Process {
    /// As `tokenizer.json` says, or as `add_bos_token` and `add_eos_token` do.
    Stored,
    /// As `add_bos_token` and `add_eos_token` say, whatever `tokenizer.json` says.
    Flags,
    /// This template where `tokenizer.json` has none.
    Default(Template<'static>),
    Template(Template<'static>),
    /// This template where `tokenizer.json` has any, else as `add_bos_token` and `add_eos_token` say.
    Refined(Template<'static>),
    /// `cls A sep sep B sep`, all of type 0. Offsets leave spaces out where `trim_offsets`, which is `None` by default.
    Roberta {
        trim: Option<bool>,
        prefix: Option<bool>,
    },
    /// `bos A eos eos B eos`, all of type 0, with offsets that include spaces.
    Clip,
    /// `cls A sep B sep` with these ids.
    Bert {
        cls: u32,
        sep: u32,
    },
    /// Offsets include spaces, unless `tokenizer.json` says otherwise.
    Untrimmed,
    /// The code of the source language before the text, or after the end token.
    Language {
        codes_first: bool,
        default: &'static str,
    },
    /// Whisper's start, language, task and timestamps.
    Whisper,
}

/// Templates of a text and of a pair.
pub(super) struct Template<'a> {
    pub single: &'a str,
    pub pair: &'a str,
}

/// The special tokens of a class that have no role.
pub(super) enum Extra {
    /// Those that the directory names.
    Given,
    /// These where the directory names none.
    Default(&'static [&'static str]),
    /// These and those that the directory names, before or after them.
    With { tokens: &'static [&'static str], first: bool },
    /// T5's `<extra_id_0>` to `<extra_id_99>`.
    Sentinels,
    /// Pegasus's `<mask_1>` and `<unk_2>` to `<unk_102>`.
    Unknowns,
    /// Those that the directory names, and all with a role once more, as they are written.
    Qwen,
}
