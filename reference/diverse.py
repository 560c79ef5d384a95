"""Makes tests/data/diverse.json: searches with groups of beams that avoid each other (arXiv:1610.02424).

    python reference/diverse.py --out tests/data

`transformers` 5.23.0 has no such search of its own, so it is written out here: every prompt alone, without padding and
without a cache, each group one after the other in every step. The score of a token is the logarithm of its probability less
`diversity_penalty` for every beam of an earlier group that has just chosen it. What ends a group is what ends a search
without groups when it stops early: as many ended beams as it has beams.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from cases.command import out_folder
from generations import BEAM_MARGIN, CASES, loaded, padded

PROMPTS = [[3, 5, 9, 3, 5], [7, 4], [11, 12, 13]]
RUNS: list[tuple[str, dict]] = [
    ("gpt2", {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.7, "max_new_tokens": 5}),
    ("llama", {"num_beams": 3, "num_beam_groups": 3, "diversity_penalty": 0.4, "max_new_tokens": 6}),
    ("qwen3", {"num_beams": 6, "num_beam_groups": 3, "diversity_penalty": 0.25, "max_new_tokens": 4}),
    ("bloom", {"num_beams": 6, "num_beam_groups": 2, "diversity_penalty": 5.0, "max_new_tokens": 4}),
    ("llama", {"num_beams": 4, "num_beam_groups": 2, "diversity_penalty": 0.9, "eos_token_id": [4, 9], "pad_token_id": 1}),
    ("gpt2", {"num_beams": 6, "num_beam_groups": 2, "diversity_penalty": 0.3, "eos_token_id": [2, 20], "pad_token_id": 1}),
]


@dataclass
class Group:
    """Beams of one group: new tokens and scores, of those that go on and of those that have ended."""

    running: list[tuple[list[int], float]]
    ended: list[tuple[list[int], float]] = field(default_factory=list)


def logarithms(model: Any, ids: list[int]) -> list[float]:
    """Those of the probabilities of the token after `ids`."""
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0, -1].double().log_softmax(-1).tolist()


def search(model: Any, prompt: list[int], settings: dict) -> tuple[list[tuple[list[int], float]], float]:
    """The ended beams of all groups, the best first, and the smallest difference that decided."""
    groups, size = settings["num_beam_groups"], settings["num_beams"] // settings["num_beam_groups"]
    ends, most = settings.get("eos_token_id", []), settings["max_new_tokens"]
    power = settings.get("length_penalty", 1.0)
    beams = [Group([([], 0.0)]) for _ in range(groups)]
    smallest = float("inf")
    for length in range(1, most + 1):
        chosen: list[int] = []
        for group in beams:
            scored = [
                (score + value - settings["diversity_penalty"] * chosen.count(token), tokens, token)
                for tokens, score in group.running
                for token, value in enumerate(logarithms(model, prompt + tokens))
            ]
            scored.sort(key=lambda found: -found[0])
            wanted = max(2, 1 + len(ends)) * size
            gaps = [first[0] - second[0] for first, second in zip(scored[:wanted], scored[1:], strict=False)]
            smallest = min(smallest, *gaps)
            full = len(group.ended) == size
            group.running = []
            for place, (score, tokens, token) in enumerate(scored[:wanted]):
                longer = [*tokens, token]
                over = token in ends or length == most
                if over and place < size and not full:
                    group.ended.append((longer, score / length**power))
                if token not in ends and len(group.running) < size:
                    group.running.append((longer, score))
            group.ended.sort(key=lambda found: -found[1])
            group.ended = group.ended[:size]
            chosen += [tokens[-1] for tokens, _ in group.running]
        if all(len(group.ended) == size for group in beams):
            break
    found = sorted((beam for group in beams for beam in group.ended), key=lambda beam: -beam[1])
    values = [score for _, score in found]
    return found, min([smallest, *(a - b for a, b in zip(values, values[1:], strict=False) if a != b)])


def run(name: str, settings: dict) -> dict:
    """One run, as it stands in the file."""
    settings = {"max_new_tokens": 6, "early_stopping": True, **settings}
    folder, model = loaded(name)
    found = []
    for prompt in PROMPTS:
        beams, margin = search(model, prompt, settings)
        if margin < BEAM_MARGIN:
            raise ValueError(f"{name}, {settings}: too close to call")
        found.append(beams)
    ids, mask = padded(PROMPTS, left=True)
    return {
        "case": str(folder.relative_to(CASES)),
        "inputs": {"input_ids": ids.tolist(), "attention_mask": mask.tolist()},
        "settings": settings | {"num_return_sequences": settings["num_beams"]},
        "tokens": [tokens for beams in found for tokens, _ in beams],
        "scores": [round(score, 5) for beams in found for _, score in beams],
    }


def main() -> int:
    """The command."""
    out = out_folder(__doc__)
    lines = ",\n".join(f"    {json.dumps(run(*found))}" for found in RUNS)
    (out / "diverse.json").write_text(f'{{\n  "runs": [\n{lines}\n  ]\n}}\n')
    return 0


if __name__ == "__main__":
    sys.exit(main())
