"""Arguments of models that make spectrograms, and of vocoders that make audio of them."""

from __future__ import annotations

from typing import Any

import torch

from ..draw import draw


def decoder_input_values(context: Any) -> torch.Tensor:
    """What the decoder has made so far: frames of a spectrogram, or hidden states for a model without prenets."""
    config = context.config
    width = config.hidden_size if takes_states(context) else config.num_mel_bins
    shape = [context.batch, context.options.get("decoder_length", 7), width]
    return draw(context.seed, "input.decoder_input_values", shape, -1.5, 1.5).float()


def speaker_embeddings(context: Any) -> torch.Tensor:
    """A vector of each row's speaker."""
    shape = [context.batch, context.config.speaker_embedding_dim]
    return draw(context.seed, "input.speaker_embeddings", shape, -1, 1).float()


def spectrogram(context: Any) -> torch.Tensor:
    """Frames for a vocoder."""
    shape = [context.batch, context.options.get("frames", 5), context.config.model_in_dim]
    return draw(context.seed, "input.spectrogram", shape, -1.5, 1.5).float()


def takes_states(context: Any) -> bool:
    """Whether the model has no prenets."""
    return context.class_name == "SpeechT5Model"


BUILDERS = {
    "decoder_input_values": decoder_input_values,
    "speaker_embeddings": speaker_embeddings,
    "spectrogram": spectrogram,
}
DEFAULT = {"speaker_embeddings": lambda context: not takes_states(context)}
