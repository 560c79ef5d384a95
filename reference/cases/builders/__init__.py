"""Builders of arguments that only some families take: each module of this folder has a table `BUILDERS` of them.

A module may also have

    DEFAULT   {argument: condition of the context}: when cases pass an argument that entries need not `add`;
              without a line there, an argument of the table is passed wherever `forward` takes it
    SIZES     [(pattern of config keys, small number)], rules that go before those of `shrink`

and, each by the `model_type` of the whole config,

    OWN           {argument: builder} that stand in place of others, passed wherever `forward` takes them
    PLACEHOLDERS  what of a row's tokens stands for images, video or audio: a function of context and row, which gives
                  their ids in order, with None for each token of text between them
    GROWING       {argument: function of context, ids and the prompt's length}: arguments that follow the ids in
                  greedy decoding
    GENERATE  {class: function of model, prompt and other inputs}: what to compare greedy decoding with where the
              class's own `generate` changes the prompt
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module
from typing import Any

BUILDERS: dict[str, Callable[[Any], Any]] = {}
DEFAULT: dict[str, Callable[[Any], bool]] = {}
SIZES: list[tuple[str, int]] = []
OWN: dict[str, dict[str, Callable[[Any], Any]]] = {}
PLACEHOLDERS: dict[str, Callable[[Any, int], list[int | None]]] = {}
GROWING: dict[str, dict[str, Callable[[Any, Any, int], Any]]] = {}
GENERATE: dict[str, Callable[[Any, Any, dict[str, Any]], Any]] = {}

for found in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name):
    module = import_module(f"{__name__}.{found.name}")
    BUILDERS |= module.BUILDERS
    DEFAULT |= getattr(module, "DEFAULT", {})
    SIZES += getattr(module, "SIZES", [])
    OWN |= getattr(module, "OWN", {})
    PLACEHOLDERS |= getattr(module, "PLACEHOLDERS", {})
    GROWING |= getattr(module, "GROWING", {})
    GENERATE |= getattr(module, "GENERATE", {})
