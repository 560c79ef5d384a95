"""Makes a case of a checkpoint of your own, with its weights as they are.

    python reference/make_case.py --checkpoint DIR --class BertForMaskedLM --out CASE [--inputs FILE.safetensors]

Without --inputs the arguments of `forward` are drawn as for the committed cases. A file of inputs holds the tensors of
`forward` by argument name and, for greedy decoding, `prompt_ids`; names may begin with `input.`.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

from cases import make


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="folder with config.json and model.safetensors")
    parser.add_argument("--class", dest="class_name", required=True, help="class of transformers to load it with")
    parser.add_argument("--out", type=Path, required=True, help="folder of the case; it must not exist")
    parser.add_argument("--inputs", type=Path, help="safetensors file with the arguments of forward")
    parser.add_argument(
        "--options", type=json.loads, default={}, help='options of the input builder, as JSON: {"length": 12}'
    )
    arguments = parser.parse_args()
    if not hasattr(transformers, arguments.class_name):
        parser.error(f"transformers {transformers.__version__} has no class {arguments.class_name}")
    if not (arguments.checkpoint / "config.json").is_file():
        parser.error(f"no config.json in {arguments.checkpoint}")
    if arguments.out.exists():
        parser.error(f"{arguments.out} exists already")
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    inputs = None
    if arguments.inputs:
        inputs = {name.removeprefix("input."): value for name, value in load_file(arguments.inputs).items()}
    case = make.from_checkpoint(arguments.checkpoint, arguments.class_name, arguments.out, inputs, arguments.options)
    print(f"{arguments.out}: {len(case['outputs'])} outputs, noise {max(case['noise'].values(), default=0.0)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
