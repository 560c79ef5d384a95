"""Registry entries, and the cases each of them asks for."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
REGISTRY = ROOT / "registry"
CASES = ROOT / "cases"

LAYERS = re.compile(r"num_hidden_layers|n_layers?|num_layers|depths?|(num_)?(encoder|decoder)_(num_hidden_)?layers")
LAYER_LISTS = re.compile(r"(mlp_)?layer_types")
GENERATING = {
    "text-generation", "text2text-generation", "automatic-speech-recognition", "image-text-to-text", "image-to-text",
    "any-to-any", "audio-text-to-text", "video-text-to-text",
}  # fmt: skip


@dataclass(frozen=True)
class CaseSpec:
    """One case to make: which class, with which config overrides and input options."""

    name: str
    class_name: str
    tasks: tuple[str, ...]
    tiny: dict[str, Any]
    inputs: dict[str, Any]

    @property
    def traced(self) -> bool:
        """Whether hidden states are recorded."""
        return "feature-extraction" in self.tasks

    @property
    def shallow(self) -> bool:
        """Whether one layer will do: what several layers and a cache of theirs do is shown by the other cases."""
        return not self.traced and not GENERATING & set(self.tasks)


@dataclass(frozen=True)
class Entry:
    """One architecture of the roster."""

    model_type: str
    category: str
    cases: list[CaseSpec] = field(default_factory=list)


def merge(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """`base` overridden by `change`, table by table; a table that names another `model_type` replaces the whole."""
    result = dict(base)
    for key, value in change.items():
        old = result.get(key)
        if (
            isinstance(old, dict)
            and isinstance(value, dict)
            and value.get("model_type", old.get("model_type")) == old.get("model_type")
        ):
            result[key] = merge(old, value)
        else:
            result[key] = value
    return result


def lowered(sizes: dict[str, Any]) -> dict[str, Any]:
    """The sizes with one layer wherever several are asked for."""

    def low(key: str, value: Any) -> Any:
        if isinstance(value, dict):
            return lowered(value)
        if LAYERS.fullmatch(key):
            return [1] * len(value) if isinstance(value, list) else 1
        if LAYER_LISTS.fullmatch(key):
            return value[:1]
        return value

    return {key: low(key, value) for key, value in sizes.items()}


def load(path: Path) -> Entry:
    """Reads one entry; the folder it lies in is its category."""
    data = tomllib.loads(path.read_text())
    tiny, inputs = data.get("tiny", {}), data.get("inputs", {})
    common = {key: value for key, value in inputs.items() if key != "cases"}
    of_case: dict[str, dict[str, Any]] = inputs.get("cases", {})

    tasks: dict[str, list[str]] = {}
    for task, class_name in data.get("tasks", {}).items():
        tasks.setdefault(class_name, []).append(task)

    def spec(name: str, class_name: str, own: dict[str, Any], named: tuple[str, ...]) -> CaseSpec:
        options = merge(merge(common, of_case.get(name, {})), own.get("inputs", {}))
        change = merge(options.pop("tiny", {}), own.get("tiny", {}))
        made = CaseSpec(name, class_name, named, tiny, options)
        return replace(made, tiny=merge(lowered(tiny) if made.shallow else tiny, change))

    cases = [spec(named[0], class_name, {}, tuple(named)) for class_name, named in tasks.items()]
    for part, row in data.get("parts", {}).items():
        cases.append(spec(part, row["class"] if isinstance(row, dict) else row, {}, ("feature-extraction",)))
    for name, row in data.get("cases", {}).items():
        cases.append(spec(name, row["class"], row, ()))
    return Entry(data["model_type"], path.parent.name, cases)


def find(model_type: str) -> Path:
    """The file of an architecture's entry."""
    found = sorted(REGISTRY.glob(f"*/{model_type}.toml"))
    if len(found) != 1:
        raise SystemExit(f"{len(found)} entries for `{model_type}` below {REGISTRY}; there must be one")
    return found[0]


def all_model_types() -> list[str]:
    """Every architecture with an entry."""
    return sorted(path.stem for path in REGISTRY.glob("*/*.toml") if path.parent.name != "src")
