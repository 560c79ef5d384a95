"""Makes tests/data/hostile_text.json.gz: files of tokenizers that nobody meant, and what transformers makes of each.

    python reference/hostile_text.py --out tests/data/hostile_text.json.gz [--show NAME]

Besides requirements.lock it needs `sentencepiece`, `protobuf` and `tiktoken`. `--show` prints why a case fails.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import json
import os
import resource
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import transformers
from hostile.cases import CASES
from transformers import AutoTokenizer

TEXTS = ["the quick brown", "a ab  abc\n", "ünï 12 ▁x", "", "<unk> [MASK] <new> <s>"]
SECONDS = 60


def lay(files: dict, folder: Path) -> None:
    """Writes the files of a case: text, bytes in base64, or a text that is repeated."""
    for name, content in files.items():
        if isinstance(content, str):
            (folder / name).write_bytes(content.encode())
        elif "base64" in content:
            (folder / name).write_bytes(base64.b64decode(content["base64"]))
        elif "repeat" in content:
            before, unit, count, after = content["repeat"]
            (folder / name).write_text(before + unit * count + after)
        else:
            (folder / name).mkdir()


def ids(tokenizer, text: str) -> list[int] | None:  # noqa: ANN001
    """The ids of a text; nothing where that fails."""
    try:
        return tokenizer([text], truncation=False)["input_ids"][0]
    except BaseException as error:  # noqa: BLE001  (the backend's panics are no exceptions)
        if isinstance(error, KeyboardInterrupt):
            raise
        return None


def outcome(case: dict, show: bool) -> list | str:
    """What becomes of the texts, or that the tokenizer is not made."""
    with tempfile.TemporaryDirectory() as folder:
        lay(case["files"], Path(folder))
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder)
        except BaseException:  # noqa: BLE001
            if show:
                traceback.print_exc()
            return "error"
        return [ids(tokenizer, text) for text in TEXTS]


def apart(case: dict) -> list | str:
    """The same in a process of its own, since some cases end it."""
    reader, writer = os.pipe()
    if (child := os.fork()) == 0:
        resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
        signal.alarm(SECONDS)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        found = json.dumps(outcome(case, show=False))
        with os.fdopen(writer, "w") as pipe:
            pipe.write(found)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    return json.loads(found) if found else "error"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--show")
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    os.environ["TIKTOKEN_CACHE_DIR"] = ""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if options.show:
        print(outcome(next(case for case in CASES if case["name"] == options.show), show=True))
        return
    cases = []
    for case in CASES:
        found = apart(case) if case.get("python", True) else "error"
        print(f"{case['name']}: {'error' if found == 'error' else 'loads'}", file=sys.stderr)
        cases.append({**case, "expected": None if found == "error" else found})
    content = json.dumps({"transformers": transformers.__version__, "texts": TEXTS, "cases": cases}, ensure_ascii=False, separators=(",", ":"))
    options.out.write_bytes(gzip.compress(content.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
