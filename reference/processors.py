"""Makes tests/data/processors.*: scores, and what the processors of transformers make of them under many settings.

    python reference/processors.py --out tests/data
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import torch
import transformers
from safetensors.torch import save_file
from transformers import GenerationConfig, GenerationMixin

VOCABULARY = 17
MAX_LENGTH = 9
# With repeated pairs and triples, and an id that no score is for.
IDS = [[3, 5, 9, 3, 5, 2, 3, 5], [16, 16, 1, 16, 16, 0, 19, 16]]
# What an encoder has read, with pairs that the ids end with.
SOURCE = [[9, 3, 5, 11, 3, 5], [4, 16, 2, 12, 16, 2]]
DRAWN = {"do_sample": True, "top_k": 0}
# Several tokens stay whatever the limit is.
BEAMS = {**DRAWN, "num_beams": 3}

# (settings, tokens of the ids that are passed, how many of them are the prompt)
CASES: list[tuple[dict, int, int]] = [
    ({**DRAWN, "temperature": 0.7}, 8, 4),
    ({**DRAWN, "temperature": 1.9}, 8, 4),
    ({"do_sample": True, "top_k": 3}, 8, 4),
    ({"do_sample": True, "top_k": 40}, 8, 4),
    ({**DRAWN, "top_p": 0.6}, 8, 4),
    ({**DRAWN, "top_p": 0.0}, 8, 4),
    ({**DRAWN, "min_p": 0.2}, 8, 4),
    ({**DRAWN, "typical_p": 0.5}, 8, 4),
    ({**DRAWN, "typical_p": 0.95}, 8, 4),
    ({**DRAWN, "epsilon_cutoff": 0.05}, 8, 4),
    ({**DRAWN, "epsilon_cutoff": 0.9}, 8, 4),
    ({**DRAWN, "eta_cutoff": 0.1}, 8, 4),
    ({**DRAWN, "eta_cutoff": 0.9}, 8, 4),
    ({**DRAWN, "top_h": 0.3}, 8, 4),
    ({**DRAWN, "top_h": 0.8}, 8, 4),
    ({**DRAWN, "top_h": 1.0}, 8, 4),
    ({**BEAMS, "top_k": 1, "eos_token_id": [6, 8]}, 8, 4),
    ({**BEAMS, "top_k": 1}, 8, 4),
    ({**BEAMS, "top_p": 0.0, "eos_token_id": [6, 8]}, 8, 4),
    ({**BEAMS, "min_p": 1.0, "eos_token_id": [6, 8]}, 8, 4),
    ({**BEAMS, "typical_p": 0.01, "eos_token_id": 6}, 8, 4),
    ({**BEAMS, "epsilon_cutoff": 0.9, "eos_token_id": list(range(4))}, 8, 4),
    ({**BEAMS, "eta_cutoff": 0.9, "eos_token_id": list(range(20))}, 8, 4),
    ({"encoder_repetition_penalty": 1.4}, 8, 4),
    ({"encoder_repetition_penalty": 0.7}, 8, 4),
    ({"encoder_no_repeat_ngram_size": 1}, 8, 4),
    ({"encoder_no_repeat_ngram_size": 2}, 8, 4),
    ({"encoder_no_repeat_ngram_size": 3}, 8, 4),
    ({"encoder_no_repeat_ngram_size": 3}, 1, 1),
    ({"encoder_no_repeat_ngram_size": 7}, 8, 4),
    ({"repetition_penalty": 1.3}, 8, 4),
    ({"repetition_penalty": 0.8}, 8, 4),
    ({"no_repeat_ngram_size": 1}, 8, 4),
    ({"no_repeat_ngram_size": 2}, 8, 4),
    ({"no_repeat_ngram_size": 3}, 8, 4),
    ({"no_repeat_ngram_size": 6}, 4, 4),
    ({"bad_words_ids": [[7], [3, 5, 11], [16, 2], [5, 4], [6]], "eos_token_id": [6, 8]}, 8, 4),
    ({"sequence_bias": [[[7], 1.5], [[3, 5, 11], -2.25], [[16, 11], 4.0], [[1] * 9, 3.0]]}, 8, 4),
    ({"forced_bos_token_id": 4}, 1, 1),
    ({"forced_bos_token_id": 4}, 2, 1),
    ({"forced_eos_token_id": [4, 6]}, 8, 4),
    ({"forced_eos_token_id": 4}, 7, 4),
    ({"suppress_tokens": [1, 2, 12]}, 8, 4),
    ({"begin_suppress_tokens": [1, 12]}, 4, 4),
    ({"begin_suppress_tokens": [1, 12]}, 5, 4),
    ({"begin_suppress_tokens": [1, 12], "forced_bos_token_id": 4}, 2, 1),
    ({"min_length": 9, "eos_token_id": [6, 8]}, 8, 4),
    ({"min_length": 8, "eos_token_id": [6, 8]}, 8, 4),
    ({"min_new_tokens": 5, "eos_token_id": 6}, 8, 4),
    ({"min_new_tokens": 4, "eos_token_id": 6}, 8, 4),
    ({"exponential_decay_length_penalty": [2, 1.4], "eos_token_id": [6, 8]}, 8, 4),
    ({"exponential_decay_length_penalty": [4, 1.4], "eos_token_id": [6, 8]}, 8, 4),
    ({"remove_invalid_values": True}, 8, 4),
    ({"renormalize_logits": True}, 8, 4),
    # All that go together, with the default of top_k: any other order gives other scores.
    (
        {
            "do_sample": True,
            "sequence_bias": [[[16, 11], 2.5], [[7], -1.5]],
            "encoder_repetition_penalty": 1.3,
            "encoder_no_repeat_ngram_size": 2,
            "repetition_penalty": 1.2,
            "no_repeat_ngram_size": 3,
            "bad_words_ids": [[7]],
            "min_new_tokens": 5,
            "eos_token_id": [6],
            "remove_invalid_values": True,
            "exponential_decay_length_penalty": [1, 1.2],
            "suppress_tokens": [12],
            "temperature": 0.8,
            "top_h": 0.95,
            "top_k": 12,
            "top_p": 0.9,
            "min_p": 0.01,
            "typical_p": 0.9,
            "epsilon_cutoff": 0.01,
            "eta_cutoff": 0.02,
            "renormalize_logits": True,
        },
        8,
        4,
    ),
]


def processed(settings: dict, ids: torch.Tensor, prompt: int, scores: torch.Tensor) -> torch.Tensor:
    """The scores that `generate` chooses from, for `ids` of which `prompt` are the prompt."""
    config = GenerationConfig(**settings)
    config.update(**GenerationConfig._get_default_generation_params(), defaults_only=True)
    config.max_length = MAX_LENGTH
    if config.min_new_tokens is not None:
        config.min_length = prompt + config.min_new_tokens
    ends = [config.eos_token_id] if isinstance(config.eos_token_id, int) else config.eos_token_id
    config._eos_token_tensor = None if ends is None else torch.tensor(ends)
    model = SimpleNamespace(
        config=SimpleNamespace(is_encoder_decoder=False),
        _merge_criteria_processor_list=lambda processors, _: processors,
    )
    processors = GenerationMixin._get_logits_processor(model, config, prompt, encoder_input_ids=torch.tensor(SOURCE))
    return processors(ids, scores.clone())


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the two files")
    out = parser.parse_args().out
    torch.manual_seed(3)
    ids = torch.tensor(IDS)
    scores = torch.randn(len(IDS), VOCABULARY) * 2.5
    # Scores that are equal, and one that was removed before.
    scores[0, 4] = scores[0, 13]
    scores[1, 10] = -torch.inf
    broken = scores.clone()
    broken[0, 2], broken[1, 5] = torch.nan, torch.inf
    tensors = {"ids": ids, "source": torch.tensor(SOURCE), "scores": scores, "broken": broken}
    cases = []
    for number, (settings, tokens, prompt) in enumerate(CASES):
        source = "broken" if settings == {"remove_invalid_values": True} else "scores"
        tensors[f"{number:02}"] = processed(settings, ids[:, :tokens], prompt, tensors[source])
        cases.append({"settings": settings, "tokens": tokens, "prompt": prompt, "scores": source})
    about = {"transformers": transformers.__version__, "torch": torch.__version__, "max_length": MAX_LENGTH}
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, out / "processors.safetensors")
    lines = ",\n".join(f"    {json.dumps(case)}" for case in cases)
    head = json.dumps(about)[1:-1]
    (out / "processors.json").write_text(f'{{\n  {head},\n  "cases": [\n{lines}\n  ]\n}}\n')
    return 0


if __name__ == "__main__":
    sys.exit(main())
