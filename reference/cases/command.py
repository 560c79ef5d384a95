"""What the commands that write data for tests have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import transformers


def out_folder(description: str | None) -> Path:
    """The folder that `--out` names, made where it is missing; torch runs in one thread, and nothing is said meanwhile."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the file")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    out.mkdir(parents=True, exist_ok=True)
    return out
