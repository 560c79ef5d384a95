"""Makes tests/data/assisted.json: what `generate` of transformers adds to a prompt with an assistant or by looking it up.

    python reference/assisted.py --out tests/data

The models are those of committed cases, which have the same vocabulary.
"""

from __future__ import annotations

import json
import sys

import torch
import transformers
from cases.command import out_folder
from generations import CASES, MARGIN, loaded

PROMPT = [3, 5, 9, 3, 5, 7, 4]
RUNS: list[tuple[str, str | None, dict, dict]] = [
    ("llama", "gpt2", {}, {"max_new_tokens": 14}),
    ("llama", "llama", {"num_assistant_tokens": 4}, {"max_new_tokens": 14}),
    ("gpt2", "llama", {"num_assistant_tokens": 3, "num_assistant_tokens_schedule": "heuristic"}, {"max_length": 20}),
    ("gpt2", "gpt2", {"assistant_confidence_threshold": 0.0}, {"max_new_tokens": 9, "repetition_penalty": 1.5}),
    ("gemma2", "qwen3", {"assistant_confidence_threshold": 0.0}, {"max_new_tokens": 14}),
    ("mistral", "mistral", {}, {"max_new_tokens": 14, "eos_token_id": [4, 9, 14, 17], "pad_token_id": 1}),
    ("mbart/text2text-generation", "mbart/text2text-generation", {"num_assistant_tokens": 2}, {"max_new_tokens": 10}),
    ("bart/text2text-generation", "mvp/text2text-generation", {"assistant_confidence_threshold": 0.0}, {"max_new_tokens": 10}),
    ("llama", None, {}, {"max_new_tokens": 14, "prompt_lookup_num_tokens": 3}),
    ("gpt2", None, {}, {"max_new_tokens": 14, "prompt_lookup_num_tokens": 4, "max_matching_ngram_size": 1}),
    ("gpt2", None, {}, {"max_new_tokens": 12, "prompt_lookup_num_tokens": 4, "no_repeat_ngram_size": 2}),
    ("mbart/text2text-generation", None, {}, {"max_new_tokens": 10, "prompt_lookup_num_tokens": 2}),
]


def generated(name: str, assistant: str | None, own: dict, settings: dict) -> dict:
    """One run, as it stands in the file."""
    folder, model = loaded(name)
    arguments = {}
    if assistant is not None:
        assistant_folder, assistant_model = loaded(assistant)
        assistant_model.generation_config.update(**own)
        arguments["assistant_model"] = assistant_model
    ids = torch.tensor([PROMPT])
    plain = {key: value for key, value in settings.items() if not key.startswith(("prompt_lookup", "max_matching"))}
    alone = model.generate(ids, do_sample=False, return_dict_in_generate=True, output_scores=True, **plain)
    for step, scores in enumerate(alone.scores):
        best = scores[0].topk(2).values
        if best[0] - best[1] < MARGIN:
            raise ValueError(f"{name}, {settings}: step {step} is too close to call")
    found = model.generate(ids, do_sample=False, **settings, **arguments)
    if not torch.equal(found, alone.sequences):
        raise ValueError(f"{name}, {settings}: {found.tolist()} with help, {alone.sequences.tolist()} without")
    return {
        "case": str(folder.relative_to(CASES)),
        "assistant": str(assistant_folder.relative_to(CASES)) if assistant is not None else None,
        "prompt": ids.tolist(),
        "settings": own | settings,
        "ids": found.tolist(),
    }


def main() -> int:
    """The command."""
    out = out_folder(__doc__)
    runs = ",\n".join(f"    {json.dumps(generated(*run))}" for run in RUNS)
    head = json.dumps({"transformers": transformers.__version__, "torch": torch.__version__})[1:-1]
    (out / "assisted.json").write_text(f'{{\n  {head},\n  "runs": [\n{runs}\n  ]\n}}\n')
    return 0


if __name__ == "__main__":
    sys.exit(main())
