"""Documents: where tokens stand on a page. With the option `crossed_boxes`, edges come in any order."""

from __future__ import annotations

from typing import Any

import torch

from ..draw import integers


def bbox(context: Any) -> torch.Tensor:
    """Left, upper, right and lower edges, anywhere on a page as large as the tables of the model."""
    shape = [*context.shape, 2, 2]
    edges = integers(context.seed, "input.bbox", shape, 0, context.config.max_2d_position_embeddings)
    if not context.options.get("crossed_boxes"):
        edges = edges.sort(dim=-2).values
    first, second = edges.unbind(-2)
    return torch.cat([first, second], dim=-1)


BUILDERS = {"bbox": bbox}
SIZES = [
    (r"max_2d_position_embeddings", 30),
    (r"coordinate_size|shape_size", 2),
    (r"rel_pos_bins|rel_2d_pos_bins", 8),
    (r"max_rel_pos", 5),
    (r"max_rel_2d_pos", 40),
    (r"input_size", 6),
]
