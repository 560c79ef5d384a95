"""Arguments of audio codecs."""

from __future__ import annotations

from typing import Any

import torch

from ..draw import draw, integers


def padding_mask(context: Any) -> torch.Tensor:
    """Ones, with the last third of the second row padded."""
    samples = context.options.get("samples", 400)
    result = torch.ones([context.batch, 1, samples], dtype=torch.long)
    result[1, :, -samples // 3 :] = 0
    return result


def audio_codes(context: Any) -> torch.Tensor:
    """Codes of one chunk, for the decoder alone."""
    shape = [1, context.batch, context.config.num_quantizers, context.options.get("frames", 7)]
    return integers(context.seed, "input.audio_codes", shape, 0, context.config.codebook_size)


def audio_scales(context: Any) -> torch.Tensor:
    """Loudness of each row of the chunk."""
    return draw(context.seed, "input.audio_scales", [1, context.batch, 1], 0.5, 1.5).float()


BUILDERS = {"padding_mask": padding_mask, "audio_codes": audio_codes, "audio_scales": audio_scales}
DEFAULT = {"audio_codes": lambda context: False, "audio_scales": lambda context: False}
