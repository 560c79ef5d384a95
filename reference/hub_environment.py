"""Makes tests/data/hub_environment.json: what variables mean to `huggingface_hub`.

    python reference/hub_environment.py --out tests/data

Each case is looked at by a process of its own with nothing but its variables. `FOLDER` stands for a folder with two
files, `token` and `named`, that hold tokens.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

LOOK = """
import json
from huggingface_hub import constants
from huggingface_hub.utils import build_hf_headers
said = build_hf_headers().get("authorization")
print(json.dumps({
    "cache": constants.HF_HUB_CACHE,
    "endpoint": constants.ENDPOINT,
    "token": said and said.removeprefix("Bearer "),
    "offline": constants.is_offline_mode(),
}))
"""

HOME = {"HOME": "/home/her"}

CASES: list[dict[str, str]] = [
    {},
    {"XDG_CACHE_HOME": "/caches"},
    {"XDG_CACHE_HOME": "~/caches"},
    {"HF_HOME": "/hf", "XDG_CACHE_HOME": "/caches"},
    {"HF_HOME": "~/hf"},
    {"HF_HOME": "$PLACE/hf", "PLACE": "/place"},
    {"HF_HOME": "${PLACE}/hf-$UNKNOWN/$", "PLACE": "/place"},
    {"HF_HOME": "/hf", "HF_HUB_CACHE": "/cache"},
    {"HF_HUB_CACHE": "~/cache/$PLACE", "PLACE": "place"},
    {"HF_HOME": "/hf", "HUGGINGFACE_HUB_CACHE": "/older"},
    {"HF_HUB_CACHE": "/cache", "HUGGINGFACE_HUB_CACHE": "/older"},
    {"HF_ENDPOINT": "https://hub.example/"},
    {"HF_ENDPOINT": "http://hub.example:8080/path"},
    {"HF_HOME": "FOLDER"},
    {"HF_HOME": "FOLDER", "HF_TOKEN": "own"},
    {"HF_HOME": "FOLDER", "HF_TOKEN": " own\n"},
    {"HF_HOME": "FOLDER", "HF_TOKEN": ""},
    {"HF_HOME": "FOLDER", "HF_TOKEN": " "},
    {"HF_HOME": "FOLDER", "HF_TOKEN_PATH": "FOLDER/named"},
    {"HF_HOME": "FOLDER", "HF_TOKEN_PATH": "$PLACE/named", "PLACE": "FOLDER"},
    {"HF_HOME": "FOLDER", "HF_TOKEN_PATH": "FOLDER/missing"},
    {"HF_TOKEN": "own", "HF_TOKEN_PATH": "FOLDER/named"},
    {"HUGGING_FACE_HUB_TOKEN": "older"},
    {"HUGGING_FACE_HUB_TOKEN": "older", "HF_TOKEN": "own"},
    {"HF_TOKEN": "own", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"},
    {"HF_TOKEN": "own", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "0"},
    {"HF_HUB_OFFLINE": "1"},
    {"HF_HUB_OFFLINE": "Yes"},
    {"HF_HUB_OFFLINE": "0"},
    {"HF_HUB_OFFLINE": "2"},
    {"TRANSFORMERS_OFFLINE": "TRUE"},
    {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "1"},
    {"HF_HUB_OFFLINE": "", "TRANSFORMERS_OFFLINE": "on"},
    {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "0"},
]


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out: Path = parser.parse_args().out
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "token").write_text("stored")
        (Path(folder) / "named").write_text(" named\n")
        for case in CASES:
            variables = HOME | {name: value.replace("FOLDER", folder) for name, value in case.items()}
            run = subprocess.run([sys.executable, "-c", LOOK], env=variables, capture_output=True, text=True, check=True)
            rows.append(json.dumps({"set": HOME | case} | json.loads(run.stdout.replace(folder, "FOLDER"))))
    (out / "hub_environment.json").write_text("[\n  " + ",\n  ".join(rows) + "\n]\n")


if __name__ == "__main__":
    main()
