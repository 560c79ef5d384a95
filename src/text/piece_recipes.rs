//! Recipes of tokenizers with a SentencePiece model.

use super::languages::{MBART, MBART_50, NLLB};
use super::recipe::Found::{NormalizedWithSpaces, Verbatim, WithSpaces};
use super::recipe::{
    AS_STORED, Bpe, Decode, Extra, Files, Model, Normalize, Piece, Pieces, PreTokenize, Prefix, Process, Recipe,
    Template, Unknown,
};
use super::tokenizer::Side;
use super::word_recipes::{CLS_ROLES, CLS_SEP, pair_roles};

/// XLM-RoBERTa's, which other users of SentencePiece start from.
const XLM_ROBERTA: Recipe = Recipe {
    classes: &["XLMRobertaTokenizer"],
    model: Model::Unigram(Unknown::At(3)),
    files: Files::Pieces("sentencepiece.bpe.model", FAIRSEQ_MASK),
    roles: &pair_roles(Verbatim),
    normalizer: &[Normalize::Charsmap],
    pre_tokenizer: &[PreTokenize::Whitespace, PreTokenize::Metaspace(Prefix::OrNever)],
    decoder: Decode::Metaspace(Prefix::OrNever),
    processor: Process::Template(BOS_EOS_TWICE),
    extra: Extra::Given,
    padding_side: Side::Right,
};

const BOS_EOS_TWICE: Template<'static> = Template { single: "bos $A eos", pair: "bos $A eos eos $B eos" };

/// fairseq has its own first four ids where SentencePiece has three.
const FAIRSEQ: &[Piece] = &[
    Piece::Token("bos_token", "<s>"),
    Piece::Token("pad_token", "<pad>"),
    Piece::Token("eos_token", "</s>"),
    Piece::Token("unk_token", "<unk>"),
];

const FAIRSEQ_MASK: Pieces = Pieces { before: FAIRSEQ, skipped: 3, after: &[Piece::Token("mask_token", "<mask>")] };

/// Byte-pair encoding of SentencePiece with bytes for what the vocabulary lacks.
const PIECES: Model = Model::Bpe(Bpe { unknown: false, suffix: "", fuse_unknown: true, byte_fallback: true });

const ONE_SPACE: Normalize = Normalize::Pattern(" {2,}", " ");

const GEMMA: Recipe = Recipe {
    classes: &["GemmaTokenizer"],
    model: Model::Bpe(Bpe { unknown: true, suffix: "", fuse_unknown: true, byte_fallback: true }),
    files: Files::Pieces("tokenizer.model", AS_STORED),
    roles: &[
        ("unk_token", "<unk>", Verbatim),
        ("bos_token", "<bos>", Verbatim),
        ("eos_token", "<eos>", Verbatim),
        ("pad_token", "<pad>", Verbatim),
        ("mask_token", "<mask>", Verbatim),
    ],
    normalizer: &[Normalize::Text(" ", "▁")],
    pre_tokenizer: &[PreTokenize::Spaces],
    decoder: Decode::Pieces { strip: false },
    processor: Process::Stored,
    extra: Extra::Given,
    padding_side: Side::Left,
};

const ALBERT: Recipe = Recipe {
    classes: &["AlbertTokenizer"],
    model: Model::Unigram(Unknown::At(1)),
    files: Files::Pieces("spiece.model", AS_STORED),
    roles: &[
        ("bos_token", "[CLS]", Verbatim),
        ("eos_token", "[SEP]", Verbatim),
        ("unk_token", "<unk>", Verbatim),
        ("sep_token", "[SEP]", Verbatim),
        ("pad_token", "<pad>", Verbatim),
        ("cls_token", "[CLS]", Verbatim),
        ("mask_token", "[MASK]", Verbatim),
    ],
    normalizer: &[
        Normalize::Text("``", "\""),
        Normalize::Text("''", "\""),
        Normalize::StripAccents { keep: false },
        Normalize::Lowercase(true),
        Normalize::Charsmap,
    ],
    processor: Process::Default(CLS_SEP),
    ..XLM_ROBERTA
};

/// All of them. What a class has in common with another is written once.
pub(super) const PIECE_RECIPES: &[Recipe] = &[
    Recipe {
        classes: &["LlamaTokenizer", "Phi3Tokenizer"],
        model: PIECES,
        roles: &[("unk_token", "<unk>", Verbatim), ("bos_token", "<s>", Verbatim), ("eos_token", "</s>", Verbatim)],
        normalizer: &[],
        pre_tokenizer: &[PreTokenize::Metaspace(Prefix::Llama)],
        decoder: Decode::Pieces { strip: true },
        ..GEMMA
    },
    GEMMA,
    Recipe {
        classes: &["Siglip2Tokenizer"],
        normalizer: &[Normalize::LowercaseAlways, Normalize::Text(" ", "▁")],
        ..GEMMA
    },
    XLM_ROBERTA,
    Recipe {
        classes: &["CamembertTokenizer"],
        model: Model::Unigram(Unknown::Named(0)),
        files: Files::Pieces(
            "sentencepiece.bpe.model",
            Pieces {
                before: &[
                    Piece::Fixed("<s>NOTUSED", 0.0),
                    Piece::Token("pad_token", "<pad>"),
                    Piece::Fixed("</s>NOTUSED", 0.0),
                    Piece::Token("unk_token", "<unk>"),
                    Piece::Fixed("<unk>NOTUSED", -100.0),
                ],
                skipped: 1,
                after: &[Piece::Token("mask_token", "<mask>")],
            },
        ),
        roles: &pair_roles(WithSpaces),
        extra: Extra::Default(&["<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"]),
        ..XLM_ROBERTA
    },
    Recipe {
        classes: &["BarthezTokenizer"],
        files: Files::Pieces("sentencepiece.bpe.model", AS_STORED),
        roles: &pair_roles(WithSpaces),
        normalizer: &[Normalize::Pattern(r"\s{2,}|[\n\r\t]", " "), Normalize::Nfc, Normalize::StripRight],
        pre_tokenizer: &[PreTokenize::Metaspace(Prefix::OrNever)],
        processor: Process::Stored,
        ..XLM_ROBERTA
    },
    Recipe {
        classes: &["XGLMTokenizer"],
        files: Files::None,
        roles: &[
            ("bos_token", "<s>", Verbatim),
            ("eos_token", "</s>", Verbatim),
            ("sep_token", "</s>", Verbatim),
            ("cls_token", "<s>", Verbatim),
            ("unk_token", "<unk>", Verbatim),
            ("pad_token", "<pad>", Verbatim),
        ],
        normalizer: &[Normalize::Charsmap, ONE_SPACE],
        pre_tokenizer: &[PreTokenize::Metaspace(Prefix::OrNever)],
        processor: Process::Template(Template { single: "eos $A", pair: "eos $A eos eos $B" }),
        extra: Extra::With {
            tokens: &[
                "<madeupword0>",
                "<madeupword1>",
                "<madeupword2>",
                "<madeupword3>",
                "<madeupword4>",
                "<madeupword5>",
                "<madeupword6>",
            ],
            first: false,
        },
        ..XLM_ROBERTA
    },
    Recipe {
        classes: &["MBartTokenizer"],
        files: Files::Pieces(
            "sentencepiece.bpe.model",
            Pieces {
                before: FAIRSEQ,
                skipped: 3,
                after: &[Piece::Languages(MBART), Piece::Token("mask_token", "<mask>")],
            },
        ),
        roles: &pair_roles(WithSpaces),
        normalizer: &[],
        pre_tokenizer: &[PreTokenize::Whitespace, PreTokenize::Metaspace(Prefix::Always)],
        decoder: Decode::Metaspace(Prefix::Always),
        processor: Process::Language { codes_first: false, default: "en_XX" },
        extra: Extra::With { tokens: MBART, first: true },
        ..XLM_ROBERTA
    },
    Recipe {
        classes: &["MBart50Tokenizer"],
        files: Files::Pieces(
            "sentencepiece.bpe.model",
            Pieces {
                before: &[
                    Piece::Token("cls_token", "<s>"),
                    Piece::Token("pad_token", "<pad>"),
                    Piece::Token("eos_token", "</s>"),
                    Piece::Token("unk_token", "<unk>"),
                ],
                skipped: 3,
                after: &[Piece::Languages(MBART_50), Piece::Token("mask_token", "<mask>")],
            },
        ),
        roles: &[
            ("eos_token", "</s>", Verbatim),
            ("sep_token", "</s>", Verbatim),
            ("cls_token", "<s>", Verbatim),
            ("unk_token", "<unk>", Verbatim),
            ("pad_token", "<pad>", Verbatim),
            ("mask_token", "<mask>", WithSpaces),
        ],
        normalizer: &[Normalize::Charsmap, ONE_SPACE],
        pre_tokenizer: &[PreTokenize::Metaspace(Prefix::Always)],
        decoder: Decode::Metaspace(Prefix::Always),
        processor: Process::Language { codes_first: true, default: "en_XX" },
        extra: Extra::With { tokens: MBART_50, first: false },
        ..XLM_ROBERTA
    },
    Recipe {
        classes: &["NllbTokenizer"],
        model: Model::Bpe(Bpe { unknown: true, suffix: "", fuse_unknown: true, byte_fallback: false }),
        files: Files::Pieces("sentencepiece.bpe.model", Pieces { before: FAIRSEQ, skipped: 0, after: &[] }),
        roles: &pair_roles(NormalizedWithSpaces),
        normalizer: &[Normalize::WithCharsmap(&[Normalize::Charsmap, ONE_SPACE])],
        pre_tokenizer: &[PreTokenize::Metaspace(Prefix::Always)],
        decoder: Decode::Metaspace(Prefix::Always),
        processor: Process::Language { codes_first: true, default: "eng_Latn" },
        extra: Extra::Default(NLLB),
        ..XLM_ROBERTA
    },
    Recipe {
        classes: &["T5Tokenizer"],
        model: Model::Unigram(Unknown::At(2)),
        files: Files::Pieces("spiece.model", Pieces { before: &[], skipped: 0, after: &[Piece::ExtraIds] }),
        roles: &[("eos_token", "</s>", Verbatim), ("unk_token", "<unk>", Verbatim), ("pad_token", "<pad>", Verbatim)],
        pre_tokenizer: &[PreTokenize::Whitespace, PreTokenize::Metaspace(Prefix::Always)],
        decoder: Decode::Metaspace(Prefix::Always),
        processor: Process::Template(Template { single: "$A eos", pair: "$A eos $B eos" }),
        extra: Extra::Sentinels,
        ..XLM_ROBERTA
    },
    Recipe {
        classes: &["PegasusTokenizer"],
        model: Model::Unigram(Unknown::Scoreless { at_least: 1, otherwise: None }),
        files: Files::Pieces(
            "spiece.model",
            Pieces {
                before: &[
                    Piece::Token("pad_token", "<pad>"),
                    Piece::Token("eos_token", "</s>"),
                    // The class has these two the other way round; this is the order of the ids all the same.
                    Piece::Token("mask_token", "<mask_1>"),
                    Piece::Token("mask_token_sent", "<mask_2>"),
                    Piece::Unknowns,
                ],
                skipped: 2,
                after: &[],
            },
        ),
        roles: &[
            ("pad_token", "<pad>", Verbatim),
            ("eos_token", "</s>", Verbatim),
            ("unk_token", "<unk>", Verbatim),
            ("mask_token", "<mask_2>", Verbatim),
        ],
        normalizer: &[Normalize::Charsmap, Normalize::WithoutCharsmap(&[Normalize::Pattern(r"\n", " ")]), ONE_SPACE],
        pre_tokenizer: &[PreTokenize::Metaspace(Prefix::Always)],
        decoder: Decode::Metaspace(Prefix::Always),
        processor: Process::Template(Template { single: "$A eos", pair: "$A $B eos" }),
        extra: Extra::Unknowns,
        ..XLM_ROBERTA
    },
    ALBERT,
    Recipe {
        classes: &["RemBertTokenizer"],
        model: Model::Unigram(Unknown::At(2)),
        files: Files::Pieces("sentencepiece.model", AS_STORED),
        normalizer: &[
            Normalize::Text("``", "\""),
            Normalize::Text("''", "\""),
            ONE_SPACE,
            Normalize::StripAccents { keep: true },
            Normalize::Lowercase(false),
            Normalize::Charsmap,
        ],
        pre_tokenizer: &[PreTokenize::Metaspace(Prefix::OrNever)],
        processor: Process::Refined(CLS_SEP),
        ..ALBERT
    },
    Recipe {
        classes: &["BigBirdTokenizer"],
        model: Model::Unigram(Unknown::Scoreless { at_least: 0, otherwise: Some(100) }),
        roles: &[
            ("bos_token", "<s>", Verbatim),
            ("eos_token", "</s>", Verbatim),
            ("unk_token", "<unk>", Verbatim),
            ("sep_token", "[SEP]", Verbatim),
            ("pad_token", "<pad>", Verbatim),
            ("cls_token", "[CLS]", Verbatim),
            ("mask_token", "[MASK]", WithSpaces),
        ],
        normalizer: &[Normalize::Pattern(" {2,}", "▁")],
        pre_tokenizer: &[PreTokenize::Metaspace(Prefix::OrNever)],
        processor: Process::Template(CLS_SEP),
        ..ALBERT
    },
    Recipe {
        classes: &["DebertaV2Tokenizer"],
        model: Model::Unigram(Unknown::ScorelessOrStored),
        files: Files::Pieces("spm.model", AS_STORED),
        roles: CLS_ROLES,
        normalizer: &[
            Normalize::Lowercase(false),
            Normalize::Pattern(r"\s{2,}|[\n\r\t]", " "),
            Normalize::Nfc,
            Normalize::StripRight,
        ],
        pre_tokenizer: &[PreTokenize::Punctuation, PreTokenize::Metaspace(Prefix::OrFirst)],
        decoder: Decode::Metaspace(Prefix::OrFirst),
        processor: Process::Template(CLS_SEP),
        ..ALBERT
    },
    Recipe {
        classes: &["XLNetTokenizer"],
        model: Model::Unigram(Unknown::Stored),
        roles: &[
            ("bos_token", "<s>", Verbatim),
            ("eos_token", "</s>", Verbatim),
            ("unk_token", "<unk>", Verbatim),
            ("sep_token", "<sep>", Verbatim),
            ("pad_token", "<pad>", Verbatim),
            ("cls_token", "<cls>", Verbatim),
            ("mask_token", "<mask>", WithSpaces),
        ],
        normalizer: &[
            Normalize::Text("``", "\""),
            Normalize::Text("''", "\""),
            Normalize::StripAccentsAlways,
            Normalize::Lowercase(false),
            Normalize::Charsmap,
        ],
        pre_tokenizer: &[PreTokenize::Whitespace, PreTokenize::Metaspace(Prefix::Always)],
        decoder: Decode::Metaspace(Prefix::Always),
        processor: Process::Template(Template { single: "$A:0 sep:0 cls:2", pair: "$A:0 sep:0 $B:1 sep:1 cls:2" }),
        extra: Extra::Default(&["<eop>", "<eod>"]),
        padding_side: Side::Left,
        ..ALBERT
    },
    Recipe {
        classes: &["ReformerTokenizer"],
        model: Model::Bpe(Bpe { unknown: true, suffix: "", fuse_unknown: true, byte_fallback: false }),
        files: Files::Pieces("spiece.model", AS_STORED),
        roles: &[("eos_token", "</s>", Verbatim), ("unk_token", "<unk>", Verbatim)],
        normalizer: &[Normalize::WithCharsmap(&[Normalize::Charsmap, ONE_SPACE])],
        pre_tokenizer: &[PreTokenize::Metaspace(Prefix::Always)],
        decoder: Decode::Metaspace(Prefix::Always),
        processor: Process::Stored,
        ..XLM_ROBERTA
    },
];
