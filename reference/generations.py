"""Makes tests/data/generations.json: what `generate` of transformers adds to prompts, under settings without chance.

    python reference/generations.py --out tests/data

The models are those of committed cases; prompts are of unequal length, padded on the left; what encoders read is padded on
the right. "runs" are many settings, "parity" is every class that generates, greedily and with beams.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import transformers
from cases.command import out_folder
from cases import builders, checkpoint
from cases.draw import integers
from safetensors.torch import load_file
from tokenizers import Tokenizer, decoders, models
from transformers import AutoConfig, GenerationConfig, GenerationMixin, PreTrainedTokenizerFast

CASES = Path(__file__).parent.parent / "cases"
# Scores of the best and the second token are at least this far apart, so that rounding chooses no other.
MARGIN = 1e-3

# Decoders that count positions or keep state in ways of their own, so that padding could disturb each in its own way.
PADDED = ("gpt2", "llama", "qwen3", "bloom", "falcon", "opt", "mpt", "gptj", "gemma2", "mistral", "mamba", "jamba")
PROMPTS = [[3, 5, 9, 3, 5], [7, 4], [11, 12, 13]]
# Python fills up what a string has ended with -1 where there is no end.
ENDING = {"max_new_tokens": 6, "eos_token_id": 25, "pad_token_id": 1}
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
    ("gpt2", PROMPTS, {"max_new_tokens": 7, "guidance_scale": 1.5}),
    ("roberta", PROMPTS, {"max_new_tokens": 7, "guidance_scale": 0.4, "no_repeat_ngram_size": 2}),
    ("jamba", PROMPTS, {"max_new_tokens": 7, "guidance_scale": 2.0}),
    ("llama", PROMPTS, {"max_new_tokens": 7, "guidance_scale": 3.0, "negative": [[4, 2, 8], [6], [11, 10]]}),
    ("bloom", PROMPTS, {"max_new_tokens": 7, "guidance_scale": -1.0, "negative": [[4, 2, 8], [6], [11, 10]]}),
    ("llama", PROMPTS, {"max_new_tokens": 7, "stop_strings": ["dt", "lb"]}),
    ("llama", PROMPTS, {"max_new_tokens": 7, "stop_strings": ["dt", "bis"], "eos_token_id": 16, "pad_token_id": 1}),
    ("llama", PROMPTS, {"max_new_tokens": 4, "stop_strings": ["mnp", "a", "k", "fkd"]}),
    # So many strings that all beams of a prompt may end at once.
    ("llama", PROMPTS, {**ENDING, "num_beams": 3, "stop_strings": list("rskdtpa"), "num_return_sequences": 2}),
    ("llama", PROMPTS, {**ENDING, "num_beams": 4, "stop_strings": list("abcdefghijklmnop"), "length_penalty": 0.5}),
    ("gpt2", PROMPTS, {**ENDING, "num_beams": 4, "stop_strings": list("bcdefghijklmnopq"), "num_return_sequences": 3}),
    ("gpt2", PROMPTS, {**ENDING, "num_beams": 4, "stop_strings": ["nn", "k", "jd"], "early_stopping": True}),
    ("t5", PROMPTS, {"max_new_tokens": 6, "encoder_repetition_penalty": 1.6, "encoder_no_repeat_ngram_size": 2}),
    ("llama", PROMPTS, {"max_new_tokens": 8, "encoder_repetition_penalty": 1.4, "encoder_no_repeat_ngram_size": 1}),
    ("t5", PROMPTS, {"max_new_tokens": 6, "forced_bos_token_id": 12, "eos_token_id": 1, "pad_token_id": 0}),
    ("t5", PROMPTS, {"max_length": 9, "min_length": 4, "eos_token_id": [1, 6], "suppress_tokens": [0]}),
]


# What a search with beams decides by differs at least by this much: sums of a few scores, which rounding moves by 1e-6.
BEAM_MARGIN = 1e-4
NEW_TOKENS = 6

# Arguments of the case that belong to the tokens of its forward pass.
TEXT = {
    "input_ids", "attention_mask", "token_type_ids", "mm_token_type_ids", "position_ids", "decoder_input_ids",
    "decoder_attention_mask", "labels",
}  # fmt: skip
# One of each in turn.
PENALTIES = (0.6, 1.7, -0.5, 2.5)
STOPPING = (False, True, "never")
# Classes whose cases show no decoding, and decoders that also look at what an encoder has read.
BESIDES = ("blip/visual-question-answering", "bert/cross-attention", "bart/cross-attention", "rembert/cross-attention")
FURTHER: tuple[dict, ...] = ({}, {"no_repeat_ngram_size": 2}, {}, {"min_new_tokens": 3}, {"repetition_penalty": 1.4})


def load(folder: Path) -> Any:
    """The model of a committed case, without settings of its own."""
    about = json.loads((folder / "case.json").read_text())
    weights = checkpoint.drawn(json.loads((folder / "weights.json").read_text()))
    model_class = getattr(transformers, about["class"])
    model = checkpoint.load_tensors(model_class, AutoConfig.from_pretrained(folder), weights)
    start = getattr(model.config, "decoder_start_token_id", None)
    model.generation_config = GenerationConfig(decoder_start_token_id=start)
    return model


def padded(rows: list[list[int]], left: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Rows of unequal length as ids and mask."""
    longest = max(map(len, rows))

    def pad(row: list[int], own: list[int]) -> list[int]:
        rest = [0] * (longest - len(row))
        return rest + own if left else own + rest

    return torch.tensor([pad(row, row) for row in rows]), torch.tensor([pad(row, [1] * len(row)) for row in rows])


def clear(scores: tuple[torch.Tensor, ...], sequences: torch.Tensor, ends: list[int]) -> float:
    """The smallest difference between the best and the second score of rows that go on."""
    start = sequences.shape[1] - len(scores)
    smallest = float("inf")
    for step, of_rows in enumerate(scores):
        for row, best in enumerate(of_rows.topk(2).values):
            if not any(token in ends for token in sequences[row, start : start + step].tolist()):
                smallest = min(smallest, (best[0] - best[1]).item())
    return smallest


def loaded(name: str) -> tuple[Path, Any]:
    """A generating case, named or the first of an architecture, and its model."""
    tasks = ("", "text-generation", "text2text-generation")
    folder = next(CASES / name / task for task in tasks if (CASES / name / task / "case.json").is_file())
    return folder, load(folder)


def letters() -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are letters, one each."""
    vocabulary = {chr(ord("a") + place): place for place in range(26)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


def generated(name: str, prompts: list[list[int]], settings: dict) -> dict:
    """One run, as it stands in the file."""
    folder, model = loaded(name)
    ids, mask = padded(prompts, left=True)
    settings, beside, further = dict(settings), {}, {}  # type: dict, dict[str, Any], dict[str, Any]
    if away := settings.pop("negative", None):
        other, real = padded(away, left=True)
        further = {"negative_prompt_ids": other, "negative_prompt_attention_mask": real}
        beside = {"negative": other.tolist(), "negative_mask": real.tolist()}
    if "stop_strings" in settings:
        beside["letters"] = True
        further["tokenizer"] = letters()
    watch = Watch(model)
    result = model.generate(
        ids,
        attention_mask=mask,
        do_sample=False,
        return_dict_in_generate=True,
        output_scores=True,
        **further,
        **settings,
    )
    ends = settings.get("eos_token_id", [])
    ends = [ends] if isinstance(ends, int) else ends
    alone = settings.get("num_beams", 1) == 1
    if (clear(result.scores, result.sequences, ends) < MARGIN) if alone else (watch.smallest < BEAM_MARGIN):
        raise ValueError(f"{name}, {settings}: too close to call")
    return {
        "case": str(folder.relative_to(CASES)),
        "prompt": ids.tolist(),
        "mask": mask.tolist(),
        **beside,
        "settings": settings,
        "ids": result.sequences.tolist(),
    }


class Watch:
    """The smallest difference that a search with beams has decided by."""

    def __init__(self, model: Any) -> None:
        self.model, self.smallest = model, float("inf")
        self.watch("_get_top_k_continuations", self.continuations)
        self.watch("_update_finished_beams", self.finished)
        self.watch("_check_early_stop_heuristic", self.heuristic)

    def watch(self, name: str, look: Any) -> None:
        """Lets `look` see the arguments of a method."""
        method = getattr(self.model, name)

        def watched(**arguments: Any) -> Any:
            look(SimpleNamespace(**arguments))
            return method(**arguments)

        setattr(self.model, name, watched)

    def differ(self, values: torch.Tensor) -> None:
        """Notes the differences between neighbours of sorted rows, without what stands for nothing."""
        values = values.sort(dim=-1, descending=True).values
        gaps = (values[..., :-1] - values[..., 1:])[values[..., 1:] > -1e8]
        if gaps.numel():
            self.smallest = min(self.smallest, gaps.min().item())

    def continuations(self, given: SimpleNamespace) -> None:
        """What goes on: one more than is kept."""
        scores = given.accumulated_log_probs
        self.differ(scores.topk(min(given.beams_to_keep + 1, scores.shape[1])).values)

    def finished(self, given: SimpleNamespace) -> None:
        """What has ended."""
        scores = given.topk_log_probs / (given.cur_len + 1 - given.decoder_prompt_len) ** given.length_penalty
        ends = given.next_token_hits_stopping_criteria & given.top_num_beam_mask
        self.differ(torch.cat([given.beam_scores, scores.masked_fill(~ends, -1e9)], dim=1))

    def heuristic(self, given: SimpleNamespace) -> None:
        """Whether to go on."""
        far = given.early_stopping == "never" and given.length_penalty > 0
        length = (given.max_length if far else given.cur_len) - given.decoder_prompt_len
        best = given.running_beam_scores[:, :1] / length**given.length_penalty
        self.differ(torch.cat([best, given.beam_scores.min(dim=1, keepdim=True).values], dim=1))


def subjects() -> Iterator[Path]:
    """A committed case of every class that generates, for each architecture."""
    seen = set()
    for folder in sorted(path.parent for path in CASES.glob("*/*/case.safetensors")):
        about = json.loads((folder / "case.json").read_text())
        key = (about["model_type"], about["class"])
        if key not in seen and "input.prompt_ids" in load_file(folder / "case.safetensors"):
            seen.add(key)
            yield folder
    yield from (CASES / name for name in BESIDES)


class Subject:
    """A class that generates, and prompts for it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.model = folder, load(folder)
        tensors = load_file(folder / "case.safetensors")
        given = {name.removeprefix("input."): value for name, value in tensors.items() if name.startswith("input.")}
        self.prompt = given.pop("prompt_ids", None)
        self.others = {name: value for name, value in given.items() if name not in TEXT}
        config = self.model.config
        media = (getattr(config, f"{kind}_token_id", None) for kind in ("image", "video", "audio"))
        self.media = [token for token in media if token is not None]
        self.vocabulary = config.get_text_config(decoder=True).vocab_size
        self.answers = type(self.model).__name__ == "BlipForQuestionAnswering"
        self.encodes = config.is_encoder_decoder
        self.reads = "input_ids" in given and self.encodes

    def tokens(self, attempt: int, number: int) -> list[int]:
        """Tokens of a text."""
        drawn = integers(attempt, f"parity.{self.folder.parent.name}", [number * 4], 3, self.vocabulary).tolist()
        return [token for token in drawn if token not in self.media][:number]

    def inputs(self, attempt: int) -> dict[str, torch.Tensor]:
        """Unequal prompts."""
        if self.others and not self.reads:
            return self.beside(attempt)
        tokens = self.tokens(attempt, 10)
        ids, mask = padded([tokens[:5], tokens[5:7], tokens[7:10]], left=not self.encodes)
        return {"input_ids": ids, "attention_mask": mask}

    def beside(self, attempt: int) -> dict[str, torch.Tensor]:
        """Prompts beside an image or a sound: those of the case, with two more tokens in front of the first."""
        if self.encodes:
            return {"decoder_input_ids": self.prompt}
        if self.answers:
            # The class itself takes no part of a question for padding when it generates.
            return {"input_ids": torch.tensor([self.tokens(attempt, 4), self.tokens(attempt + 1, 4)])}
        prompt = [self.tokens(attempt + 2, 3)] * 2 if self.prompt is None else self.prompt.tolist()
        rows = [self.tokens(attempt, 2) + prompt[0], *prompt[1:]]
        ids, mask = padded(rows, left=True)
        own = builders.GROWING.get(self.model.config.model_type, {})
        context = SimpleNamespace(config=self.model.config, model=self.model, text=self.model.config.get_text_config())
        return {"input_ids": ids, "attention_mask": mask} | {
            name: grow(context, ids, ids.shape[1]) for name, grow in own.items()
        }

    def generate(self, inputs: dict[str, torch.Tensor], settings: dict) -> tuple[Any, float]:
        """What Python makes of it, and the smallest difference that it has decided by."""
        settings = {"do_sample": False, "return_dict_in_generate": True, "output_scores": True, **settings}
        model, given = self.model, self.others | inputs  # type: Any, dict[str, torch.Tensor]
        if self.media:
            settings["suppress_tokens"] = self.media
        if "encoder_hidden_states" in given:
            # The cache that `generate` makes for a decoder alone has no place for what an encoder has read, and fails.
            settings["use_cache"] = False
        if type(model).__name__ == "BlipForConditionalGeneration":
            # The class itself puts a start token in front of the prompt.
            given["encoder_hidden_states"] = model.vision_model(given.pop("pixel_values"))[0]
            model.text_decoder.generation_config = model.generation_config
            model = model.text_decoder
        elif self.answers:
            # As the class does, with the settings given here.
            image = model.vision_model(given["pixel_values"])[0]
            question = model.text_encoder(input_ids=given["input_ids"], encoder_hidden_states=image)[0]
            start = torch.full((len(question), 1), model.config.text_config.bos_token_id)
            mask = torch.ones(question.shape[:2], dtype=torch.long)
            given = {"input_ids": start, "encoder_hidden_states": question, "encoder_attention_mask": mask}
            model.text_decoder.generation_config = model.generation_config
            model = model.text_decoder
        watch = Watch(model)
        # Speech models bring rules of their own, which are not those of their scores.
        result = GenerationMixin.generate(model, **given, **settings)
        for name in ("_get_top_k_continuations", "_update_finished_beams", "_check_early_stop_heuristic"):
            delattr(model, name)
        if settings.get("num_beams", 1) > 1:
            return result, watch.smallest / BEAM_MARGIN
        return result, clear(result.scores, result.sequences, settings.get("eos_token_id", [])) / MARGIN


def parity(number: int, folder: Path) -> dict:
    """A class, greedily and with beams."""
    subject = Subject(folder)
    for attempt in count():
        inputs = subject.inputs(attempt)
        greedy_settings = {"max_new_tokens": NEW_TOKENS}
        greedy, margin = subject.generate(inputs, greedy_settings)
        if margin < 1:
            continue
        # What is likely ends a row, some steps from the beginning.
        likely = greedy.sequences[:, -NEW_TOKENS + 1 :].flatten().tolist()
        ends = sorted({likely[attempt % len(likely)], likely[(attempt + 4) % len(likely)]})
        settings = {
            "max_new_tokens": NEW_TOKENS - 1,
            "num_beams": 3,
            "num_return_sequences": 1 + number % 2,
            "length_penalty": PENALTIES[number % len(PENALTIES)],
            "early_stopping": STOPPING[number % len(STOPPING)],
            "eos_token_id": ends,
            **({"pad_token_id": number % 3} if number % 4 else {}),
            **FURTHER[number % len(FURTHER)],
        }
        beams, margin = subject.generate(inputs, settings)
        if margin >= 1:
            break
    suppressed = {"suppress_tokens": subject.media} if subject.media else {}
    return {
        "case": str(folder.relative_to(CASES)),
        "beside": sorted(subject.others),
        "inputs": {name: value.tolist() for name, value in inputs.items()},
        "greedy": {"settings": greedy_settings | suppressed, "ids": greedy.sequences.tolist()},
        "beams": {
            "settings": settings | suppressed,
            "ids": beams.sequences.tolist(),
            "scores": [round(score, 5) for score in beams.sequences_scores.tolist()],
        },
    }


def main() -> int:
    """The command."""
    out = out_folder(__doc__)
    parts = {
        "runs": [generated(*run) for run in RUNS],
        "parity": [parity(*numbered) for numbered in enumerate(subjects())],
    }
    lists = (
        f"  {json.dumps(name)}: [\n" + ",\n".join(f"    {json.dumps(row)}" for row in rows) + "\n  ]"
        for name, rows in parts.items()
    )
    head = json.dumps({"transformers": transformers.__version__, "torch": torch.__version__})[1:-1]
    (out / "generations.json").write_text(f"{{\n  {head},\n" + ",\n".join(lists) + "\n}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
