"""Makes the reference cases of architectures from their registry entries.

python reference/make_cases.py bert gpt2      these
python reference/make_cases.py --all          every entry
python reference/make_cases.py --check bert   makes them again elsewhere and compares with what is committed
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

from cases import make
from cases.entry import CASES, CaseSpec, all_model_types, find, load


def make_all(model_type: str, target: Path, only: list[str]) -> None:
    """Makes the cases of one architecture below `target`, replacing them."""
    entry = load(find(model_type))
    home = target / model_type
    home.mkdir(parents=True, exist_ok=True)
    wanted = [spec for spec in entry.cases if not only or spec.name in only]
    if not only:
        for stale in home.iterdir():
            shutil.rmtree(stale) if stale.is_dir() else stale.unlink()
    (home / "defaults.json").write_text(make.defaults(model_type))
    for spec in wanted:
        shutil.rmtree(home / spec.name, ignore_errors=True)
        try:
            case = make.from_entry(entry, spec, home / spec.name)
        except Exception as error:
            raise RuntimeError(f"{model_type}/{spec.name} ({spec.class_name}): {error}") from error
        print(summary(model_type, spec, case, home / spec.name), flush=True)


def summary(model_type: str, spec: CaseSpec, case: dict, folder: Path) -> str:
    """One line per case: noise, spread of the outputs, size, and weights that matter for nothing."""
    tensors = load_file(folder / "case.safetensors")
    spread = []
    for name in case["outputs"]:
        value = tensors[f"output.{name}"]
        if value.is_floating_point() and "hidden_states" not in name:
            spread.append(f"{name} {value.double()[value.isfinite()].std(correction=0).item():.2g}")
    size = sum(file.stat().st_size for file in folder.iterdir())
    margin = f", margin {case['greedy_margin']}" if "greedy_margin" in case else ""
    dead = f"\n    insensitive: {', '.join(case['insensitive'])}" if case["insensitive"] else ""
    noise = max(case["noise"].values())
    return (
        f"{model_type}/{spec.name}: seed {case['seed']}, noise {noise}, std {', '.join(spread)}{margin}, {size} B{dead}"
    )


def differences(made: Path, committed: Path) -> list[str]:
    """How two folders of cases differ: numbers may do so within rounding, everything else not at all."""
    files = {path.relative_to(made) for path in made.rglob("*") if path.is_file()}
    there = {path.relative_to(committed) for path in committed.rglob("*") if path.is_file()}
    found = [f"{path}: only on one side" for path in sorted(files ^ there)]
    for path in sorted(files & there):
        first, second = (made / path), (committed / path)
        if first.read_bytes() == second.read_bytes():
            continue
        if path.name == "case.safetensors":
            noise = json.loads((second.parent / "case.json").read_text())["noise"]
            one, two = load_file(first), load_file(second)
            for name in sorted(one.keys() | two.keys()):
                if name not in one or name not in two or one[name].shape != two[name].shape:
                    found.append(f"{path}: `{name}` differs in kind")
                    continue
                gap = make.run.difference(one[name], two[name])
                scale = max(1.0, one[name].double().abs().max().item()) if one[name].numel() else 1.0
                if gap > max(8 * noise.get(name.removeprefix("output."), 0.0), 1e-5 * scale):
                    found.append(f"{path}: `{name}` differs by {gap:.2g}")
        elif path.name == "case.json":
            one, two = json.loads(first.read_text()), json.loads(second.read_text())
            measured = {"noise", "gradient_noise", "greedy_margin"}
            found += [
                f"{path}: `{key}` differs"
                for key in sorted(one.keys() | two.keys())
                if key not in measured and one.get(key) != two.get(key)
            ]
        else:
            found.append(f"{path}: differs")
    return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_types", nargs="*")
    parser.add_argument("--all", action="store_true", help="every entry of the registry")
    parser.add_argument("--check", action="store_true", help="compare with the committed cases instead of writing them")
    parser.add_argument("--case", action="append", default=[], help="only this case (may be repeated)")
    arguments = parser.parse_args()
    names = all_model_types() if arguments.all else arguments.model_types
    if not names:
        parser.error("name an architecture, or pass --all")
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    failed = []
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) if arguments.check else CASES
            make_all(name, target, arguments.case)
            if arguments.check:
                failed += [f"{name}/{line}" for line in differences(target / name, CASES / name)]
    for line in failed:
        print(line, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
