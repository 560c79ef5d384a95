"""Settings beside a vocabulary that is as it should be."""

from __future__ import annotations

import json
from typing import Any

VOCABULARY = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nthe\nquick\na\n##b\n##c\n"
DEEP = 100_000
NEW = {"content": "<new>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": False}


def case(file: str, what: str, refused: bool, wrong: str | None = None, lenient: bool = False, **files: Any) -> dict:  # noqa: ANN401
    """BERT's vocabulary and other files beside it, named without their ends; `wrong` is what an error names, the file by default."""
    content = {f"{name}.json": text if isinstance(text, (str, dict)) else json.dumps(text) for name, text in files.items()}
    return {"name": f"{file}: {what}", "wrong": wrong or file, "refused": refused, "lenient": lenient, "files": {"vocab.txt": VOCABULARY, "config.json": '{"model_type":"bert"}', **content}}


def text(value: Any) -> str:  # noqa: ANN401
    """JSON as a file has it."""
    return json.dumps(value, ensure_ascii=False)


KINDS = {
    "array": "[]", "string": '"x"', "number": "5", "null": "null", "empty": "", "half": '{"a": ', "BOM": "\ufeff{}", "NaN": "NaN", "more": "{}}",
    "deep": {"repeat": ['{"x":', "[", DEEP, ""]}, "not UTF-8": {"base64": "eyJhIjogIv8ifQ=="}, "folder": {}, "as it should be": "{}",
}  # fmt: skip
FILES = ["tokenizer_config", "special_tokens_map", "added_tokens", "config"]

# Settings and whether they may be refused although Python takes them.
SETTINGS = [
    ({"added_tokens_decoder": value}, True)
    for value in ([], 5, None, {"x": NEW}, {"-1": NEW}, {"0": 5}, {"0": {}}, {"4294967296": NEW}, {"4000000000": NEW}, {"1.5": NEW}, {"11": {**NEW, "lstrip": 5}})
] + [
    ({"added_tokens_decoder": value}, False)
    for value in ({}, {"11": NEW}, {"0": NEW}, {"5": {**NEW, "content": "the"}}, {"10": NEW, "11": NEW})
] + [({"model_max_length": value}, True) for value in ("abc", -5, 0, 2.5, [], True)] + [
    ({"model_max_length": value}, False) for value in (None, 1e30, 10**40, 512)
] + [({"padding_side": value}, True) for value in ("up", 5, None)] + [
    ({role: value}, True) for role in ("unk_token", "mask_token", "bos_token") for value in (5, [], {}, True, {"content": 5}, {"content": "<x>", "other": 1})
] + [
    ({role: value}, False) for role in ("unk_token", "pad_token") for value in (None, "<x>", "", {"__type": "AddedToken", **NEW})
] + [({"extra_special_tokens": value}, True) for value in (5, "x", [5], {"a": 5}, [[]], [None], True)] + [
    ({"extra_special_tokens": value}, False) for value in ([], {}, ["<x>", "<x>"], {"a": "<x>"}, ["the"], [""])
] + [({"additional_special_tokens": value}, True) for value in (5, "x", [5])] + [
    ({"tokenizer_class": value}, True) for value in (5, [])
] + [({"do_lower_case": value}, True) for value in (5, "yes", [])] + [
    ({"strip_accents": value}, True) for value in ("no", 0)
] + [({"clean_up_tokenization_spaces": "x"}, True), ({"split_special_tokens": "x"}, True), ({"added_tokens_decoder": {"11": NEW}, "mask_token": "<new>"}, False)]  # fmt: skip

MAPS = [
    ({"unk_token": 5}, True), ({"unk_token": []}, True), ({"unk_token": {}}, True), ({"mask_token": {"content": 5}}, True), ({"x": 5}, False),
    ({"additional_special_tokens": 5}, True), ({"additional_special_tokens": [5]}, True), ({"mask_token": "<new>"}, False), ({"mask_token": None}, False),
    ({"extra_special_tokens": [5]}, True), ({"extra_special_tokens": ["<new>"]}, False), ({"additional_special_tokens": ["<new>"]}, False),
]  # fmt: skip
ADDED = [
    ({"<x>": "a"}, True), ({"<x>": -1}, True), ({"<x>": 1 << 40}, True), ({"<x>": None}, True), ({"<x>": 1.5}, True), ({"": 20}, True), ({"<x>": 4_000_000_000}, True),
    ({"<x>": 10, "<y>": 11}, False), ({"<y>": 11, "<x>": 10}, False), ({"<x>": 0}, False), ({"the": 20}, False), ({"<x>": 10, "<y>": 10}, False), ({"<x>": 99}, False),
]  # fmt: skip

CONFIGS = (
    [case(f"{name}.json", what, what in ("folder", "NaN", "null", "array"), **{name: content}) for name in FILES for what, content in KINDS.items() if (name, content) != ("config", "{}")]
    + [case("tokenizer_config.json", text(config), refused, tokenizer_config=text(config)) for config, refused in SETTINGS]
    + [case("special_tokens_map.json", text(content), refused, special_tokens_map=text(content)) for content, refused in MAPS]
    + [case("added_tokens.json", text(content), refused, added_tokens=text(content)) for content, refused in ADDED]
    + [
        case("added_tokens.json", "against special_tokens_map.json", False, added_tokens='{"<x>": 10}', special_tokens_map='{"mask_token": "<x>"}'),
        case("added_tokens.json", "against added_tokens_decoder", False, added_tokens='{"<x>": 10}', tokenizer_config=text({"added_tokens_decoder": {"10": NEW}})),
        case("tokenizer_config.json", "role against special_tokens_map.json", False, tokenizer_config='{"mask_token": "<x>"}', special_tokens_map='{"mask_token": "<y>"}'),
        case("config.json", "model_type 5", True, config='{"model_type": 5}'),
        case("config.json", "model_type unknown", True, "tokenizer.json", config='{"model_type": "nobody"}'),
        case("config.json", "nothing", True, "tokenizer.json", config="{}"),
        *(
            case("tokenizer_config.json", f"class {name}", True, "tokenizer.json", tokenizer_config=text({"tokenizer_class": name}))
            for name in ("", "../BertTokenizer", "Nobody")
        ),
        case("tokenizer_config.json", "do_lower_case null", True, lenient=True, tokenizer_config='{"do_lower_case": null}'),
        case("config.json", "tokenizer_class 5", True, config='{"model_type": "bert", "tokenizer_class": 5}'),
        {
            "name": "tokenizer_config.json: extra_ids without end", "wrong": "extra_ids", "refused": True, "python": False,
            "files": {
                "tokenizer.json": text({
                    "version": "1.0", "added_tokens": [], "model": {"type": "Unigram", "unk_id": 2, "vocab": [["<pad>", 0], ["</s>", 0], ["<unk>", 0], ["a", -1]]},
                }),
                "tokenizer_config.json": '{"tokenizer_class": "T5Tokenizer", "extra_ids": 1000000000000}',
            },
        },
    ]
)  # fmt: skip
