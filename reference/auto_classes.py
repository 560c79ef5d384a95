"""Makes tests/data/auto_classes.json: which class each Auto class of transformers stands for, by `model_type`.

    python reference/auto_classes.py --out tests/data

Rows are the architectures of the roster and their parts; where a mapping lists several classes, the first is the one
that stands for a configuration without `architectures`.
"""

from __future__ import annotations

import argparse
import json
import tomllib
from pathlib import Path

import transformers
from transformers.models.auto import modeling_auto

REGISTRY = Path(__file__).parent.parent / "registry"


def model_types() -> list[str]:
    """All architectures of the roster and all their parts."""
    entries = [tomllib.loads(path.read_text()) for path in REGISTRY.glob("*/*.toml")]
    return sorted({name for entry in entries for name in (entry["model_type"], *entry.get("parts", ()))})


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    classes = {}
    for name in sorted(vars(modeling_auto)):
        mapping = getattr(getattr(modeling_auto, name), "_model_mapping", None)
        if not name.startswith("Auto") or mapping is None:
            continue
        names = mapping._model_mapping
        rows = {known: names[known] for known in model_types() if names.get(known)}
        classes[name] = {known: row if isinstance(row, str) else row[0] for known, row in rows.items()}
    rows = [f"    {json.dumps(name)}: {json.dumps(row)}" for name, row in classes.items() if row]
    head = f'{{\n  "transformers": "{transformers.__version__}",\n  "classes": {{\n'
    (out / "auto_classes.json").write_text(head + ",\n".join(rows) + "\n  }\n}\n")


if __name__ == "__main__":
    main()
