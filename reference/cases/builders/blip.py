"""BLIP: answers that are told by their targets, and a `generate` that puts a start token in front of the prompt."""

from __future__ import annotations

from typing import Any

import torch

from ..draw import integers


def labels(context: Any) -> torch.Tensor:
    """Targets of the answer: the tokens that the decoder reads where it is given no others."""
    shape = [context.batch, context.options.get("decoder_length", 7)]
    return integers(context.seed, "input.labels", shape, 1, context.text.vocab_size)


def caption(model: Any, prompt: torch.Tensor, others: dict[str, torch.Tensor]) -> torch.Tensor:
    """The decoder's own `generate`, which the class calls with the prompt changed."""
    image = model.vision_model(others["pixel_values"])[0]
    model.text_decoder.generation_config = model.generation_config
    return model.text_decoder.generate(prompt, attention_mask=torch.ones_like(prompt), encoder_hidden_states=image)


BUILDERS = {"labels": labels}
DEFAULT = {"labels": lambda context: context.class_name == "BlipForQuestionAnswering"}
GENERATE = {"BlipForConditionalGeneration": caption}
