"""The counter-based generator of weights, inputs and projections; equal to `src/weights/seeded.rs`."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch

MASK = (1 << 64) - 1
GOLDEN = 0x9E3779B97F4A7C15


def fnv1a64(text: str) -> int:
    """64-bit FNV-1a hash of the UTF-8 bytes of `text`."""
    value = 0xCBF29CE484222325
    for byte in text.encode():
        value = ((value ^ byte) * 0x100000001B3) & MASK
    return value


def draw(seed: int, name: str, shape: Sequence[int], low: float, high: float) -> torch.Tensor:
    """Doubles in `[low, high)`: value i is splitmix64 at counter i + 1 from the key made of `seed` and `name`."""
    count = math.prod(shape)
    key = fnv1a64(name) ^ (seed * GOLDEN & MASK)
    z = np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(GOLDEN)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    fraction = (z >> np.uint64(40)).astype(np.float64) / float(1 << 24)
    return torch.from_numpy(low + (high - low) * fraction).reshape(tuple(shape))


def integers(seed: int, name: str, shape: Sequence[int], low: int, high: int) -> torch.Tensor:
    """Integers in `[low, high)`."""
    return draw(seed, name, shape, low, high).floor().long()


def seeded(seed: int, name: str, row: Mapping[str, object]) -> torch.Tensor:
    """The tensor that a row of weights.json stands for."""
    dtype = getattr(torch, str(row["dtype"]))
    shape = list(row["shape"])  # type: ignore[call-overload]
    if "value" in row:
        return torch.full(shape, float(row["value"]), dtype=torch.float64).to(dtype)  # type: ignore[arg-type]
    values = draw(seed, name, shape, float(row["low"]), float(row["high"]))  # type: ignore[arg-type]
    return values.float().to(dtype) if dtype.is_floating_point else values.floor().to(dtype)


def value_range(name: str, shape: Sequence[int], overrides: Mapping[str, Sequence[float]]) -> tuple[float, float]:
    """The range a checkpoint tensor is drawn from, such that activations stay of order one and nothing is neutral.

    No bias is 0 and no norm weight 1; matrices get a standard deviation of 1/sqrt(fan-in).
    """
    for pattern, (low, high) in overrides.items():
        if fnmatch.fnmatchcase(name, pattern):
            return low, high
    leaf = name.rsplit(".", 1)[-1]
    if leaf == "num_batches_tracked":
        return 1, 9
    if leaf == "running_var" or leaf == "weight_g" or leaf == "original0" or len(shape) == 0:
        return 0.5, 1.5
    if len(shape) == 1:
        return (0.7, 1.3) if leaf in ("weight", "gamma", "scale") else (-0.3, 0.3)
    if is_table(name):
        return -1.0, 1.0
    bound = float(f"{math.sqrt(3 / math.prod(shape[1:])):.2g}")
    return -bound, bound


def is_table(name: str) -> bool:
    """Whether rows of the tensor are looked up or added (embeddings, special tokens) instead of multiplied."""
    owner = name.removesuffix(".weight").rsplit(".", 1)[-1]
    words = ("embed", "token", "shared", "codevectors", "relative_attention_bias", "relative_position_bias")
    return owner in ("wte", "wpe") or (any(word in owner for word in words) and "proj" not in owner)
