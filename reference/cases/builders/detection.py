"""Arguments of detectors."""

from __future__ import annotations

from typing import Any

import torch

from ..draw import draw


def pixel_mask(context: Any) -> torch.Tensor:
    """Ones, with the right third and the lower quarter of the second image padded."""
    from ..inputs import pixel_values

    batch, _, height, width = pixel_values(context).shape
    result = torch.ones([batch, height, width], dtype=torch.bool)
    result[1, :, -(width // 3) :] = False
    result[1, -(height // 4) :, :] = False
    return result


def decoder_inputs_embeds(context: Any) -> torch.Tensor:
    """What queries of a detector begin with instead of zeros; of a text decoder, vectors in place of tokens."""
    count = getattr(context.config, "num_queries", context.options.get("decoder_length", 7))
    shape = [context.batch, count, context.config.d_model]
    return draw(context.seed, "input.decoder_inputs_embeds", shape, -1, 1).float()


BUILDERS = {"pixel_mask": pixel_mask, "decoder_inputs_embeds": decoder_inputs_embeds}
DEFAULT = {
    "pixel_mask": lambda context: "Detection" in context.class_name or "DetrForSegmentation" in context.class_name,
    "decoder_inputs_embeds": lambda context: False,
}
SIZES = [(r"num_queries", 5)]
