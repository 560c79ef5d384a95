"""Makes one case: model, weights, inputs, outputs and everything known about them, and writes its folder."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import save_file
from transformers import CONFIG_MAPPING

from . import checkpoint, run
from .entry import GENERATING, CaseSpec, Entry
from .inputs import TEXT_ARGUMENTS, Context, build, growing, prompt_ids, python_arguments
from .shrink import config_for

Tensors = dict[str, torch.Tensor]

NEW_TOKENS = 6
MARGIN = 1e-2
SEEDS = 40


@dataclass
class Subject:
    """A loaded model, its copy in float64, and the inputs of its case."""

    model_class: Any
    model: Any
    context: Context
    inputs: Tensors
    python_inputs: dict[str, Any]
    layout: checkpoint.Layout
    double: Any = None

    def __post_init__(self) -> None:
        self.double = run.doubled(self.model)


def compact(value: Any) -> str:
    """JSON with one top-level key a line and nothing else between the values."""
    if isinstance(value, dict) and value:
        rows = [
            f"{json.dumps(str(key))}:{json.dumps(item, separators=(',', ':'), sort_keys=True)}"
            for key, item in value.items()
        ]
        return "{\n" + ",\n".join(rows) + "\n}\n"
    return json.dumps(value) + "\n"


def rounded(value: float) -> float:
    """Two significant digits, enough for a noise figure."""
    return float(f"{value:.1e}")


@dataclass
class Decoded:
    """Greedy decoding: its tensors, and the smallest margin of its choices; none where the case does not show it."""

    tensors: Tensors
    margin: float | None = None

    @property
    def clear(self) -> bool:
        """Whether no step was a near tie."""
        return self.margin is None or self.margin > MARGIN

    @property
    def varied(self) -> bool:
        """Whether decoding does more than repeat a token or two."""
        ids = self.tensors.get("output.generated_ids")
        return ids is None or all(len(row.unique()) >= 4 for row in ids[:, -NEW_TOKENS:])


def decode(subject: Subject, tasks: tuple[str, ...]) -> Decoded:
    """Decodes greedily, if the class generates and one of `tasks`, or the option, asks for it."""
    shown = GENERATING & set(tasks) or subject.context.options.get("greedy", False)
    if not shown or not subject.model.can_generate():
        return Decoded({})
    prompt = prompt_ids(subject.context)

    def follow(ids: torch.Tensor) -> Tensors:
        return growing(subject.context, ids, prompt.shape[1])

    apart = TEXT_ARGUMENTS | set(follow(prompt))
    others = {name: value for name, value in subject.inputs.items() if name not in apart}
    counted = subject.context.options.get("greedy_position_ids", False)
    ids, margin = run.greedy(subject.model, prompt, others, NEW_TOKENS, counted, follow)
    if margin == 0:
        return Decoded({}, margin)
    # Speech models bring a `generate` of their own, with rules beyond greedy decoding.
    if margin > MARGIN and "input_ids" in subject.inputs and "encoder_outputs" not in others:
        library = run.generated_by_library(subject.model, prompt, others | follow(prompt), NEW_TOKENS)
        if not torch.equal(library, ids):
            raise ValueError(f"generate gives {library.tolist()}, decoding without a cache {ids.tolist()}")
    return Decoded({"input.prompt_ids": prompt, "output.generated_ids": ids}, margin)


def observe(subject: Subject, seed: int, decoded: Decoded) -> tuple[Tensors, dict[str, Any]]:
    """Everything measured: tensors of case.safetensors and the fields of case.json."""
    python_inputs, inputs = subject.python_inputs, subject.inputs
    with torch.no_grad():
        single = run.forward(subject.model, inputs, python_inputs)
        with run.in_double():
            double = run.forward(subject.double, run.cast(inputs), python_inputs)
    noise = {name: rounded(run.difference(value, double[name])) for name, value in single.items()}

    names = checkpoint.trainable(subject.model, subject.layout)
    grads = run.gradients(subject.model, inputs, python_inputs, seed)
    with run.in_double():
        grads_double = run.gradients(subject.double, run.cast(inputs), python_inputs, seed)
    in_layout = subject.layout(checkpoint.saved(subject.model, grads))
    table = run.rows(in_layout, names, seed).float()
    exact = run.rows(subject.layout(checkpoint.saved(subject.double, grads_double)), names, seed)
    largest = table[:, 1].max().item() if names else 0.0
    gap = (table.double() - exact).abs().max().item() / largest if largest else 0.0
    buffers = sorted({name for name, value in in_layout.items() if checkpoint.may_train(name, value)} - set(names))

    tensors = {f"input.{name}": value for name, value in inputs.items()}
    tensors |= {f"output.{name}": value.contiguous() for name, value in single.items()}
    tensors["gradients"] = table
    facts: dict[str, Any] = {
        "inputs": sorted(inputs),
        "outputs": list(single),
        "python_inputs": python_inputs,
        "noise": noise,
        "gradient_noise": rounded(gap),
    }
    if buffers:
        facts["gradients_without"] = buffers
    tensors |= decoded.tensors
    if decoded.margin is not None:
        facts["greedy_margin"] = rounded(decoded.margin)
    return tensors, facts


def class_named(name: str, model_type: str) -> Any:
    """The class of transformers; a few towers stand in their modules alone."""
    if hasattr(transformers, name):
        return getattr(transformers, name)
    return getattr(import_module(CONFIG_MAPPING[model_type].__module__.replace("configuration_", "modeling_")), name)


def from_entry(entry: Entry, spec: CaseSpec, folder: Path) -> dict[str, Any]:
    """Makes a case of an entry: drawn weights, small sizes. Returns case.json."""
    model_class = class_named(spec.class_name, entry.model_type)
    tiny = spec.tiny | dict.fromkeys(spec.inputs.get("null", ()))
    config = config_for(model_class, CONFIG_MAPPING[entry.model_type], tiny, spec.shallow)
    hub_names = spec.inputs.get("hub_names", ())
    shapes = checkpoint.renamed(checkpoint.saved(model_class(config)), hub_names)
    shapes |= {name: shapes[other].clone() for name, other in spec.inputs.get("own_tensors", {}).items()}
    layout = checkpoint.Layout(set(shapes), hub_names)
    overrides = spec.inputs.get("ranges", {})
    found: tuple[Any, ...] | None = None
    for seed in range(1, SEEDS):
        weights = checkpoint.describe(shapes, seed, overrides)
        tensors = checkpoint.drawn(weights)
        model = checkpoint.load_tensors(model_class, config, tensors)
        context = Context(model, spec.class_name, entry.category, spec.inputs, seed)
        subject = Subject(model_class, model, context, build(context), python_arguments(context, spec.traced), layout)
        decoded = decode(subject, spec.tasks)
        if decoded.clear:
            if decoded.varied:
                found = (weights, tensors, subject, decoded)
                break
            found = found or (weights, tensors, subject, decoded)
    if found is None:
        raise ValueError(f"no seed below {SEEDS} decodes without a near tie")
    weights, tensors, subject, decoded = found
    results, facts = observe(subject, weights["seed"], decoded)
    same_after_reload(subject, config)
    names, origin = checkpoint.origin(model_class, config, tensors)
    dead = run.insensitive(subject.double, origin, names, run.cast(subject.inputs), subject.python_inputs)
    dead = [name for name in dead if not name.endswith("num_batches_tracked")]

    folder.mkdir(parents=True)
    (folder / "weights.json").write_text(weights_text(weights))
    return write(folder, subject, weights["seed"], results, facts | {"insensitive": dead})


def from_checkpoint(
    source: Path, class_name: str, folder: Path, inputs: Tensors | None, options: dict[str, Any]
) -> dict[str, Any]:
    """Makes a case of somebody's checkpoint as it is. Returns case.json."""
    model_class = getattr(transformers, class_name)
    model = checkpoint.load(model_class, source)
    causal = model.can_generate() and not model.config.is_encoder_decoder
    context = Context(model, class_name, "decoder-only" if causal else "", options, 0)
    given = dict(inputs) if inputs is not None else build(context)
    context.prompt = given.pop("prompt_ids", None)
    layout = checkpoint.Layout(set(checkpoint.saved(model)))
    in_file = checkpoint.names_in(source)
    subject = Subject(model_class, model, context, given, python_arguments(context, traced=False), layout)
    shows = model.can_generate() and (inputs is None or context.prompt is not None)
    decoded = decode(subject, tuple(GENERATING) if shows else ())
    if decoded.margin == 0:
        print("greedy decoding comes upon a tie or the token of an image, and is left out")
    results, facts = observe(subject, 0, decoded)
    # Gradients are known by the names that saving gives, which older files do not use.
    if in_file != layout.names:
        for key in ("gradients_without", "gradient_noise"):
            facts.pop(key, None)
        del results["gradients"]
    same_after_reload(subject, model.config)
    folder.mkdir(parents=True)
    for file in sorted(source.glob("model*.safetensors*")):
        link_or_copy(file, folder / file.name)
    return write(folder, subject, 0, results, facts)


def same_after_reload(subject: Subject, config: Any) -> None:
    """Saves the model and loads it again: the outputs must be the same to the last bit."""
    again = checkpoint.load_tensors(subject.model_class, config, checkpoint.saved(subject.model))
    with torch.no_grad():
        first = run.forward(subject.model, subject.inputs, subject.python_inputs)
        second = run.forward(again, subject.inputs, subject.python_inputs)
    for name, value in first.items():
        if not torch.equal(value, second[name]):
            raise ValueError(f"output `{name}` changes when the model is saved and loaded")


def write(folder: Path, subject: Subject, seed: int, results: Tensors, facts: dict[str, Any]) -> dict[str, Any]:
    """Writes config.json, case.safetensors and case.json."""
    subject.model.config.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    config["architectures"] = [subject.model_class.__name__]
    (folder / "config.json").write_text(compact(config))
    save_file({name: value.clone() for name, value in results.items()}, folder / "case.safetensors")
    case = {
        "model_type": config["model_type"],
        "class": subject.model_class.__name__,
        "transformers": transformers.__version__,
        "torch": torch.__version__.split("+")[0],
        "attn_implementation": subject.model.config._attn_implementation,
        "seed": seed,
        **facts,
    }
    (folder / "case.json").write_text(compact(case))
    return case


def weights_text(weights: dict[str, Any]) -> str:
    """weights.json with one tensor a line."""

    def text(value: Any) -> str:
        return json.dumps(value, separators=(",", ":"))

    rows = [f"{text(name)}:{text(row)}" for name, row in weights["tensors"].items()]
    head = f'{{"seed":{weights["seed"]},"default":{text(weights["default"])},"tensors":{{\n'
    return head + ",\n".join(rows) + "\n}}\n"


def defaults(model_type: str) -> str:
    """defaults.json: the config class without arguments, as a dictionary."""
    return compact(CONFIG_MAPPING[model_type]().to_dict())


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link where the file system allows one."""
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)
