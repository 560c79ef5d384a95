"""Makes tests/data/tokenizers: small vocabularies, and what transformers makes of texts with them.

    python reference/make_tokens.py --out tests/data/tokenizers [--train] [--only FILE] [--show CASE TEXT]

Besides requirements.lock it needs `sentencepiece`, `protobuf` and `tiktoken`. `--train` makes the vocabularies anew. `--only` writes one
of the files of results. `--show` prints what a case makes of the text of a number, where the test says that something differs.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import shutil
import sys
import tempfile
from pathlib import Path

import transformers
from tokens import train
from tokens.cases import CASES
from tokens.ranked import RANKED, ranks
from tokens.texts import texts
from transformers import AutoTokenizer

TEXTS = texts()
FILES = {"expected": CASES, "ranked": RANKED}
# Pairs by the numbers of their texts, and how they are cut: strategy, length, stride.
PAIRS = [(index, (index * 7 + 3) % len(TEXTS)) for index in range(2, len(TEXTS), 9)]
CUTS = [("longest_first", 12, 0), ("longest_first", 9, 2), ("only_first", 14, 3), ("only_second", 13, 1), ("longest_first", 6, 0), ("do_not_truncate", 5, 0)]


def digest(text: str) -> int:
    """FNV-1a, 32 bits."""
    value = 0x811C9DC5
    for byte in text.encode():
        value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def encoded(encoding) -> str:  # noqa: ANN001
    """An encoding and its overflow, as one line."""
    offsets = ",".join(f"{start}-{end}" for start, end in encoding.offsets)
    parts = [encoding.ids, encoding.type_ids, encoding.special_tokens_mask, encoding.attention_mask]
    line = ";".join(",".join(map(str, part)) for part in parts) + ";" + offsets
    return "|".join([line, *map(encoded, encoding.overflowing)])


def outcome(run) -> str:  # noqa: ANN001
    """What a call gives, or that it fails."""
    try:
        return "/".join(map(encoded, run().encodings))
    except BaseException as error:  # noqa: BLE001  (the backend's panics are no exceptions)
        if isinstance(error, KeyboardInterrupt):
            raise
        return "error"


def of_text(tokenizer, text: str) -> tuple[list[int], str]:  # noqa: ANN001
    """The ids of a text, and everything else about it as one line."""
    full = tokenizer([text], truncation=False)
    ids = full["input_ids"][0]
    plain = tokenizer([text], add_special_tokens=False)["input_ids"][0]
    decoded = [tokenizer.decode(ids, skip_special_tokens=skip) for skip in (False, True)]
    return ids, "\n".join([encoded(full.encodings[0]), ",".join(map(str, plain)), *decoded])


def of_pairs(tokenizer) -> list[str]:  # noqa: ANN001
    """What becomes of all pairs, by the way of cutting."""
    found = []
    for strategy, length, stride in CUTS:
        lines = []
        for first, second in PAIRS:
            kwargs = {"truncation": strategy, "max_length": length, "stride": stride, "return_overflowing_tokens": True}
            lines.append(outcome(lambda: tokenizer([TEXTS[first]], [TEXTS[second]], **kwargs)))  # noqa: B023
            if not strategy.startswith("only"):
                lines.append(outcome(lambda: tokenizer([TEXTS[first]], **kwargs)))  # noqa: B023
        found.append("\n".join(lines))
    return found


def padded(tokenizer) -> str:  # noqa: ANN001
    """A padded batch on both sides; nothing without a padding token."""
    if tokenizer.pad_token is None:
        return ""
    rows = [TEXTS[index] for index, _ in PAIRS if TEXTS[index].strip()][:6]
    lines = []
    for side in ("left", "right"):
        batch = tokenizer(rows, padding=True, padding_side=side, return_token_type_ids=True, return_attention_mask=True)
        for name in ("input_ids", "attention_mask", "token_type_ids"):
            lines += [",".join(map(str, row)) for row in batch[name]]
    return "\n".join(lines)


def special(tokenizer) -> dict:  # noqa: ANN001
    """The tokens with a role and their ids, and the others."""
    roles = {}
    for role in ("bos", "eos", "unk", "sep", "pad", "cls", "mask"):
        token = getattr(tokenizer, f"{role}_token")
        if token is not None:
            roles[role] = [token, tokenizer.convert_tokens_to_ids(token)]
    extra = sorted(tokenizer.convert_tokens_to_ids(list(map(str, tokenizer.extra_special_tokens))))
    return {"roles": roles, "extra": digest(",".join(map(str, extra)))}


def assemble(case: dict, vocabularies: Path, folder: Path) -> dict[str, str]:
    """Lays the files of a case; those that are not a vocabulary's are returned."""
    names = case["files"].get("rename", {})
    for file in (vocabularies / case["vocabulary"]).iterdir():
        shutil.copy(file, folder / names.get(file.name, file.name))
    written = {"config.json": json.dumps({"model_type": case["model_type"]} if case["model_type"] else {})}
    if case["config"]:
        written["tokenizer_config.json"] = json.dumps(case["config"], ensure_ascii=False)
    written |= {name: json.dumps(content) for name, content in case["files"].items() if name != "rename"}
    for name, content in written.items():
        (folder / name).write_text(content)
    if case["saved"]:
        config = {key: value for key, value in case["config"].items() if key != "tokenizer_class"}
        plain = folder / "plain"
        shutil.copytree(folder, plain)
        (plain / "tokenizer_config.json").write_text(json.dumps(config))
        AutoTokenizer.from_pretrained(plain).backend_tokenizer.save(str(folder / "tokenizer.json"))
        shutil.rmtree(plain)
        content = json.dumps(json.loads((folder / "tokenizer.json").read_text()), ensure_ascii=False, separators=(",", ":"))
        for file in (vocabularies / case["vocabulary"]).iterdir():
            (folder / names.get(file.name, file.name)).unlink()
        (folder / "tokenizer.json").write_text(content)
        written["tokenizer.json"] = content
    return written


def made(case: dict, vocabularies: Path) -> dict:
    """A case with everything that is expected of it."""
    with tempfile.TemporaryDirectory() as folder:
        written = assemble(case, vocabularies, Path(folder))
        tokenizer = AutoTokenizer.from_pretrained(folder)
    print(f"{case['name']}: {type(tokenizer).__name__}", file=sys.stderr)
    results = [of_text(tokenizer, text) for text in TEXTS]
    length = tokenizer.model_max_length
    return {
        "name": case["name"],
        "class": type(tokenizer).__name__,
        "vocabulary": None if case["saved"] else case["vocabulary"],
        "rename": case["files"].get("rename", {}),
        "files": written,
        "max_length": length if length < 1e9 else None,
        "padding_side": tokenizer.padding_side,
        "special": special(tokenizer),
        "ids": [",".join(map(str, ids)) for ids, _ in results],
        # Short, to find the text that differs; the digest of all of them is what counts.
        "texts": [digest(line) & 0xFFFF for _, line in results],
        "all_texts": digest("\n".join(line for _, line in results)),
        "pairs": [digest(lines) for lines in of_pairs(tokenizer)],
        "padded": digest(padded(tokenizer)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--only", choices=FILES)
    parser.add_argument("--show", nargs=2, metavar=("CASE", "TEXT"))
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    # tiktoken keeps what it has read, by the path alone.
    os.environ["TIKTOKEN_CACHE_DIR"] = ""
    if options.show:
        case = next(case for cases in FILES.values() for case in cases if case["name"] == options.show[0])
        with tempfile.TemporaryDirectory() as folder:
            assemble(case, options.out, Path(folder))
            tokenizer = AutoTokenizer.from_pretrained(folder)
        place = options.show[1]
        print(of_pairs(tokenizer)[int(place[4:])] if place.startswith("pair") else of_text(tokenizer, TEXTS[int(place)])[1])
        return
    if options.train:
        train.train(options.out)
        train.saved_json(options.out, options.out / "bytes-json")
        ranks(options.out / "bytes", options.out / "ranks")
    for name in [options.only] if options.only else FILES:
        write(options.out / f"{name}.json.gz", [made(case, options.out) for case in FILES[name]])


def write(path: Path, cases: list[dict]) -> None:
    """Writes what is expected of some cases."""
    # Ids of a text by all tokenizers side by side compress best.
    ids = [[case["ids"][index] for case in cases] for index in range(len(TEXTS))]
    for case in cases:
        del case["ids"]
    expected = {"transformers": transformers.__version__, "texts": TEXTS, "pairs": PAIRS, "cuts": CUTS, "cases": cases, "ids": ids}
    content = json.dumps(expected, ensure_ascii=False, separators=(",", ":")).encode()
    path.write_bytes(gzip.compress(content, 9, mtime=0))


if __name__ == "__main__":
    main()
