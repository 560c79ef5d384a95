"""The cases: files, the one that is wrong, and whether it may be refused although Python takes it."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

from .configs import CONFIGS
from .models import MODELS
from .vocabularies import VOCABULARIES

DEEP = 100_000


def token(content: str, place: int | None = None, **fields: object) -> dict:
    """An added token of tokenizer.json."""
    place = {} if place is None else {"id": place}
    return {**place, "content": content, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True, **fields}


PLAIN = {"version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None, "decoder": None}
WORDS = {
    **PLAIN, "added_tokens": [token("[UNK]", 0), token("[MASK]", 8)], "pre_tokenizer": {"type": "BertPreTokenizer"},
    "model": {
        "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": {word: place for place, word in enumerate(["[UNK]", "[CLS]", "[SEP]", "[PAD]", "the", "quick", "a", "##b", "[MASK]"])},
    },
}  # fmt: skip
PAIRS = {
    **PLAIN, "added_tokens": [token("<unk>", 0), token("<s>", 1)], "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "model": {
        "type": "BPE", "dropout": None, "unk_token": "<unk>", "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False,
        "byte_fallback": False, "ignore_merges": False, "vocab": {piece: place for place, piece in enumerate(["<unk>", "<s>", "</s>", "a", "b", "c", "Ġ", "ab", "Ġa", "é"])},
        "merges": [["a", "b"], ["Ġ", "a"]],
    },
}  # fmt: skip
PIECES = {
    **PLAIN, "added_tokens": [token("<pad>", 0), token("</s>", 1), token("<unk>", 2)],
    "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True},
    "model": {
        "type": "Unigram", "unk_id": 2, "byte_fallback": False,
        "vocab": [["<pad>", 0.0], ["</s>", 0.0], ["<unk>", 0.0], ["▁", -2.0], ["a", -2.5], ["b", -3.0], ["▁a", -3.5], ["ab", -4.0], ["the", -5.0]],
    },
}  # fmt: skip
KINDS = {"words": (WORDS, "BertTokenizer"), "pairs": (PAIRS, "GPT2Tokenizer"), "pieces": (PIECES, "T5Tokenizer")}
REMOVE = object()


def changed(whole: dict, path: str, value: Any) -> dict:  # noqa: ANN401
    """The JSON with another value at a place."""
    whole = copy.deepcopy(whole)
    *parents, last = path.split(".")
    inner = whole
    for key in parents:
        inner = inner[key]
    if value is REMOVE:
        del inner[last]
    else:
        inner[last] = value
    return whole


def charsmap(*bytes_: int) -> dict:
    """A normaliser with such a map of characters."""
    return {"type": "Precompiled", "precompiled_charsmap": base64.b64encode(bytes(bytes_)).decode()}


def nested(kind: str, field: str, inner: dict, levels: int) -> dict:
    """A sequence in a sequence, and so on."""
    for _ in range(levels):
        inner = {"type": kind, field: [inner]}
    return inner


def template(single: list, pair: list, tokens: dict) -> dict:
    """A post-processor."""
    return {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": tokens}


A = {"Sequence": {"id": "A", "type_id": 0}}
B = {"Sequence": {"id": "B", "type_id": 0}}
CLS = {"SpecialToken": {"id": "X", "type_id": 0}}
X = {"X": {"id": "X", "ids": [1], "tokens": ["X"]}}

# Place in tokenizer.json, its values, and whether they may be refused although Python takes them.
CHANGES = [
    ("model", [REMOVE, 5, None, [], {}, "BPE"], False),
    ("model.type", [REMOVE, "Foo", 5, None], False),
    ("model.vocab", [REMOVE, 5, None, "a", True], True),
    ("version", [REMOVE, "2.0", 1], True),
    ("added_tokens", [REMOVE, 5, None, {}, [5], [{}], [{"id": 0}], ["<s>"]], True),
    ("added_tokens", [[token("<new>", -1)], [token("<new>", 1 << 32)], [token("<new>", 0.5)], [token("<new>")], [token(5, 20)]], True),
    ("added_tokens", [[token("<new>", 20)], [token("<new>", 0)], [token("", 20)], [token("<new>", 20), token("<new>", 21)]], False),
    ("added_tokens", [[token("<new>", 4294967295)], [token("<new>", 20, other=1)], [token("<new>", 20, lstrip="x")], [token("<new>", 20, normalized=None)]], True),
    ("normalizer", [5, "NFC", [], {"type": "Foo"}, {"type": "NFC", "x": 1}, {"type": "Sequence", "normalizers": 5}, {"type": "Lowercase"}], True),
    ("normalizer", [{"type": "Precompiled"}, {"type": "Precompiled", "precompiled_charsmap": 5}, {"type": "Precompiled", "precompiled_charsmap": "*"}], True),
    ("normalizer", [charsmap(), charsmap(1, 2), charsmap(0, 0, 0, 0), charsmap(255, 255, 255, 255), charsmap(4, 0, 0, 0, 255, 255, 255, 255)], True),
    ("normalizer", [charsmap(8, 0, 0, 0, 0, 4, 0, 0, 97, 1, 0, 0, 98, 0), charsmap(0, 0, 0, 0, 255)], True),
    ("normalizer", [nested("Sequence", "normalizers", {"type": "NFC"}, 30), {"type": "Replace", "pattern": {"Regex": "("}, "content": ""}], True),
    ("normalizer", [{"type": "Replace", "pattern": {"Regex": "(" * 3000 + "a" + ")" * 3000}, "content": ""}, {"type": "Replace", "pattern": 5, "content": ""}], True),
    ("pre_tokenizer", [5, {"type": "Foo"}, {"type": "Split", "pattern": {"Regex": "["}, "behavior": "Isolated", "invert": False}], True),
    ("pre_tokenizer", [{"type": "FixedLength", "length": 0}, {"type": "FixedLength", "length": -1}, {"type": "Sequence"}], True),
    ("decoder", [5, [], {"type": "Foo"}, {"type": "Strip", "content": "ab", "start": 1, "stop": 0}, nested("Sequence", "decoders", {"type": "Fuse"}, 30)], True),
    ("post_processor", [5, {"type": "Foo"}, template([CLS, A], [A, B], {}), template([CLS, A], [CLS, A, B], X), template([B], [A, B], {})], True),
    ("post_processor", [template([CLS, A], [A, B], {"X": {"id": "X", "ids": [1, 2], "tokens": ["X"]}}), template(5, [], {}), template([A], [A], {})], True),
    ("post_processor", [nested("Sequence", "processors", template([CLS, A], [A, B], {}), 3), {"type": "BertProcessing", "sep": ["x", -1], "cls": ["y", 2]}], True),
    ("truncation", [5, {"direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 5}, {"max_length": -1}], True),
    ("padding", [5, {"strategy": {"Fixed": 10**12}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"}], True),
]  # fmt: skip
OWN = {
    "words": [
        ("model.vocab", [{}, {"a": -1}, {"a": 1.5}, {"a": "1"}, {"a": 1 << 32}, {"a": None}, ["a", "b"]], False),
        ("model.vocab", [{"a": 0, "b": 0, "[UNK]": 0}, {"the": 1, "a": 2}, {"": 3, "[UNK]": 0}], False),
        ("model.vocab", [{"a": 4294967295, "[UNK]": 4294967294}, {"a": 1 << 31, "[UNK]": 0}], True),
        ("model.unk_token", [REMOVE, 5, "nowhere"], True),
        ("model.max_input_chars_per_word", [-1, 0, 1 << 63, "x"], True),
        ("model.continuing_subword_prefix", ["", "é", 5], True),
    ],
    "pairs": [
        ("model.merges", [REMOVE, 5, None, {}, [5], ["a"], ["a b c"], [["a"]], [["a", "b", "c"]], [["a", 5]], ["a b", ["a", "b"]]], True),
        ("model.merges", [[], ["a b"], [["a", "b"], ["a", "b"]]], False),
        ("model.merges", [[["a", "zzz"]], [["zzz", "a"]], [["a", "c"]], [["ab", "ab"]], [["<unk>", "<unk>"]], [["", "a"]], [["a", ""]]], True),
        ("model.vocab", [{}, {"a": -1, "b": 0, "ab": 1}, {"a": 0, "b": 0, "ab": 0, "Ġ": 0, "Ġa": 0}, {"a": 1 << 32, "b": 0, "ab": 1}, ["a", "b", "ab", "Ġ", "Ġa"]], True),
        ("model.continuing_subword_prefix", ["####", "é", 5], True),
        ("model.end_of_word_suffix", ["</w>", 5], True),
        ("model.dropout", [2.0, -1, "x", 1.0], True),
        ("model.unk_token", [None, "nowhere", 5], True),
        ("model.byte_fallback", [True, 5, None], True),
    ],
    "pieces": [
        ("model.unk_id", [REMOVE, None, 99, -1, "2", 0, 1 << 62], True),
        ("model.vocab", [[], {}, {"a": 0}, [["a"]], [["a", "b"]], [[1, 2]], ["a"], [["a", -1.0, 2]]], True),
        ("model.vocab", [[["<pad>", 0], ["</s>", 0], ["<unk>", 0], ["a", 0], ["a", -1], ["", -1]], [["a", 1e308], ["b", -1e308], ["c", 1e308]]], True),
        ("model.byte_fallback", [True, 5], True),
    ],
}  # fmt: skip


def both(name: str, kind: str, content: Any, refused: bool) -> list[dict]:  # noqa: ANN401
    """A tokenizer.json for no class in particular, and for one that makes its own of the vocabulary."""
    cls = KINDS[kind][1]
    return [
        {"name": f"{name}, {who}", "wrong": "tokenizer.json", "refused": refused, "files": {"tokenizer.json": content, "tokenizer_config.json": json.dumps(config)}}
        for who, config in [("generic", {}), (cls, {"tokenizer_class": cls})]
    ]


def damaged() -> list[dict]:
    """tokenizer.json as text that is not what it should be."""
    found = []
    for kind, (whole, _) in KINDS.items():
        text = json.dumps(whole, ensure_ascii=False)
        texts = {
            "array": "[]", "string": '"x"', "number": "3", "null": "null", "object": "{}", "empty": "", "NaN": "NaN", "half": text[: len(text) // 2],
            "less by one": text[:-1], "BOM": "\ufeff" + text, "more": text + "}", "huge number": text.replace('"1.0"', "1e999"),
            "deep": {"repeat": ["[", "[", DEEP, ""]}, "deep field": {"repeat": [text[:-1] + ', "x": ', "[", DEEP, "]" * 3]},
            "not UTF-8": {"base64": base64.b64encode(text.encode().replace(b"a", b"\xff", 1)).decode()}, "folder": {},
            "surrogate": text.replace('"<unk>"', '"\\ud800"').replace('"[UNK]"', '"\\ud800"'), "twice": text[:-1] + ',"model":5}',
        }  # fmt: skip
        for what, content in texts.items():
            found += both(f"{kind}: {what}", kind, content, refused=what == "folder")
        places = [(place, value, refused) for place, values, refused in CHANGES + OWN[kind] for value in values]
        for place, value, refused in places:
            shown = "removed" if value is REMOVE else json.dumps(value)[:60]
            found += both(f"{kind}: {len(found)}, {place} {shown}", kind, json.dumps(changed(whole, place, value), ensure_ascii=False), refused)
        found += both(f"{kind}: as it should be", kind, text, refused=False)
    long = changed(PIECES, "model.vocab", [*PIECES["model"]["vocab"], ["MARK", -1]])
    before, after = json.dumps(long).split("MARK")
    found += both("pieces: a long token", "pieces", {"repeat": [before, "a", 300_000, after]}, refused=True)
    return found


CASES = damaged() + CONFIGS + VOCABULARIES + MODELS
assert len({case["name"] for case in CASES}) == len(CASES), "two cases share a name"
