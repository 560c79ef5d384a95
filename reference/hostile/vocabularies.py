"""vocab.txt, vocab.json and merges.txt."""

from __future__ import annotations

import base64
import json
from typing import Any

VOCAB_TXT = {
    "empty": "", "duplicates": "[UNK]\n[CLS]\n[SEP]\nthe\nthe\nquick\n[PAD]\nthe\n", "without [UNK]": "[PAD]\n[CLS]\n[SEP]\nthe\nquick\n[MASK]\n",
    "CRLF": "[PAD]\r\n[UNK]\r\n[CLS]\r\n[SEP]\r\nthe\r\nquick\r\n", "BOM": "\ufeff[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\n", "no last end": "[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe",
    "blank lines": "[PAD]\n\n[UNK]\n \n[CLS]\n[SEP]\nthe\n\n\n", "spaces": "[PAD]\n[UNK] \n [CLS]\n[SEP]\t\nthe\u3000\n", "only CR": "[UNK]\rthe\r[CLS]\r[SEP]",
    "not UTF-8": {"base64": base64.b64encode(b"[UNK]\nthe\n\xff\n").decode()}, "UTF-16": {"base64": base64.b64encode("[UNK]\nthe\n".encode("utf-16")).decode()},
    "folder": {}, "zeros": {"repeat": ["[UNK]\n", "\0", 1000, "\n"]}, "long": {"repeat": ["[UNK]\n[CLS]\n[SEP]\n", "a", 1_000_000, "\n"]},
}  # fmt: skip

IDS = {piece: place for place, piece in enumerate(["<|endoftext|>", "a", "b", "c", "Ġ", "ab", "Ġa", "abc"])}
MERGES = "#version: 0.2\na b\nĠ a\n"


def text(value: Any) -> str:  # noqa: ANN401
    """JSON as a file has it."""
    return json.dumps(value, ensure_ascii=False)


# vocab.json and whether it may be refused although Python takes it.
VOCAB_JSON = {
    "as it should be": (text(IDS), False), "negative": (text({**IDS, "c": -1}), False), "duplicates": (text({**IDS, "c": 1}), False), "huge": (text({**IDS, "c": 1 << 40}), True),
    "largest": (text({**IDS, "c": (1 << 32) - 1}), True), "too large for i32": (text({**IDS, "c": 1 << 31}), True), "float": (text({**IDS, "c": 1.5}), False),
    "string": (text({**IDS, "c": "3"}), True), "list": (text(list(IDS)), False), "empty": ("", False), "half": (text(IDS)[:20], False),
    "null": ("null", False), "BOM": ("\ufeff" + text(IDS), False), "holes": (text({**IDS, "c": 700}), False), "same key": (text(IDS)[:-1] + ',"a":9}', False),
    "deep": ({"repeat": ['{"x":', "[", 100_000, ""]}, False), "folder": ({}, False), "not UTF-8": ({"base64": base64.b64encode(b'{"\xff": 0}').decode()}, False),
}  # fmt: skip
MERGES_TXT = {
    "empty": "", "only the version": "#version: 0.2\n", "no version": "a b\nĠ a\n", "one word": "#version: 0.2\na b\nab\n", "three words": "#version: 0.2\na b c\n",
    "blank line": "#version: 0.2\na b\n\nĠ a\n", "blank last line": MERGES + "\n", "no last end": MERGES.rstrip("\n"), "CRLF": MERGES.replace("\n", "\r\n"), "BOM": "\ufeff" + MERGES,
    "unknown left": "#version: 0.2\nz a\n", "unknown right": "#version: 0.2\na z\n", "unknown whole": "#version: 0.2\na c\n", "whole longer than all": "#version: 0.2\nabc abc\n",
    "twice": "#version: 0.2\na b\nĠ a\na b\n", "version later": "a b\n#version: 0.2\nĠ a\n", "comment": "# made by hand\na b\n", "two spaces": "a  b\n", "tab": "a\tb\n", "space before": " a b\n",
    "not UTF-8": {"base64": base64.b64encode(b"a \xff\n").decode()}, "folder": {},
}  # fmt: skip


def bert(what: str, content: Any) -> dict:  # noqa: ANN401
    """A vocabulary of BERT."""
    files = {"vocab.txt": content, "config.json": '{"model_type":"bert"}'}
    return {"name": f"vocab.txt: {what}", "wrong": "vocab.txt", "refused": what == "folder", "files": files}


def gpt2(wrong: str, what: str, vocabulary: Any, merges: Any, refused: bool) -> dict:  # noqa: ANN401
    """A vocabulary of GPT-2."""
    files = {"vocab.json": vocabulary, "merges.txt": merges, "config.json": '{"model_type":"gpt2"}'}
    return {"name": f"{wrong}: {what}", "wrong": wrong, "refused": refused, "files": files}


VOCABULARIES = (
    [bert(what, content) for what, content in VOCAB_TXT.items()]
    + [gpt2("vocab.json", what, content, MERGES, refused or what == "folder") for what, (content, refused) in VOCAB_JSON.items()]
    + [gpt2("merges.txt", what, text(IDS), content, what == "folder") for what, content in MERGES_TXT.items()]
    + [gpt2("merges.txt", "beside an empty vocab.json", "{}", MERGES, False)]
)
