"""Trains the small vocabularies of tests/data/tokenizers, one folder each, with the files that hub checkpoints have."""

from __future__ import annotations

import io
import json
from pathlib import Path

import sentencepiece
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from tokenizers.implementations import BertWordPieceTokenizer

from .texts import PROSE

# What SentencePiece does to characters before it looks for pieces: a few lines of its NFKC, which has 300 KB.
RULES = {
    "\uff21": "A", "\uff42": "b", "\u3000": " ", "\u00a0": " ", "\t": " ", "\n": " ", "\ufb01": "fi", "\u2026": "...",
    "e\u0301": "\u00e9", "\u30ab\u3099": "\u30ac", "\u200b": "", "\u00bd": "1\u20442", "\uff76\uff9e": "\u30ac",
}  # fmt: skip

BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<pad>", "<unk>", "<mask>", "<cls>", "<sep>"]
BYTES = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "<|endoftext|>", "[CLS]", "[SEP]", "[UNK]", "[PAD]", "[MASK]"]


def word_pieces(folder: Path) -> None:
    """BERT's vocab.txt."""
    trained = BertWordPieceTokenizer(lowercase=False, strip_accents=False)
    trained.train_from_iterator(
        (PROSE + "\n" + PROSE.lower()).splitlines(), vocab_size=460, min_frequency=1, special_tokens=BERT, limit_alphabet=250
    )
    vocabulary = trained.get_vocab()
    (folder / "vocab.txt").write_text("".join(f"{token}\n" for token in sorted(vocabulary, key=vocabulary.get)))


def byte_pairs(folder: Path, specials: list[str], suffix: str = "", *, on_bytes: bool = True) -> None:
    """vocab.json and merges.txt; with `suffix` at the ends of words."""
    ends = {"end_of_word_suffix": suffix} if suffix else {}
    trained = Tokenizer(models.BPE(**ends, **({} if on_bytes else {"unk_token": "<unk>"})))
    if suffix:
        trained.normalizer = normalizers.Lowercase()
    alphabet = pre_tokenizers.ByteLevel.alphabet() if on_bytes else []
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False) if on_bytes else pre_tokenizers.BertPreTokenizer()
    if suffix and on_bytes:
        trained.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=len(specials) + (620 if suffix and on_bytes else 480), special_tokens=specials, initial_alphabet=sorted(alphabet),
        show_progress=False, limit_alphabet=260, **ends,
    )  # fmt: skip
    trained.train_from_iterator(PROSE.splitlines(), trainer)
    model = json.loads(trained.to_str())["model"]
    vocabulary = dict(model["vocab"])
    if suffix and on_bytes:
        # Every byte ends a word somewhere; CLIP's vocabulary has them all.
        for char in sorted(alphabet):
            vocabulary.setdefault(char + suffix, len(vocabulary))
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")))
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    (folder / "merges.txt").write_text("#version: 0.2\n" + "".join(f"{merge}\n" for merge in merges))


def pieces(path: Path, size: int, *, rules: bool = True, **settings: object) -> None:
    """A model of SentencePiece."""
    stored = io.BytesIO()
    if rules:
        lines = (" ".join(f"{ord(char):X}" for char in left) + "\t" + " ".join(f"{ord(char):X}" for char in right) for left, right in RULES.items())
        table = path.with_suffix(".tsv")
        table.write_text("".join(f"{line}\n" for line in lines))
        settings["normalization_rule_tsv"] = str(table)
    else:
        settings["normalization_rule_name"] = "identity"
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(PROSE.splitlines()), model_writer=stored, vocab_size=size, character_coverage=0.98,
        hard_vocab_limit=False, num_threads=1, minloglevel=2, **settings,
    )  # fmt: skip
    if rules:
        table.unlink()
    path.write_bytes(stored.getvalue())


def train(out: Path) -> None:
    """All of them."""

    def folder(name: str) -> Path:
        path = out / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    word_pieces(folder("word-pieces"))
    byte_pairs(folder("bytes"), BYTES)
    byte_pairs(folder("bytes-suffix"), ["<|startoftext|>", "<|endoftext|>"], "</w>")
    byte_pairs(folder("suffix"), ["<s>", "<pad>", "</s>", "<unk>", "<mask>"], "</w>", on_bytes=False)
    pieces(folder("unigram") / "sentencepiece.bpe.model", 330)
    pieces(folder("unigram-t5") / "spiece.model", 330, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    pieces(
        folder("unigram-albert") / "spiece.model", 330, rules=False, pad_id=0, unk_id=1, bos_id=-1, eos_id=-1,
        control_symbols=["[CLS]", "[SEP]", "[MASK]", "<s>", "</s>"],
    )  # fmt: skip
    pieces(
        folder("unigram-deberta") / "spm.model", 330, pad_id=0, bos_id=1, eos_id=2, unk_id=3, pad_piece="[PAD]", bos_piece="[CLS]",
        eos_piece="[SEP]", unk_piece="[UNK]", user_defined_symbols=["<new>"],
    )  # fmt: skip
    pieces(
        folder("unigram-xlnet") / "spiece.model", 330, unk_id=0, bos_id=1, eos_id=2,
        control_symbols=["<cls>", "<sep>", "<pad>", "<mask>", "<eod>", "<eop>"],
    )  # fmt: skip
    llama = {"model_type": "bpe", "byte_fallback": True, "split_digits": True, "allow_whitespace_only_pieces": True, "rules": False}
    pieces(folder("pairs-llama") / "tokenizer.model", 620, remove_extra_whitespaces=False, **llama)
    pieces(
        folder("pairs-gemma") / "tokenizer.model", 620, pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>",
        bos_piece="<bos>", add_dummy_prefix=False, remove_extra_whitespaces=False, user_defined_symbols=["<mask>", "<new>", "\n", "  "],
        **llama,
    )  # fmt: skip
    pieces(folder("pairs") / "sentencepiece.bpe.model", 360, model_type="bpe")


def saved_json(vocabulary: Path, out: Path) -> None:
    """tokenizer.json files as trainers and older versions wrote them, from the vocabularies."""
    tokens = json.loads((vocabulary / "bytes" / "vocab.json").read_text())
    merges = [tuple(line.split(" ")) for line in (vocabulary / "bytes" / "merges.txt").read_text().splitlines()[1:]]
    made = Tokenizer(models.BPE(tokens, merges, ignore_merges=True))
    made.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
    ])  # fmt: skip
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens(["<|endoftext|>", "<s>"])
    made.add_tokens(["<new>"])
    json_file = json.loads(made.to_str())
    out.mkdir(parents=True, exist_ok=True)
    (out / "tokenizer.json").write_text(json.dumps(json_file, ensure_ascii=False, separators=(",", ":")))
