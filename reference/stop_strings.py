"""Makes tests/data/stop_strings.json: which token sequences the criterion of transformers takes to complete a string.

    python reference/stop_strings.py --out tests/data

The tokenizers are small ones of each kind that spells tokens in its own way.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from pathlib import Path
from typing import Any

import tokenizers
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import tensor
from transformers import PreTrainedTokenizerFast
from transformers.generation.stopping_criteria import StopStringCriteria

TEXTS = ["abcdef stop the stopper", "no stops, two stops: unstoppable!\n\nUser: über 日本 😀 stop", "ab cd ef abcdef top to"]
STRINGS = [["stop"], ["stop", "s, t"], ["\n\n"], ["top t"], ["User:", "über"], ["日本"], ["😀", "p"], [" the", "zz top"]]
ROWS, LENGTH = 40, 6


def byte_level() -> Tokenizer:
    """Every byte as a character."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = sorted({byte for text in TEXTS for byte, _ in pre_tokenizers.ByteLevel().pre_tokenize_str(text)})
    trainer = trainers.BpeTrainer(
        vocab_size=110, initial_alphabet=sorted(set("".join(alphabet))), special_tokens=["<end>"], show_progress=False
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def byte_fallback() -> Tokenizer:
    """A mark for spaces, and bytes for what has no token."""
    letters = {character for text in TEXTS for character in text.replace(" ", "▁") if character not in "日本😀\n"}
    others = {f"<0x{byte:02X}>" for character in "日本😀\n" for byte in character.encode()}
    words = ["▁stop", "st", "op", "▁t", "top", "per", "▁to", "▁the", "stop", "s,", "User", ":▁"]
    names = ["<unk>", "<s>", *sorted(others), *sorted(letters), *words]
    vocabulary = {name: place for place, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def word_piece() -> Tokenizer:
    """Parts of words with a mark."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece(cleanup=False)
    trainer = trainers.WordPieceTrainer(vocab_size=90, special_tokens=["[UNK]", "[SEP]"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def metaspace() -> Tokenizer:
    """A mark for spaces."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer, tokenizer.decoder = pre_tokenizers.Metaspace(), decoders.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=80, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


def plain() -> Tokenizer:
    """Words as they are, joined by spaces."""
    words = ["[UNK]", "abcdef", "stop", "the", "top", "t", "s,", "p", "User:", "über", "日本", "two"]
    return Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))


def sequences(tokenizer: Tokenizer, strings: list[str], chance: random.Random) -> list[list[int]]:
    """Tokens by chance, of which the last ones are often those of a text with one of the strings."""
    size = tokenizer.get_vocab_size()
    near = [
        token for token, name in ((i, tokenizer.decode([i])) for i in range(size)) if set(name) & set("".join(strings))
    ]
    rows = []
    for number in range(ROWS):
        row = [chance.choice(near if near and number % 3 else range(size)) for _ in range(LENGTH)]
        if number % 2:
            text = chance.choice(["", "x", "un", " ", "s"]) + chance.choice(strings) + chance.choice(["", "", "p", "per"])
            row = (row + tokenizer.encode(text, add_special_tokens=False).ids)[-LENGTH:]
        rows.append(row)
    # What is no token ends nothing and is part of nothing.
    rows[0][-1] = rows[2][-2] = size + 3
    return rows


def cases(number: int, tokenizer: Tokenizer, chance: random.Random) -> list[dict[str, Any]]:
    """What the criterion says of many sequences."""
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer)
    found = []
    for strings in STRINGS:
        try:
            criterion = StopStringCriteria(fast, strings)
        except ValueError:
            # No token can end any of the strings.
            found.append({"tokenizer": number, "strings": strings, "refused": True})
            continue
        rows = sequences(tokenizer, strings, chance)
        stops = criterion(tensor(rows), None).tolist()
        found.append({"tokenizer": number, "strings": strings, "ids": rows, "stops": "".join("01"[stop] for stop in stops)})
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the file")
    out = parser.parse_args().out
    chance = random.Random(5)
    made = [make() for make in (byte_level, byte_fallback, word_piece, metaspace, plain)]
    kept = [json.loads(tokenizer.to_str()) for tokenizer in made]
    all_cases = [case for numbered in enumerate(made) for case in cases(*numbered, chance)]
    about = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
    lists = (
        f"  {json.dumps(name)}: [\n" + ",\n".join(f"    {json.dumps(row, ensure_ascii=False)}" for row in rows) + "\n  ]"
        for name, rows in {"tokenizers": kept, "cases": all_cases}.items()
    )
    (out / "stop_strings.json").write_text(f"{{\n  {json.dumps(about)[1:-1]},\n" + ",\n".join(lists) + "\n}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
