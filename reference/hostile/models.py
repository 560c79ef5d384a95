"""`.model` files, of SentencePiece and of tiktoken."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Callable

from sentencepiece import sentencepiece_model_pb2 as proto

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6


def model(change: Callable | None = None, kind: int = 1) -> bytes:
    """A small model, changed."""
    made = proto.ModelProto()
    pieces = [("<unk>", 0, UNKNOWN), ("<s>", 0, CONTROL), ("</s>", 0, CONTROL), ("▁", -1, NORMAL), ("a", -2, NORMAL), ("b", -2.5, NORMAL), ("▁a", -3, NORMAL), ("ab", -3.5, NORMAL), ("the", -4, NORMAL), ("<new>", 0, USER)]
    for piece, score, type_ in pieces:
        made.pieces.add(piece=piece, score=score, type=type_)
    made.trainer_spec.model_type = kind
    made.trainer_spec.unk_id = 0
    if change:
        change(made)
    return made.SerializeToString()


def field(name: str, value: object) -> Callable:
    """A field of the trainer's."""
    return lambda made: setattr(made.trainer_spec, name, value)


def score(value: float) -> Callable:
    """All scores alike."""

    def change(made: proto.ModelProto) -> None:
        for piece in made.pieces[3:]:
            piece.score = value

    return change


def charsmap(content: bytes) -> Callable:
    """A map of characters."""
    return lambda made: setattr(made.normalizer_spec, "precompiled_charsmap", content)


def piece(content: str, type_: int = NORMAL) -> Callable:
    """One piece more."""
    return lambda made: made.pieces.add(piece=content, score=-5, type=type_)


def numbers(*values: int) -> bytes:
    """Numbers as a map of characters has them."""
    return b"".join(struct.pack("<I", value) for value in values)


# Models, and whether they may be refused although Python takes them.
MODELS_OF_PIECES = {
    "as it should be": (model(), False), "empty": (b"", True), "no pieces": (model(lambda made: made.ClearField("pieces")), True), "zeros": (bytes(100), False),
    "text": (b"not a model at all\n", False), "half": (model()[:60], True), "a huge length": (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\x7f", False), "no end of a number": (b"\x0a" + b"\xff" * 20, False),
    "of words": (model(kind=3), True), "of characters": (model(kind=4), True), "of an unknown kind": (model(kind=2), False), "unknown far away": (model(field("unk_id", 99)), True),
    "unknown below zero": (model(field("unk_id", -5)), True), "NaN": (model(score(math.nan)), False), "infinite": (model(score(-math.inf)), False), "alike": (model(piece("a")), True),
    "an empty piece": (model(piece("")), True), "an unknown type of piece": (model(piece("x", UNUSED)), False), "a byte that is none": (model(piece("<0xZZ>", BYTE)), False),
    "a short map": (model(charsmap(b"\1\2")), True), "an empty map": (model(charsmap(numbers(0))), True), "a map without end": (model(charsmap(numbers(0xFFFFFFFF, 5))), True),
    "a map that points away": (model(charsmap(numbers(4, 0xFFFFFFFF))), True), "a map that is not UTF-8": (model(charsmap(numbers(0) + b"\xff")), True),
    "a long piece": (model(piece("a" * 5000)), True),
}  # fmt: skip
RANKS = {
    "as it should be": ("YQ== 0\nYg== 1\nYWI= 2\nIA== 3\n", False), "empty": ("", True), "blank lines": ("YQ== 0\n\n\nYg== 1\n", False), "CRLF": ("YQ== 0\r\nYg== 1\r\n", False),
    "no rank": ("YQ==\nYg== 1\n", False), "three words": ("YQ== 0 1\n", False), "a rank below zero": ("YQ== -1\n", False), "a huge rank": ("YQ== 99999999999\n", False),
    "a rank that is none": ("YQ== x\n", False), "no base64": ("Y 0\n", False), "other characters": ("Y!Q== 0\nYg== 1\n", True), "spaces": ("  YQ==\t 0 \nYg== 1\n", False),
    "duplicates": ("YQ== 0\nYg== 1\nYQ== 2\n", False), "ranks alike": ("YQ== 0\nYg== 0\nYWI= 0\n", False), "holes": ("YQ== 0\nYg== 10\nYWI= 1000\n", False), "BOM": ("\ufeffYQ== 0\n", True),
    "an empty token": ("==== 0\nYg== 1\n", True), "a long token": (base64.b64encode(b"a" * 3000).decode() + " 0\nYQ== 1\n", True),
}  # fmt: skip
CLASSES = {"generic": "{}", "LlamaTokenizer": '{"tokenizer_class":"LlamaTokenizer"}', "T5Tokenizer": '{"tokenizer_class":"T5Tokenizer"}'}

MODELS = [
    {"name": f"tokenizer.model: {what}, {who}", "wrong": "tokenizer.model", "refused": refused, "files": {"tokenizer.model": {"base64": base64.b64encode(content).decode()}, "tokenizer_config.json": config}}
    for what, (content, refused) in MODELS_OF_PIECES.items()
    for who, config in CLASSES.items()
] + [
    {"name": f"tiktoken.model: {what}", "wrong": "tiktoken.model", "refused": refused, "files": {"tiktoken.model": content, "config.json": "{}"}}
    for what, (content, refused) in RANKS.items()
] + [
    {
        "name": "tiktoken.model: an added token far away", "wrong": "tiktoken.model", "refused": True, "python": False,
        "files": {"tiktoken.model": RANKS["as it should be"][0], "tokenizer_config.json": '{"added_tokens_decoder":{"2000000000":{"content":"<new>"}}}'},
    }
]  # fmt: skip
