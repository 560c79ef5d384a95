"""Makes tests/data/languages.json: what models of many languages read and write for texts in one and into another.

    python reference/languages.py --out tests/data/languages.json

The checkpoints are those of reference/text_checkpoints.py. A text is left out where a little noise on the scores
changes what is written for it.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import transformers
from pipelines import NOISE, folder_of
from text_checkpoints import template

TEXTS = [
    "The capital of France is Paris.",
    "Der schnelle braune Fuchs springt über den faulen Hund.",
    "ok",
    "Les enfants mangent  des pommes, 日本 and 😀",
    "",
]

# These models would write the language again and again.
ONCE = {"no_repeat_ngram_size": 1}
# Checkpoint, source, target, what tokenizer_config.json says otherwise, settings of the generation.
RUNS: list[tuple[str, str | None, str | None, dict[str, Any], dict[str, Any]]] = [
    ("mbart", None, "ro_RO", {}, {}),
    ("mbart", "ro_RO", "en_XX", {}, {}),
    ("mbart", "zh_CN", None, {}, {"num_beams": 3}),
    ("mbart", None, "de_DE", {"src_lang": "fr_XX"}, {}),
    ("mbart50", None, "sl_SI", {}, {}),
    ("mbart50", "uk_UA", "de_DE", {}, {"num_beams": 2}),
    ("nllb", None, "fra_Latn", {}, ONCE),
    ("nllb", "zho_Hant", "deu_Latn", {}, ONCE | {"num_beams": 2}),
    ("nllb", "ace_Arab", "eng_Latn", {"legacy_behaviour": True}, ONCE),
    ("nllb", None, "por_Latn", {"src_lang": "deu_Latn"}, ONCE),
    ("m2m100", "en", "fr", {}, ONCE),
    ("m2m100", "zh", "ro", {}, ONCE | {"num_beams": 2}),
    ("m2m100", None, "de", {}, ONCE),
]


def recorded(
    name: str, source: str | None, target: str | None, changes: dict[str, Any], settings: dict[str, Any]
) -> list[dict[str, Any]]:
    """The texts of one run, as they stand in the file."""
    with tempfile.TemporaryDirectory() as folder:
        place = folder_of(name, {}, Path(folder))
        file = place / "tokenizer_config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | changes))
        tokenizer = transformers.AutoTokenizer.from_pretrained(place)
        model = transformers.AutoModelForSeq2SeqLM.from_pretrained(place, dtype=torch.float32).eval()
    forced = {}
    if name == "m2m100":
        source, target = (code and f"__{code}__" for code in (source, target))
        if source:
            tokenizer.backend_tokenizer.post_processor = template(tokenizer.backend_tokenizer, source)
    elif source:
        tokenizer.src_lang = source
    if target:
        forced["forced_bos_token_id"] = tokenizer.convert_tokens_to_ids(target)
    noise = [0.0]

    def moved(_module: Any, _arguments: Any, output: Any) -> None:
        output.logits = output.logits + noise[0] * torch.randn_like(output.logits)

    model.register_forward_hook(moved)
    torch.manual_seed(0)
    texts = []
    for text in TEXTS:
        inputs = tokenizer(text, return_tensors="pt")
        inputs.pop("token_type_ids", None)
        rows = []
        for scale in (0.0, NOISE, NOISE, NOISE):
            noise[0] = scale
            rows.append(model.generate(**inputs, **forced, **settings)[0].tolist())
        if all(row == rows[0] for row in rows):
            written = tokenizer.decode(rows[0], skip_special_tokens=True)
            read = inputs["input_ids"][0].tolist()
            texts.append({"text": text, "read": read, "ids": rows[0][1:], "written": written})
    print(f"{name}, {source} to {target}: {len(texts)} of {len(TEXTS)}")
    assert texts, "every text is left out"
    return texts


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="the file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    names = ("checkpoint", "src_lang", "tgt_lang", "tokenizer", "settings")
    rows = [dict(zip(names, run, strict=True)) | {"texts": recorded(*run)} for run in RUNS]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    head = json.dumps({"transformers": transformers.__version__, "torch": torch.__version__})[1:-1]
    arguments.out.write_text(f'{{{head},"runs":[\n{lines}\n]}}\n')
    print(f"{arguments.out}: {arguments.out.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
