"""Makes tests/data/fresh.json.gz: how the parameters of models that are not loaded are drawn, measured.

    python reference/fresh.py --out tests/data

Every class of the roster is built several times from the configuration of its first case, and its tensors are looked at
as `save_pretrained` writes them. Most follow one rule: biases and running means are 0, other vectors 1, and matrices are
normal with the standard deviation of the configuration. The file has the rest: what is constant, what is normal or
uniform (mean and standard deviation), what is the logarithm of something uniform (those of that), what is the same each
time ("fixed"), and what has a row of zeros ("row", alone where the other rows follow the rule).
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import re
import sys
import warnings
from pathlib import Path

import torch
import transformers
from cases import checkpoint

CASES = Path(__file__).parent.parent / "cases"
TIMES = 64


def measured(draws: list[torch.Tensor]) -> dict:
    """How values come about that differ from draw to draw, or not."""
    values = torch.stack(draws).double()
    first = values[0]
    if (values == first).all():
        if first.numel() and (first == first.flatten()[0]).all():
            return {"constant": round(float(first.flatten()[0]), 6)}
        return {"fixed": [round(float(first.mean()), 5), round(float(first.std()), 5)]}
    about: dict = {}
    if values.dim() == 3:
        rows = [row for row in range(values.shape[1]) if not values[:, row].any()]
        if len(rows) == 1 and values.shape[1] > 1:
            about["row"] = rows[0]
            values = torch.cat([values[:, : rows[0]], values[:, rows[0] + 1 :]], dim=1)
    name = "uniform" if is_flat(values) else "normal"
    if tailedness(values) > 4 and is_flat(values.exp()):
        name, values = "log-uniform", values.exp()
    deviation, mean = float(values.std()), float(values.mean())
    return about | {name: [float(f"{mean:.6g}"), float(f"{deviation:.6g}")], "count": values.numel()}


def tailedness(values: torch.Tensor) -> float:
    """The fourth moment: 1.8 of what is uniform, 3 of what is normal."""
    return float(((values - values.mean()) ** 4).mean()) / float(values.std()) ** 4


def is_flat(values: torch.Tensor) -> bool:
    """Whether values look uniform."""
    if values.numel() > 300:
        return tailedness(values) < 2.2
    return float((values - values.mean()).abs().max()) < 1.85 * float(values.std())


def is_regular(name: str, about: dict, dimensions: int, std: float) -> bool:
    """Whether the tensor follows the rule that most do."""
    last = name.rsplit(".", 1)[-1]
    if last in ("bias", "running_mean"):
        return about == {"constant": 0.0}
    if last == "running_var":
        return about == {"constant": 1.0}
    if last != "weight":
        return False
    if dimensions < 2:
        return about == {"constant": 1.0}
    if "normal" not in about:
        return False
    if abs(about["normal"][0]) > 4 * std / math.sqrt(about["count"]):
        return False
    return abs(about["normal"][1] / std - 1) < 4 / math.sqrt(2 * about["count"])


def facts(folder: Path, about: dict) -> dict:
    """What is irregular about the class of one case."""
    model_class = getattr(transformers, about["class"], None) or checkpoint_class(about["class"])
    draws = []
    for seed in range(TIMES):
        torch.manual_seed(seed)
        model = model_class(model_class.config_class.from_pretrained(folder))
        draws.append(checkpoint.saved(model))
    config = json.loads((folder / "config.json").read_text())
    spread = [config.get(field) for field in ("initializer_range", "init_std")]
    std = next((value for value in spread if value), 0.02)
    rows, regular = {}, {}
    for name in draws[0]:
        if not draws[0][name].is_floating_point():
            continue
        row = measured([draw[name] for draw in draws])
        if not is_regular(name, row, draws[0][name].dim(), std):
            rows[name] = row
        elif "row" in row:
            rows[name] = {"row": row["row"]}
        else:
            regular[name] = row
    return {"std": std, "irregular": folded(rows, regular, {name: tensor.shape for name, tensor in draws[0].items()})}


def pattern_of(name: str) -> str:
    """The name of the tensor in any layer."""
    return re.sub(r"\.\d+(?=\.|$)", ".*", name)


def folded(rows: dict, regular: dict, shapes: dict) -> dict:
    """One row for all layers whose tensors are of one shape and come about alike.

    Where some layers follow the rule and others do not, those that do have rows of their own.
    """
    result: dict = {}
    first: dict = {}
    for name, row in rows.items():
        pattern = pattern_of(name)
        shape = first.setdefault(pattern, shapes[name])
        if pattern not in result:
            result[pattern] = row
        elif shape != shapes[name] or not alike(result[pattern], row):
            result[name] = row
    for name, row in regular.items():
        found = result.get(pattern_of(name))
        if found is not None and not alike(found, row):
            result[name] = row
    return result


def alike(one: dict, other: dict) -> bool:
    """Whether two measurements are of one way of drawing."""
    if set(one) != set(other):
        return False
    for kind in ("normal", "uniform", "log-uniform"):
        if kind in one:
            slack = 1 + 6 / math.sqrt(2 * min(one["count"], other["count"]))
            larger, smaller = max(one[kind][1], other[kind][1]), min(one[kind][1], other[kind][1])
            return larger < slack * smaller and one.get("row") == other.get("row")
    return one == other


def checkpoint_class(name: str) -> type:
    """A class that transformers does not export."""
    for module in list(sys.modules.values()):
        if getattr(module, "__name__", "").startswith("transformers.models") and hasattr(module, name):
            return getattr(module, name)
    raise LookupError(name)


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("only", nargs="*")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    lines, seen = [], set()
    for path in sorted(CASES.glob("*/*/case.json")):
        about = json.loads(path.read_text())
        key = (about["model_type"], about["class"])
        if key in seen or path.parent.name.startswith("hub-") or (arguments.only and key[0] not in arguments.only):
            continue
        seen.add(key)
        name = f"{path.parent.parent.name}/{path.parent.name}"
        row = json.dumps(facts(path.parent, about), separators=(",", ":"))
        lines.append(f"    {json.dumps(name)}: {row}")
    head = f'{{\n  "transformers": "{transformers.__version__}",\n  "cases": {{\n'
    text = head + ",\n".join(lines) + "\n  }\n}\n"
    (arguments.out / "fresh.json.gz").write_bytes(gzip.compress(text.encode(), 9, mtime=0))


if __name__ == "__main__":
    main()
