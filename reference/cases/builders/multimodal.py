"""Arguments of models that put features of images, video or audio between the tokens of a text."""

from __future__ import annotations

from typing import Any

import torch

from ..draw import draw, integers


def takes(context: Any, argument: str) -> bool:
    """Whether the case has this argument."""
    return argument not in context.options.get("omit", ())


def image_grids(context: Any) -> torch.Tensor:
    """One image a row, of two features each, wide in even rows and high in odd ones."""
    side = context.vision.spatial_merge_size
    grids = [[1, side, 2 * side] if row % 2 == 0 else [1, 2 * side, side] for row in range(context.batch)]
    return torch.tensor(grids)


def video_grids(context: Any) -> torch.Tensor:
    """One video a row, of two frames of one feature each."""
    side = context.vision.spatial_merge_size
    return torch.tensor([[2, side, side]] * context.batch)


def patches(context: Any, name: str, grids: torch.Tensor) -> torch.Tensor:
    """The patches of all grids, one after the other."""
    vision = context.vision
    width = vision.in_channels * vision.temporal_patch_size * vision.patch_size**2
    return draw(context.seed, f"input.{name}", [int(grids.prod(-1).sum()), width], -2, 2).float()


def grid_placeholders(context: Any, row: int) -> list[int | None]:
    """Those of the image, and after a token of text those of the video."""
    image = [context.config.image_token_id] * 2 if takes(context, "pixel_values") else []
    video = [None, *[context.config.video_token_id] * 2] if takes(context, "pixel_values_videos") else []
    return [*image, *video]


def grid_types(context: Any, ids: torch.Tensor, _: int = 0) -> torch.Tensor:
    """0 for text, 1 for images, 2 for video."""
    return (ids == context.config.image_token_id).long() + 2 * (ids == context.config.video_token_id).long()


def types_of_input(context: Any) -> torch.Tensor:
    """The same of the tokens that are passed."""
    from ..inputs import input_ids

    return grid_types(context, input_ids(context))


def tower_grids(context: Any) -> torch.Tensor:
    """An image and a video of another size."""
    side = context.vision.spatial_merge_size
    return torch.tensor([[1, side, 2 * side], [2, 2 * side, 2 * side]])


def tiles(context: Any) -> int:
    """Height and width of an image."""
    return int(context.options.get("height", context.vision.image_size))


def tiled_images(context: Any) -> torch.Tensor:
    """Two images a row, of which odd rows have only one."""
    shape = [context.batch, 2, context.vision.num_channels, tiles(context), tiles(context)]
    values = draw(context.seed, "input.pixel_values", shape, -2, 2).float()
    values[1::2, 1] = 0
    return values


def tiled_mask(context: Any) -> torch.Tensor:
    """Ones, but for a patch less in width and two in height of the very first image."""
    patch = context.vision.patch_size
    result = torch.ones([context.batch, 2, tiles(context), tiles(context)], dtype=torch.long)
    result[0, 0, :, -patch:] = 0
    result[0, 0, -2 * patch :] = 0
    return result


def tile_placeholders(context: Any, row: int) -> list[int | None]:
    """Those of both images, or of one."""
    count = (tiles(context) // context.vision.patch_size // context.config.scale_factor) ** 2
    return [context.config.image_token_id] * count * (2 - row % 2)


def patch_mask(context: Any) -> torch.Tensor:
    """All patches of the first image, all but one row and two columns of the second."""
    side = tiles(context) // context.vision.patch_size
    result = torch.ones([context.batch, side, side], dtype=torch.bool)
    result[1, -1:] = False
    result[1, :, -2:] = False
    return result


def frame_mask(context: Any) -> torch.Tensor:
    """All frames, but a third less in odd rows."""
    frames = 2 * context.audio.max_source_positions
    result = torch.ones([context.batch, frames], dtype=torch.long)
    result[1::2, -frames // 3 :] = 0
    return result


def frame_placeholders(context: Any, row: int) -> list[int | None]:
    """As many as there are features of the frames."""
    count = int(getattr(context.model, "model", context.model).audio_tower._get_feat_extract_output_lengths(frame_mask(context)[row].sum())[1])
    return [context.config.audio_token_id] * count


def prefix_types(context: Any) -> torch.Tensor:
    """0 for what is given, 1 for the last two tokens, which are to be learned."""
    result = torch.zeros(context.shape, dtype=torch.long)
    result[:, -2:] = 1
    return result


def prefix_growing(context: Any, ids: torch.Tensor, prompt: int) -> torch.Tensor:
    """0 for the prompt, 1 for the tokens after it."""
    result = torch.ones_like(ids)
    result[:, :prompt] = 0
    return result


BUILDERS: dict[str, Any] = {}
OWN = {
    "qwen2_audio": {"feature_attention_mask": frame_mask},
    "qwen2_vl": {
        "pixel_values": lambda context: patches(context, "pixel_values", image_grids(context)),
        "image_grid_thw": image_grids,
        "pixel_values_videos": lambda context: patches(context, "pixel_values_videos", video_grids(context)),
        "video_grid_thw": video_grids,
        "mm_token_type_ids": types_of_input,
    },
    "qwen2_vl_text": {
        "position_ids": lambda context: integers(context.seed, "input.position_ids", [3, *context.shape], 0, 12),
    },
    "qwen2_vl_vision": {
        "hidden_states": lambda context: patches(context, "hidden_states", tower_grids(context)),
        "grid_thw": tower_grids,
    },
    "idefics3": {"pixel_values": tiled_images, "pixel_attention_mask": tiled_mask},
    "idefics3_vision": {"patch_attention_mask": patch_mask},
    "paligemma": {"token_type_ids": prefix_types},
}
PLACEHOLDERS = {
    "qwen2_audio": frame_placeholders,
    "qwen2_vl": grid_placeholders,
    "idefics3": tile_placeholders,
}
GROWING = {"qwen2_vl": {"mm_token_type_ids": grid_types}, "paligemma": {"token_type_ids": prefix_growing}}
