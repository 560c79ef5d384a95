//! Recipes of tokenizers with `vocab.txt`, or `vocab.json` and `merges.txt`.

use super::recipe::Found::{self, Verbatim, WithSpaces};
use super::recipe::{BYTES, Bpe, Decode, Extra, Files, Model, Normalize, PreTokenize, Process, Recipe, Template};
use super::tokenizer::Side;

/// BERT's, which others start from.
const BERT: Recipe = Recipe {
    classes: &[
        "BertTokenizer",
        "ConvBertTokenizer",
        "DistilBertTokenizer",
        "DPRContextEncoderTokenizer",
        "DPRQuestionEncoderTokenizer",
        "DPRReaderTokenizer",
        "ElectraTokenizer",
        "LayoutLMTokenizer",
        "LxmertTokenizer",
        "MobileBertTokenizer",
        "SqueezeBertTokenizer",
    ],
    model: Model::WordPiece,
    files: Files::Lines,
    roles: &[
        ("unk_token", "[UNK]", Verbatim),
        ("sep_token", "[SEP]", Verbatim),
        ("pad_token", "[PAD]", Verbatim),
        ("cls_token", "[CLS]", Verbatim),
        ("mask_token", "[MASK]", Verbatim),
    ],
    normalizer: &[Normalize::Bert { lowercase: true }],
    pre_tokenizer: &[PreTokenize::Bert],
    decoder: Decode::WordPiece,
    processor: Process::Template(CLS_SEP),
    extra: Extra::Given,
    padding_side: Side::Right,
};

/// Around texts as BERT has it.
pub(super) const CLS_SEP: Template<'static> =
    Template { single: "cls:0 $A:0 sep:0", pair: "cls:0 $A:0 sep:0 $B:1 sep:1" };

/// Byte-level encoding as GPT-2 has it, which others start from.
const GPT2: Recipe = Recipe {
    classes: &["GPT2Tokenizer"],
    model: BYTES,
    files: Files::Merges,
    roles: &[
        ("unk_token", "<|endoftext|>", Verbatim),
        ("bos_token", "<|endoftext|>", Verbatim),
        ("eos_token", "<|endoftext|>", Verbatim),
    ],
    normalizer: &[],
    pre_tokenizer: &[PreTokenize::Bytes { words: true, prefix: false }],
    decoder: Decode::Bytes,
    processor: Process::Stored,
    extra: Extra::Given,
    padding_side: Side::Right,
};

/// The roles of RoBERTa and those after it, and how the mask is found.
pub(super) const fn pair_roles(mask: Found) -> [(&'static str, &'static str, Found); 7] {
    [
        ("bos_token", "<s>", Verbatim),
        ("eos_token", "</s>", Verbatim),
        ("sep_token", "</s>", Verbatim),
        ("cls_token", "<s>", Verbatim),
        ("unk_token", "<unk>", Verbatim),
        ("pad_token", "<pad>", Verbatim),
        ("mask_token", "<mask>", mask),
    ]
}

/// The roles of DeBERTa, whose texts begin and end with those of BERT.
pub(super) const CLS_ROLES: &[(&str, &str, Found)] = &[
    ("bos_token", "[CLS]", Verbatim),
    ("eos_token", "[SEP]", Verbatim),
    ("unk_token", "[UNK]", Verbatim),
    ("sep_token", "[SEP]", Verbatim),
    ("cls_token", "[CLS]", Verbatim),
    ("pad_token", "[PAD]", Verbatim),
    ("mask_token", "[MASK]", Verbatim),
];

/// Byte-pair encoding whose words end with a mark, as GPT has it.
const MARKED: Model = Model::Bpe(Bpe { unknown: true, suffix: "</w>", fuse_unknown: false, byte_fallback: false });

/// As Qwen2 splits texts: contractions, words, digits one by one, punctuation, spaces.
const QWEN2_WORDS: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The same with combining marks as parts of words.
const QWEN3_5_WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

const CLIP_WORDS: &str = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

const QWEN2: Recipe = Recipe {
    classes: &["Qwen2Tokenizer"],
    roles: &[
        ("unk_token", "<|endoftext|>", Verbatim),
        ("eos_token", "<|endoftext|>", Verbatim),
        ("pad_token", "<|endoftext|>", Verbatim),
    ],
    normalizer: &[Normalize::Nfc],
    pre_tokenizer: &[PreTokenize::Isolated(QWEN2_WORDS), PreTokenize::Bytes { words: false, prefix: false }],
    extra: Extra::Qwen,
    ..GPT2
};

/// All of them. What a class has in common with another is written once.
pub(super) const WORD_RECIPES: &[Recipe] = &[
    BERT,
    Recipe {
        classes: &["MPNetTokenizer"],
        roles: &[
            ("bos_token", "<s>", Verbatim),
            ("eos_token", "</s>", Verbatim),
            ("sep_token", "</s>", Verbatim),
            ("cls_token", "<s>", Verbatim),
            ("unk_token", "[UNK]", Verbatim),
            ("pad_token", "<pad>", Verbatim),
            ("mask_token", "<mask>", WithSpaces),
        ],
        processor: Process::Roberta { trim: Some(true), prefix: Some(false) },
        ..BERT
    },
    Recipe {
        classes: &["FunnelTokenizer"],
        roles: &[
            ("unk_token", "<unk>", Verbatim),
            ("sep_token", "<sep>", Verbatim),
            ("pad_token", "<pad>", Verbatim),
            ("cls_token", "<cls>", Verbatim),
            ("mask_token", "<mask>", Verbatim),
            ("bos_token", "<s>", Verbatim),
            ("eos_token", "</s>", Verbatim),
        ],
        processor: Process::Template(Template { single: "cls:2 $A:0 sep:0", pair: "cls:2 $A:0 sep:0 $B:1 sep:1" }),
        ..BERT
    },
    GPT2,
    Recipe { classes: &["CodeGenTokenizer"], processor: Process::Untrimmed, ..GPT2 },
    Recipe { classes: &["WhisperTokenizer"], processor: Process::Whisper, ..GPT2 },
    Recipe {
        classes: &["RobertaTokenizer", "BartTokenizer", "LEDTokenizer", "LongformerTokenizer", "MvpTokenizer"],
        roles: &pair_roles(Verbatim),
        processor: Process::Roberta { trim: None, prefix: None },
        ..GPT2
    },
    Recipe {
        classes: &["BlenderbotTokenizer"],
        roles: &pair_roles(WithSpaces),
        pre_tokenizer: &[PreTokenize::Bytes { words: true, prefix: true }],
        ..GPT2
    },
    Recipe {
        classes: &["DebertaTokenizer"],
        roles: CLS_ROLES,
        processor: Process::Template(Template { single: "cls $A sep", pair: "cls $A sep sep $B sep" }),
        ..GPT2
    },
    Recipe {
        classes: &["GPTNeoXTokenizer"],
        roles: &[
            ("unk_token", "<|endoftext|>", Verbatim),
            ("bos_token", "<|endoftext|>", Verbatim),
            ("eos_token", "<|endoftext|>", Verbatim),
            ("pad_token", "<|padding|>", Verbatim),
        ],
        normalizer: &[Normalize::Nfc],
        processor: Process::Flags,
        ..GPT2
    },
    QWEN2,
    Recipe {
        classes: &["Qwen3_5Tokenizer"],
        pre_tokenizer: &[PreTokenize::Isolated(QWEN3_5_WORDS), PreTokenize::Bytes { words: false, prefix: false }],
        files: Files::None,
        extra: Extra::Given,
        ..QWEN2
    },
    Recipe {
        classes: &["CohereTokenizer"],
        roles: &[
            ("unk_token", "<UNK>", Verbatim),
            ("bos_token", "<BOS_TOKEN>", Verbatim),
            ("eos_token", "<|END_OF_TURN_TOKEN|>", Verbatim),
            ("pad_token", "<PAD>", Verbatim),
            ("cls_token", "<CLS>", Verbatim),
            ("sep_token", "<SEP>", Verbatim),
            ("mask_token", "<MASK_TOKEN>", Verbatim),
        ],
        normalizer: &[Normalize::Nfc],
        pre_tokenizer: &[PreTokenize::Digits, PreTokenize::Bytes { words: true, prefix: false }],
        padding_side: Side::Left,
        ..GPT2
    },
    Recipe {
        classes: &["CLIPTokenizer"],
        model: MARKED,
        roles: &[
            ("unk_token", "<|endoftext|>", Verbatim),
            ("bos_token", "<|startoftext|>", Verbatim),
            ("eos_token", "<|endoftext|>", Verbatim),
            ("pad_token", "<|endoftext|>", Verbatim),
        ],
        normalizer: &[Normalize::Nfc, Normalize::Pattern(r"\s+", " "), Normalize::LowercaseAlways],
        pre_tokenizer: &[PreTokenize::Matches(CLIP_WORDS), PreTokenize::PlainBytes],
        decoder: Decode::BytesAndSuffix("</w>"),
        processor: Process::Clip,
        ..GPT2
    },
    Recipe {
        classes: &["OpenAIGPTTokenizer"],
        model: MARKED,
        roles: &[("unk_token", "<unk>", Verbatim)],
        normalizer: &[Normalize::PlainBert { lowercase: true, strip_accents: None }],
        pre_tokenizer: &[PreTokenize::Bert],
        decoder: Decode::Suffix("</w>"),
        ..GPT2
    },
    Recipe {
        classes: &["HerbertTokenizer"],
        model: MARKED,
        roles: &[
            ("cls_token", "<s>", Verbatim),
            ("unk_token", "<unk>", Verbatim),
            ("pad_token", "<pad>", Verbatim),
            ("mask_token", "<mask>", Verbatim),
            ("sep_token", "</s>", Verbatim),
        ],
        normalizer: &[Normalize::PlainBert { lowercase: false, strip_accents: Some(false) }],
        pre_tokenizer: &[PreTokenize::Bert],
        decoder: Decode::Suffix("</w>"),
        processor: Process::Bert { cls: 0, sep: 2 },
        ..GPT2
    },
];
