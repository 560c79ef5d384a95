"""Makes tests/data/generations.json: what `generate` of transformers adds to prompts, under settings without chance.

    python reference/generations.py --out tests/data

The models are those of committed cases; prompts are of unequal length, padded on the left.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
import transformers
from cases import checkpoint
from transformers import AutoConfig, GenerationConfig

CASES = Path(__file__).parent.parent / "cases"
# Scores of the best and the second token are at least this far apart, so that rounding chooses no other.
MARGIN = 1e-3

# Decoders that count positions or keep state in ways of their own, so that padding could disturb each in its own way.
PADDED = ("gpt2", "llama", "qwen3", "bloom", "falcon", "opt", "mpt", "gptj", "gemma2", "mistral", "mamba", "jamba")
PROMPTS = [[3, 5, 9, 3, 5], [7, 4], [11, 12, 13]]
RUNS: list[tuple[str, list[list[int]], dict]] = [
    *((case, PROMPTS, {"max_new_tokens": 7}) for case in PADDED),
    ("gpt2", PROMPTS, {"max_length": 10, "repetition_penalty": 1.5}),
    ("llama", PROMPTS, {"max_new_tokens": 9, "repetition_penalty": 3.0, "no_repeat_ngram_size": 2}),
    ("llama", PROMPTS, {"max_new_tokens": 9, "eos_token_id": [4, 9, 14, 17], "pad_token_id": 1}),
    ("llama", PROMPTS, {"max_new_tokens": 9, "eos_token_id": [4, 9, 14, 17]}),
    ("llama", PROMPTS, {"max_new_tokens": 9, "eos_token_id": [4, 9, 14, 17], "min_new_tokens": 4}),
    ("gpt2", PROMPTS, {"max_length": 11, "eos_token_id": 20, "forced_eos_token_id": 20, "suppress_tokens": [0, 1]}),
    ("gpt2", PROMPTS, {"begin_suppress_tokens": list(range(12)), "bad_words_ids": [[13, 13], [14]]}),
    ("gpt2", PROMPTS, {"eos_token_id": 2, "exponential_decay_length_penalty": [2, 1.9], "pad_token_id": 0}),
    ("qwen3", PROMPTS, {"max_length": 12, "sequence_bias": [[[5, 6], 8.0], [[6, 7], 8.0], [[5], 2.0]]}),
    ("t5", PROMPTS, {"max_new_tokens": 6, "forced_bos_token_id": 12, "eos_token_id": 1, "pad_token_id": 0}),
    ("t5", PROMPTS, {"max_length": 9, "min_length": 4, "eos_token_id": [1, 6], "suppress_tokens": [0]}),
]


def loaded(name: str) -> tuple[Path, transformers.PreTrainedModel]:
    """A generating case, named or the first of an architecture, and its model without settings of its own."""
    tasks = ("", "text-generation", "text2text-generation")
    folder = next(CASES / name / task for task in tasks if (CASES / name / task / "case.json").is_file())
    about = json.loads((folder / "case.json").read_text())
    model_class = getattr(transformers, about["class"])
    weights = checkpoint.drawn(json.loads((folder / "weights.json").read_text()))
    model = checkpoint.load_tensors(model_class, AutoConfig.from_pretrained(folder), weights)
    start = getattr(model.config, "decoder_start_token_id", None)
    model.generation_config = GenerationConfig(decoder_start_token_id=start)
    return folder, model


def generated(name: str, prompts: list[list[int]], settings: dict) -> dict:
    """One run, as it stands in the file."""
    folder, model = loaded(name)
    longest = max(map(len, prompts))
    padded = [longest - len(prompt) for prompt in prompts]
    ids = torch.tensor([[0] * count + prompt for count, prompt in zip(padded, prompts, strict=True)])
    mask = torch.tensor([[0] * count + [1] * (longest - count) for count in padded])
    result = model.generate(
        ids, attention_mask=mask, do_sample=False, return_dict_in_generate=True, output_scores=True, **settings
    )
    ends = settings.get("eos_token_id", [])
    ends = [ends] if isinstance(ends, int) else ends
    start = result.sequences.shape[1] - len(result.scores)
    for step, scores in enumerate(result.scores):
        for row, best in enumerate(scores.topk(2).values):
            ended = any(token in ends for token in result.sequences[row, start : start + step].tolist())
            if not ended and best[0] - best[1] < MARGIN:
                raise ValueError(f"{name}, {settings}: step {step} of row {row} is too close to call")
    return {
        "case": str(folder.relative_to(CASES)),
        "prompt": ids.tolist(),
        "mask": mask.tolist(),
        "settings": settings,
        "ids": result.sequences.tolist(),
    }


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the file")
    out = parser.parse_args().out
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    out.mkdir(parents=True, exist_ok=True)
    runs = ",\n".join(f"    {json.dumps(generated(*run))}" for run in RUNS)
    head = json.dumps({"transformers": transformers.__version__, "torch": torch.__version__})[1:-1]
    (out / "generations.json").write_text(f'{{\n  {head},\n  "runs": [\n{runs}\n  ]\n}}\n')
    return 0


if __name__ == "__main__":
    sys.exit(main())
