"""Makes a config small: Python's defaults, shrunk key by key, then overridden by the entry."""

from __future__ import annotations

import re
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig

from . import builders
from .entry import lowered, merge

# Sizes differ from each other wherever an architecture allows it, so that no two axes can be confused unnoticed.
RULES: list[tuple[str, int]] = [
    (r"(\w+_)?vocab_size", 21),
    # The encoder has more layers than the decoder: caches of transformers are made for the number of the encoder's.
    (r"(num_)?encoder_layers", 3),
    (r"num_hidden_layers|n_layers?|num_layers|depth|(num_)?decoder_layers|decoder_num_hidden_layers", 2),
    (r"hidden_size|d_model|n_embd|embed_dim|hidden_dim|dim|width", 12),
    (r"num_attention_heads|n_heads?|num_heads|encoder_attention_heads", 4),
    (r"decoder_attention_heads", 3),
    (r"num_key_value_heads|num_kv_heads|n_head_kv", 2),
    (r"head_dim|d_kv|attention_head_dim", 6),
    (r"intermediate_size|encoder_ffn_dim|ffn_dim|d_ff|n_inner|ffn_hidden_size", 18),
    (r"decoder_ffn_dim|moe_intermediate_size|shared_expert_intermediate_size", 14),
    (r"max_position_embeddings|n_positions|n_ctx|max_source_positions|max_target_positions|seq_length", 24),
    (r"image_size", 6),
    (r"patch_size|encoder_stride", 2),
    (r"num_channels", 2),
    (r"projection_dim|embedding_size|project_dim", 10),
    (r"classifier_proj_size|proj_codevector_dim|codevector_dim", 10),
    (r"num_mel_bins", 7),
    (r"num_experts|num_local_experts|n_routed_experts", 4),
    (r"num_experts_per_tok|num_experts_per_token|moe_topk|num_selected_experts", 2),
    (r"sliding_window|attention_window", 5),
    (r"num_conv_pos_embeddings", 6),
    (r"num_conv_pos_embedding_groups", 2),
]
LISTS: list[tuple[str, int, int]] = [
    (r"depths", 1, 0),
    (r"hidden_sizes|embed_dims|dims|conv_dim|tdnn_dim", 6, 2),
]
SPECIAL_ID = re.compile(r"\w+_token_(id|index)")


def shrunk(key: str, value: Any) -> Any:
    """The small stand-in for `value`, or None where no rule asks for one."""
    if isinstance(value, int) and not isinstance(value, bool):
        for pattern, small in [*builders.SIZES, *RULES]:
            if re.fullmatch(pattern, key):
                return min(value, small)
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, int) for item in value):
        for pattern, first, step in LISTS:
            if re.fullmatch(pattern, key):
                return [first + step * index for index in range(len(value))]
    return None


def overrides(config: PreTrainedConfig, tiny: dict[str, Any], shallow: bool = False) -> dict[str, Any]:
    """Arguments for the class of `config` that make it small, with those of the entry on top; `shallow`: of one layer."""
    result: dict[str, Any] = {}
    sub_configs = set(config.sub_configs)
    default = config.to_dict()
    # Networks in stages make these of the sizes of their stages, and would take other ones from a file all the same.
    derived = {"num_layers", "hidden_size"} if {"depths", "embed_dim"} <= default.keys() else set()
    for key, value in default.items():
        if key not in sub_configs | derived and (small := shrunk(key, value)) is not None:
            result[key] = small
    for key in sub_configs:
        sub, change = getattr(config, key, None), tiny.get(key, {})
        if (wanted := change.get("model_type")) and (sub is None or wanted != sub.model_type):
            sub = CONFIG_MAPPING[wanted]()
        if isinstance(sub, PreTrainedConfig):
            result[key] = {"model_type": sub.model_type} | overrides(sub, change, shallow)
    result = merge(lowered(result) if shallow else result, tiny)
    return move_special_ids(default, result)


def move_special_ids(default: dict[str, Any], small: dict[str, Any]) -> dict[str, Any]:
    """Gives special tokens beyond the small vocabulary the last ids of it; tokens that were one stay one."""
    text = small.get("text_config", small)
    vocabulary = text.get("vocab_size", small.get("vocab_size"))
    if vocabulary is None:
        return small
    outside = {
        key: value
        for key, value in default.items()
        if SPECIAL_ID.fullmatch(key) and key not in small and isinstance(value, int) and not 0 <= value < vocabulary
    }
    order = {value: vocabulary - 1 - place for place, value in enumerate(sorted(set(outside.values()), reverse=True))}
    return small | {key: order[value] for key, value in outside.items()}


def small_config(
    config_class: type[PreTrainedConfig], tiny: dict[str, Any], extra: dict[str, Any], shallow: bool = False
) -> Any:
    """The config of a case; `extra` are settings that its class asks for."""
    arguments = overrides(config_class(), tiny, shallow)
    return config_class(**(extra | arguments))


def config_for(
    model_class: Any, architecture: type[PreTrainedConfig], tiny: dict[str, Any], shallow: bool = False
) -> PreTrainedConfig:
    """The small config for `model_class`: the architecture's own, or the sub-config that the class is made for."""
    extra: dict[str, Any] = {}
    name = model_class.__name__
    if "Classification" in name and "num_labels" not in tiny:
        extra["num_labels"] = 3
    own = model_class.config_class
    if not issubclass(architecture, own):
        whole = architecture()
        for key in whole.sub_configs:
            if isinstance(getattr(whole, key, None), own):
                return small_config(own, overrides(whole, tiny, shallow)[key], extra, shallow)
        # A part beside the whole: what the entry says of the whole is not meant for it.
        return small_config(own, {key: tiny[key] for key in tiny.keys() & own().to_dict().keys()}, extra, shallow)
    # Classes that generate are causal; shared encoder code is made so by this switch.
    if name.endswith(("LMHeadModel", "ForCausalLM", "GenerationDecoder")) and "is_decoder" in architecture().to_dict():
        extra["is_decoder"] = True
    return small_config(own, tiny, extra, shallow)
