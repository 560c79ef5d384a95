"""Runs a model: outputs, their rounding noise, gradients, which weights matter, greedy decoding."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from transformers import GenerationConfig

from . import builders
from .draw import draw

Tensors = dict[str, torch.Tensor]

CACHES = ("past_key_values", "cache_params", "mems", "state")
TRACES = ("hidden_states", "attentions")


class InDouble(TorchFunctionMode):
    """Turns casts to float32 inside a model into casts to float64, so that a run in double is one throughout."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def swap(value: Any) -> Any:
            return torch.float64 if value is torch.float32 else value

        if func is torch.Tensor.float:
            func = torch.Tensor.double
        return func(*map(swap, args), **{key: swap(value) for key, value in (kwargs or {}).items()})


@contextmanager
def in_double() -> Iterator[None]:
    """Runs its body in float64, literals and inner casts included."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with InDouble():
            yield
    finally:
        torch.set_default_dtype(before)


def doubled(model: Any) -> Any:
    """A copy of `model` in float64, its experts computed one by one: the grouped product has no float64."""
    double = copy.deepcopy(model).double()
    double.config._experts_implementation = "eager"
    return double


def flatten(value: Any, name: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Every tensor of a ModelOutput by its dotted name, caches left out."""
    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            if key not in CACHES:
                yield from flatten(item, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for place, item in enumerate(value):
            yield from flatten(item, f"{name}.{place}" if name else str(place))


def forward(model: Any, inputs: Tensors, python_inputs: Mapping[str, Any]) -> Tensors:
    """Outputs by name. Only vocoders return a tensor as it is; it is called a waveform."""
    outputs = model(**inputs, **python_inputs)
    return dict(flatten({"waveform": outputs} if isinstance(outputs, torch.Tensor) else outputs))


def cast(inputs: Tensors) -> Tensors:
    """The inputs in float64."""
    return {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}


def unmasked(value: torch.Tensor) -> torch.Tensor:
    """Float64, with minus infinity for the lowest number of the precision, which stands for it where models mask."""
    wide = value.double()
    if not value.is_floating_point():
        return wide
    return wide.masked_fill(value == torch.finfo(value.dtype).min, -torch.inf)


def difference(first: torch.Tensor, second: torch.Tensor) -> float:
    """Largest absolute difference; equal infinities are equal, and so are the lowest numbers; a NaN is an error."""
    first, second = unmasked(first), unmasked(second)
    if first.isnan().any() or second.isnan().any():
        raise ValueError("an output is NaN")
    gap = (first - second).abs()
    gap[first == second] = 0
    if gap.isinf().any():
        raise ValueError("an output is infinite in one precision only")
    return gap.max().item() if gap.numel() else 0.0


def projected(name: str) -> bool:
    """Whether an output takes part in the scalar whose gradients are recorded: traces do not."""
    return not any(part.endswith(TRACES) for part in name.split("."))


def scalar(outputs: Tensors, seed: int) -> torch.Tensor:
    """The sum of the float outputs, each multiplied element by element with values drawn for its name."""
    total = torch.zeros((), dtype=torch.float64)
    for name in sorted(outputs):
        value = outputs[name]
        if value.is_floating_point() and projected(name):
            factors = draw(seed, f"output.{name}", list(value.shape), -1, 1).to(value.dtype)
            total = total + torch.where(value.isfinite(), value * factors, 0).sum()
    return total


def gradients(model: Any, inputs: Tensors, python_inputs: Mapping[str, Any], seed: int) -> Tensors:
    """Gradients of `scalar` by the model's parameter names; zeros where none arrive."""
    model.zero_grad()
    with torch.enable_grad():
        total = scalar(forward(model, inputs, python_inputs), seed)
        if total.requires_grad:
            total.backward()
    result = {
        name: torch.zeros_like(value) if value.grad is None else value.grad.clone()
        for name, value in model.named_parameters()
        if value.requires_grad
    }
    model.zero_grad()
    return result


def rows(saved: Tensors, names: list[str], seed: int) -> torch.Tensor:
    """Per gradient in checkpoint layout: its dot product with drawn values, and its L2 norm."""
    result = torch.zeros(len(names), 2, dtype=torch.float64)
    for place, name in enumerate(names):
        value = saved[name].double()
        factors = draw(seed, f"gradient.{name}", list(value.shape), -1, 1)
        result[place, 0] = (value * factors).sum()
        result[place, 1] = value.norm()
    return result


def insensitive(
    model: Any, origin: Tensors, names: list[str], inputs: Tensors, python_inputs: Mapping[str, Any]
) -> list[str]:
    """The checkpoint tensors that move no output when changed.

    `model` is in float64, where a tensor whose effect cancels shows as exactly that. `origin` says for each element of
    the model's parameters and buffers which tensor of `names` (counted from 1) it came from.
    """
    state = dict(model.named_parameters()) | dict(model.named_buffers())
    dead = []
    with torch.no_grad(), in_double():
        before = forward(model, inputs, python_inputs)
        for place, name in enumerate(names, 1):
            kept = {key: state[key].clone() for key, ids in origin.items() if (ids == place).any()}
            for key, value in kept.items():
                change = draw(place, f"perturb.{key}", list(value.shape), 0.02, 0.1)
                signs = draw(place, f"sign.{key}", list(value.shape), -1, 1).sign()
                changed = value + (change * signs if value.is_floating_point() else 1)
                state[key].copy_(torch.where(origin[key] == place, changed, value))
            after = forward(model, inputs, python_inputs)
            if not any(moved(before[key], after[key]) for key in before):
                dead.append(name)
            for key, value in kept.items():
                state[key].copy_(value)
    return dead


def moved(before: torch.Tensor, after: torch.Tensor) -> bool:
    """Whether two outputs in float64 differ by more than rounding."""
    wide = unmasked(before)
    finite = wide[wide.isfinite()]
    scale = finite.abs().max().item() if finite.numel() else 0.0
    return difference(before, after) > 1e-10 * max(scale, 1e-3)


def greedy(
    model: Any, prompt: torch.Tensor, others: Tensors, new_tokens: int, counted: bool
) -> tuple[torch.Tensor, float]:
    """Greedy decoding without cache: the ids, and the smallest gap between the best and the second-best logit.

    With `counted`, positions are passed counted from 0, as `generate` does even for models whose own begin elsewhere.
    The gap is 0 as well where decoding comes upon the token of an image, which nothing can stand for.
    """
    image = getattr(model.config, "image_token_id", None)
    encodes = model.config.is_encoder_decoder
    text = encodes and "input_ids" in inspect.signature(model.forward).parameters
    if text:
        ids = torch.full((prompt.shape[0], 1), model.config.decoder_start_token_id)
    else:
        ids = prompt
    margin = float("inf")
    for _ in range(new_tokens):
        if text:
            arguments = {"input_ids": prompt, "decoder_input_ids": ids}
        else:
            arguments = {"decoder_input_ids" if encodes else "input_ids": ids}
        if counted:
            arguments["position_ids"] = torch.arange(ids.shape[1]).expand(ids.shape)
        with torch.no_grad():
            logits = model(**others, **arguments, use_cache=False).logits[:, -1]
        best = logits.topk(2).values
        margin = min(margin, (best[:, 0] - best[:, 1]).min().item())
        chosen = logits.argmax(-1, keepdim=True)
        if image is not None and (chosen == image).any():
            return ids, 0.0
        ids = torch.cat([ids, chosen], dim=-1)
    return ids, margin


def generated_by_library(model: Any, prompt: torch.Tensor, others: Tensors, new_tokens: int) -> torch.Tensor:
    """What `generate` of transformers (with its cache) makes of the same prompt, without end of sequence."""
    model.generation_config = GenerationConfig(
        do_sample=False,
        max_new_tokens=new_tokens,
        decoder_start_token_id=getattr(model.config, "decoder_start_token_id", None),
    )
    if own := builders.GENERATE.get(type(model).__name__):
        return own(model, prompt, others)
    return model.generate(prompt, attention_mask=torch.ones_like(prompt), **others)
