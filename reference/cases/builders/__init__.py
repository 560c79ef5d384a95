"""Builders of arguments that only some families take: each module of this folder has a table `BUILDERS` of them.

A module may also have

    DEFAULT   {argument: condition of the context}: when cases pass an argument that entries need not `add`;
              without a line there, an argument of the table is passed wherever `forward` takes it
    SIZES     [(pattern of config keys, small number)], rules that go before those of `shrink`
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
GENERATE: dict[str, Callable[[Any, Any, dict[str, Any]], Any]] = {}

for found in sorted(pkgutil.iter_modules(__path__), key=lambda found: found.name):
    module = import_module(f"{__name__}.{found.name}")
    BUILDERS |= module.BUILDERS
    DEFAULT |= getattr(module, "DEFAULT", {})
    SIZES += getattr(module, "SIZES", [])
    GENERATE |= getattr(module, "GENERATE", {})
