"""Checkpoints as `save_pretrained` writes them: drawing them, loading them, and mapping between them and a model."""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from .draw import seeded, value_range

Tensors = dict[str, torch.Tensor]


class Layout:
    """Puts tensors as `save_pretrained` names them under the names of the checkpoint that a model came from."""

    def __init__(self, names: set[str], rules: Sequence[Sequence[str]] = ()) -> None:
        self.names, self.rules = names, rules

    def __call__(self, tensors: Tensors) -> Tensors:
        """The same tensors; it is an error if they are not those of the checkpoint."""
        result = tensors if set(tensors) == self.names else renamed(tensors, self.rules)
        if set(result) != self.names:
            raise ValueError(f"saving does not give the names that were loaded: {sorted(set(result) ^ self.names)}")
        return result


def saved(model: Any, values: Tensors | None = None) -> Tensors:
    """The tensors that `save_pretrained` writes; with `values` instead of the model's own parameters where given.

    Saving renames and rearranges linearly, so it puts gradients into the layout of the checkpoint too.
    """
    if values is not None:
        own = dict(model.named_parameters()) | dict(model.named_buffers())
        kept = {key: value.detach().clone() for key, value in own.items()}
        with torch.no_grad():
            try:
                for key, value in own.items():
                    value.copy_(values.get(key, torch.zeros_like(value)))
                return saved(model)
            finally:
                for key, value in own.items():
                    value.copy_(kept[key])
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder, max_shard_size="100GB")
        return {key: value.clone() for key, value in load_file(Path(folder) / "model.safetensors").items()}


def renamed(tensors: Tensors, rules: Sequence[Sequence[str]]) -> Tensors:
    """The tensors under the names that files on the hub use: a rule is a regular expression and what replaces it."""

    def rename(name: str) -> str:
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        return name

    result = {rename(name): value for name, value in tensors.items()}
    if len(result) != len(tensors):
        raise ValueError("`hub_names` gives two tensors one name")
    return result


def describe(tensors: Tensors, seed: int, overrides: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """The contents of weights.json for tensors of these names, shapes and dtypes."""
    full: dict[str, Any] = {}
    for name in sorted(tensors):
        value = tensors[name]
        if not value.is_floating_point() and not name.endswith("num_batches_tracked"):
            raise ValueError(f"checkpoint tensor `{name}` holds {value.dtype}: it needs a rule of its own")
        low, high = value_range(name, list(value.shape), overrides)
        dtype = str(value.dtype).removeprefix("torch.")
        full[name] = {"dtype": dtype, "low": plain(low), "high": plain(high)}
    # What most tensors have stands once.
    default = dict(Counter(tuple(row.items()) for row in full.values()).most_common(1)[0][0])
    rows = {
        name: {"shape": list(tensors[name].shape)} | {key: item for key, item in row.items() if item != default[key]}
        for name, row in full.items()
    }
    return {"seed": seed, "default": default, "tensors": rows}


def plain(value: float) -> float:
    """The number, as an integer where it is one."""
    return int(value) if value == int(value) else value


def drawn(weights: dict[str, Any]) -> Tensors:
    """The tensors that weights.json stands for."""
    default = weights.get("default", {})
    return {name: seeded(weights["seed"], name, default | row) for name, row in weights["tensors"].items()}


def names_in(folder: Path) -> set[str]:
    """Names of the tensors in the files of a checkpoint."""
    found: set[str] = set()
    for file in folder.glob("model*.safetensors"):
        with safe_open(file, "pt") as tensors:
            found |= set(tensors.keys())
    return found


def load(model_class: Any, folder: str | Path) -> Any:
    """Loads a checkpoint in float32 for inference; every tensor must be used and none may be missing."""
    model, report = model_class.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    wrong = {key: sorted(map(str, value)) for key, value in report.items() if value}
    if wrong:
        raise ValueError(f"{model_class.__name__} does not load its own checkpoint: {wrong}")
    return model.eval()


def load_tensors(model_class: Any, config: Any, tensors: Tensors) -> Any:
    """Loads `tensors` as a checkpoint with `config`."""
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        save_file(tensors, Path(folder) / "model.safetensors", metadata={"format": "pt"})
        return load(model_class, folder)


def origin(model_class: Any, config: Any, tensors: Tensors) -> tuple[list[str], Tensors]:
    """For each element of the model's state, which checkpoint tensor it is loaded from (from 1; 0: none)."""
    names = sorted(tensors)
    marked = {name: torch.full_like(tensors[name], place) for place, name in enumerate(names, 1)}
    model = load_tensors(model_class, config, marked)
    state = dict(model.named_parameters()) | dict(model.named_buffers())
    known = set(model.state_dict())
    return names, {
        key: value.detach().round().long() if key in known else torch.zeros_like(value).long()
        for key, value in state.items()
    }


def may_train(name: str, value: torch.Tensor) -> bool:
    """Whether a tensor of a checkpoint counts as a parameter unless a case says otherwise."""
    return value.is_floating_point() and name.rsplit(".", 1)[-1] not in ("running_mean", "running_var")


def trainable(model: Any, layout: Layout) -> list[str]:
    """Sorted checkpoint names of the parameters that training would change."""
    marks = {key: torch.ones_like(value) for key, value in model.named_parameters() if value.requires_grad}
    found = layout(saved(model, marks))
    return sorted(name for name, value in found.items() if value.is_floating_point() and (value == 1).all())
