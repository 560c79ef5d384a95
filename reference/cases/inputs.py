"""Builds the arguments of `forward` from its signature: a builder per argument name, with options of the entry on top.

Options (`[inputs]` of an entry, or `[inputs.cases.<case>]`):

    batch, length, decoder_length, samples, frames, height, width, choices, negatives, prompt_length
    text_batch   rows of text where they differ from those of images
    padding      "left", "right" or "none": where row 1 of the batch is padded
    image_tokens tokens that stand for one image where they are not those of a square grid and a class token
    add, omit    arguments to pass, or not to pass, in spite of the defaults
    python       arguments that are no tensors
    states       true where `input_values` are hidden states of `length` tokens
    null         fields of the config that are null, which an entry's tables cannot say
    tiny         what the case of a class changes about the entry's `[tiny]`, as `tiny` of an extra case does
    ranges       {pattern of checkpoint names = [low, high]} for weights that the general rule does not suit
    greedy_position_ids
                 true where `generate` counts positions otherwise than the model itself (RoBERTa): follow `generate`
    own_tensors  {name = other name}: tensors that a checkpoint holds beside the one they are tied to by default
    hub_names    [[regex, replacement], ...]: writes the checkpoint with the names of older files on the hub
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedConfig

from . import builders
from .draw import draw, integers
from .shrink import SPECIAL_ID

Builder = Callable[["Context"], torch.Tensor]

TEXT_ARGUMENTS = {
    "input_ids", "attention_mask", "token_type_ids", "position_ids", "decoder_input_ids", "decoder_attention_mask",
    "mc_token_ids",
}  # fmt: skip
ON_REQUEST = {
    "position_ids",
    "decoder_attention_mask",
    "encoder_hidden_states",
    "encoder_attention_mask",
    "encoder_outputs",
}
# Classes that make the decoder's input themselves by shifting the encoder's.
SHIFTING = ("ForSequenceClassification", "ForQuestionAnswering")


@dataclass
class Context:
    """What builders may look at."""

    model: Any
    class_name: str
    category: str
    options: dict[str, Any]
    seed: int
    prompt: torch.Tensor | None = None

    @property
    def config(self) -> PreTrainedConfig:
        """The config of the whole model."""
        return self.model.config

    @property
    def text(self) -> Any:
        """The config of the language model."""
        return self.config.get_text_config(decoder=True)

    @property
    def vision(self) -> Any:
        """The config of the vision tower (the encoder of a composed model), or of the whole model."""
        parts = (getattr(self.config, name, None) for name in ("vision_config", "encoder"))
        return next((part for part in parts if isinstance(part, PreTrainedConfig)), self.config)

    @property
    def main_input(self) -> str:
        """The argument that carries the data: `input_ids`, `pixel_values`, `input_values` or `input_features`."""
        names = inspect.signature(self.model.forward).parameters
        return "input_ids" if "input_ids" in names else self.model.main_input_name

    @property
    def batch(self) -> int:
        """Rows."""
        return self.options.get("batch", 2)

    @property
    def length(self) -> int:
        """Tokens of a row: room for an image, where there is one, beside the padding."""
        if "length" in self.options:
            return self.options["length"]
        return (image_tokens(self) + 2) * 3 // 2 + 1 if takes_images(self) else 6

    @property
    def choices(self) -> int | None:
        """Choices per row of classes with one more axis."""
        several = "MultipleChoice" in self.class_name or "DoubleHeads" in self.class_name
        return self.options.get("choices", 3) if several else None

    @property
    def shape(self) -> list[int]:
        """Shape of `input_ids`."""
        rows = self.options.get("text_batch", self.batch)
        return [rows, *([self.choices] if self.choices else []), self.length]

    @property
    def padding(self) -> str:
        """The side on which a row is padded."""
        causal = self.category in ("decoder-only", "multimodal")
        return self.options.get("padding", "left" if causal else "right")

    def special_ids(self) -> dict[str, int]:
        """Token ids with a meaning, by their names in the config and its text config."""
        found: dict[str, int] = {}
        for config in (self.text, self.config):
            for key, value in config.to_dict().items():
                if SPECIAL_ID.fullmatch(key):
                    for item in value if isinstance(value, list) else [value]:
                        if isinstance(item, int):
                            found[key] = item
        return found


def mask(context: Context, shape: list[int], name: str = "attention_mask") -> torch.Tensor:
    """Ones, with about a third of the second row padded."""
    result = torch.ones(shape, dtype=torch.long)
    padded = max(1, shape[-1] // 3)
    if context.options.get("padding_rows", True) and len(shape) > 1 and shape[0] > 1:
        if context.padding == "left" and name == "attention_mask":
            result[1, ..., :padded] = 0
        elif context.padding != "none":
            result[1, ..., -padded:] = 0
    return result


def plain_ids(context: Context, name: str, shape: list[int]) -> torch.Tensor:
    """Token ids without a meaning of their own."""
    special = set(context.special_ids().values())
    plain = torch.tensor([token for token in range(context.text.vocab_size) if token not in special])
    return plain[integers(context.seed, name, shape, 0, len(plain))]


def image_tokens(context: Context) -> int:
    """How many image tokens stand for one image; without the option, that of a tower with a class token."""
    if "image_tokens" in context.options:
        return context.options["image_tokens"]
    size, patch = context.vision.image_size, context.vision.patch_size
    strategy = getattr(context.config, "vision_feature_select_strategy", "default")
    return (size // patch) ** 2 + (1 if strategy == "full" else 0)


def takes_images(context: Context) -> bool:
    """Whether images stand among the tokens."""
    marked = getattr(context.config, "image_token_id", None) is not None
    return marked and "pixel_values" in inspect.signature(context.model.forward).parameters


def place_images(context: Context, ids: torch.Tensor) -> torch.Tensor:
    """Puts the image tokens of one image into each row, at the end but for two tokens."""
    if takes_images(context):
        count = image_tokens(context)
        ids[:, -count - 2 : -2] = context.config.image_token_id
    return ids


def input_ids(context: Context) -> torch.Tensor:
    """Tokens; the last real one of a row is the end token where there is one and the model is no plain decoder."""
    ids = place_images(context, plain_ids(context, "input.input_ids", context.shape))
    special = context.special_ids()
    real = mask(context, list(ids.shape)) if passes(context, "attention_mask") else torch.ones_like(ids)
    end = special.get("eos_token_id")
    if end is not None and context.category not in ("decoder-only", "multimodal"):
        last = real.cumsum(-1).argmax(-1, keepdim=True)
        ids = ids.scatter(-1, last, end)
    return torch.where(real == 1, ids, torch.full_like(ids, special.get("pad_token_id", 0)))


def prompt_ids(context: Context) -> torch.Tensor:
    """An unpadded prompt: what the decoder starts from, or what the encoder of a text-to-text model reads."""
    if context.prompt is not None:
        return context.prompt
    name = "input.prompt_ids"
    if context.config.is_encoder_decoder and context.main_input != "input_ids":
        ids = plain_ids(context, name, [context.batch, context.options.get("prompt_length", 3)])
        ids[:, 0] = context.config.decoder_start_token_id
        return ids
    ids = plain_ids(context, name, [context.batch, context.options.get("prompt_length", context.length - 2)])
    end = context.special_ids().get("eos_token_id")
    if context.config.is_encoder_decoder and end is not None:
        ids[:, -1] = end
    return place_images(context, ids)


def decoder_input_ids(context: Context) -> torch.Tensor:
    """Tokens for the decoder, beginning with its start token."""
    ids = plain_ids(context, "input.decoder_input_ids", [context.batch, context.options.get("decoder_length", 7)])
    start = context.special_ids().get("decoder_start_token_id", context.special_ids().get("pad_token_id"))
    if start is not None:
        ids[:, 0] = start
    return ids


def pixel_values(context: Context) -> torch.Tensor:
    """Images of the size in the config or the options; networks that halve it stage by stage get room for it."""
    size: Any = 37 if hasattr(context.vision, "depths") else getattr(context.vision, "image_size", 23)
    sides: Any = size if isinstance(size, (list, tuple)) else (size, size)
    height, width = (int(context.options.get(key, side)) for key, side in zip(("height", "width"), sides, strict=True))
    shape = [context.batch, getattr(context.vision, "num_channels", 3), height, width]
    return draw(context.seed, "input.pixel_values", shape, -2, 2).float()


def bool_masked_pos(context: Context) -> torch.Tensor:
    """Patches to mask: about a half."""
    count = (context.vision.image_size // context.vision.patch_size) ** 2
    return integers(context.seed, "input.bool_masked_pos", [context.batch, count], 0, 2).bool()


def input_features(context: Context) -> torch.Tensor:
    """Log-mel frames."""
    frames = context.options.get("frames", 2 * getattr(context.config, "max_source_positions", 10))
    shape = [context.batch, context.config.num_mel_bins, frames]
    return draw(context.seed, "input.input_features", shape, -1.5, 1.5).float()


def spectrogram(context: Context) -> list[int] | None:
    """Frames and bins of what is no raw audio, but goes by its name: of a spectrogram, or of hidden states."""
    if context.options.get("states"):
        return [context.length, context.config.hidden_size]
    bins, frames = (getattr(context.config, key, None) for key in ("num_mel_bins", "max_length"))
    return [frames, bins] if frames and bins else None


def input_values(context: Context) -> torch.Tensor:
    """Raw audio, whose padded samples are zero, or a spectrogram."""
    if frames := spectrogram(context):
        return draw(context.seed, "input.input_values", [context.batch, *frames], -1.5, 1.5).float()
    channels = getattr(context.config, "audio_channels", None)
    shape = [context.batch, *([channels] if channels else []), context.options.get("samples", 400)]
    values = draw(context.seed, "input.input_values", shape, -1, 1).float()
    return values * mask(context, list(values.shape)) if passes(context, "attention_mask") else values


def audio_frames(context: Context) -> int:
    """Frames that the feature encoder makes of the raw audio."""
    samples = context.options.get("samples", 400)
    return int(context.model._get_feat_extract_output_lengths(torch.tensor([samples]))[0])


def mask_time_indices(context: Context) -> torch.Tensor:
    """Frames to mask: a third, none of them padded."""
    marks = integers(context.seed, "input.mask_time_indices", [context.batch, audio_frames(context)], 0, 3) == 0
    marks[1, marks.shape[1] // 2 :] = False
    marks[:, 1] = True
    return marks


def sampled_negative_indices(context: Context) -> torch.Tensor:
    """For each masked frame, the frames of the flattened batch that serve as negatives."""
    marks = mask_time_indices(context)
    rows, frames = marks.shape
    negatives = context.options.get("negatives", 3)
    result = torch.zeros(rows, frames, negatives, dtype=torch.long)
    for row in range(rows):
        places = marks[row].nonzero().flatten()
        pick = integers(context.seed, f"input.sampled_negative_indices.{row}", [frames, negatives], 0, len(places))
        result[row] = places[pick] + row * frames
    return result


BUILDERS: dict[str, Builder] = {
    "input_ids": input_ids,
    "attention_mask": lambda context: mask(context, attention_shape(context)),
    "token_type_ids": lambda c: integers(c.seed, "input.token_type_ids", c.shape, 0, segments(c)),
    "position_ids": lambda c: integers(c.seed, "input.position_ids", c.shape, 0, 12),
    "mc_token_ids": lambda c: integers(c.seed, "input.mc_token_ids", c.shape[:-1], 0, c.length),
    "decoder_input_ids": decoder_input_ids,
    "decoder_attention_mask": lambda c: mask(c, list(decoder_input_ids(c).shape), "decoder_attention_mask"),
    "encoder_hidden_states": lambda c: states(c, "encoder_hidden_states"),
    "encoder_outputs": lambda c: states(c, "encoder_outputs"),
    "encoder_attention_mask": lambda c: mask(c, [c.batch, 5], "encoder_attention_mask"),
    "pixel_values": pixel_values,
    "bool_masked_pos": bool_masked_pos,
    "input_features": input_features,
    "input_values": input_values,
    "mask_time_indices": mask_time_indices,
    "sampled_negative_indices": sampled_negative_indices,
} | builders.BUILDERS


def segments(context: Context) -> int:
    """Ids of segments: all tokens where the model has no table for segments and looks them up among those."""
    return getattr(context.text, "type_vocab_size", None) or context.text.vocab_size


def states(context: Context, name: str) -> torch.Tensor:
    """Hidden states of an encoder that is not part of the model."""
    config = context.config
    other = getattr(config, "cross_attention_hidden_size", None) or getattr(config, "encoder_hidden_size", None)
    width = other or config.hidden_size
    return draw(context.seed, f"input.{name}", [context.batch, 5, width], -1.5, 1.5).float()


def attention_shape(context: Context) -> list[int]:
    """Shape of the main mask: that of the tokens, or of the raw audio."""
    if context.main_input == "input_values" and not spectrogram(context):
        return [context.batch, context.options.get("samples", 400)]
    return context.shape


def passes(context: Context, argument: str) -> bool:
    """Whether the case passes this argument to `forward`."""
    parameters = inspect.signature(context.model.forward).parameters
    if argument not in parameters or argument not in BUILDERS or argument in context.options.get("omit", ()):
        return False
    if argument in context.options.get("add", ()):
        return True
    if argument in ON_REQUEST:
        return False
    if argument in builders.DEFAULT:
        return builders.DEFAULT[argument](context)
    match argument:
        case "token_type_ids":
            return getattr(context.text, "type_vocab_size", 0) > 1
        case "attention_mask":
            return context.main_input in ("input_ids", "input_values") and not spectrogram(context)
        case "decoder_input_ids":
            return not context.class_name.endswith(SHIFTING)
        case "bool_masked_pos":
            return "MaskedImageModeling" in context.class_name
        case "mask_time_indices" | "sampled_negative_indices":
            return "PreTraining" in context.class_name
    return True


def build(context: Context) -> dict[str, torch.Tensor]:
    """The tensors that the case passes to `forward`."""
    parameters = inspect.signature(context.model.forward).parameters
    return {name: BUILDERS[name](context).contiguous() for name in parameters if passes(context, name)}


def python_arguments(context: Context, traced: bool) -> dict[str, Any]:
    """The arguments of `forward` that are no tensors."""
    result: dict[str, Any] = {}
    parameters = inspect.signature(context.model.forward).parameters
    if "use_cache" in parameters or hasattr(context.text, "use_cache"):
        result["use_cache"] = False
    anything = any(parameter.kind == parameter.VAR_KEYWORD for parameter in parameters.values())
    if traced and (anything or "output_hidden_states" in parameters):
        result["output_hidden_states"] = True
    return result | context.options.get("python", {})
