"""Tokenizers of tiktoken's files, and those of DeBERTa-v2 that have a tokenizer.json."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from .cases import ADDED, EOT, case


def ranks(vocabulary: Path, out: Path) -> None:
    """Writes byte pairs as tiktoken has them: the bytes of a token in base64 and its rank."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    byte_of = {chr(byte): byte for byte in printable} | {chr(256 + place): byte for place, byte in enumerate(others)}
    tokens = json.loads((vocabulary / "vocab.json").read_text())
    merges = (line.split(" ") for line in (vocabulary / "merges.txt").read_text().splitlines()[1:])
    ranked = [char for char in tokens if char in byte_of] + list(dict.fromkeys("".join(merge) for merge in merges))
    lines = (base64.b64encode(bytes(byte_of[char] for char in token)).decode() + f" {rank}\n" for rank, token in enumerate(ranked))
    out.mkdir(parents=True, exist_ok=True)
    (out / "tokenizer.model").write_text("".join(lines))


START = {**EOT, "content": "<|begin_of_text|>"}

RANKED = [
    case("ranks-llama3", "ranks", "llama", "PreTrainedTokenizerFast", added_tokens_decoder={
        "480": START, "483": EOT, "484": {**EOT, "content": "<mask>"},
    }, bos_token="<|begin_of_text|>", eos_token="<|endoftext|>", clean_up_tokenization_spaces=True),
    case("ranks-legacy", "ranks", "kimi_k25", files={"rename": {"tokenizer.model": "tiktoken.model"}},
         additional_special_tokens=["<|im_start|>", "<new>"], eos_token="<|im_start|>", add_eos_token=True),
    case("ranks-bare", "ranks", "", pad_token="<pad>", padding_side="left"),
    case("ranks-added", "ranks", "internlm2", added_tokens_decoder={"3": {**EOT, "content": "<s>"}, "469": ADDED}, extra_special_tokens=["<new>", "<eos>"]),
    case("ranks-mistral", "ranks", "mistral", extra_special_tokens={"image_token": "<image>"}, add_bos_token=True, bos_token="<s>"),
    case("ranks-llama", "ranks", "llama", "LlamaTokenizer", add_bos_token=True, legacy=False),
    case("ranks-llama-plain", "ranks", "llama", "LlamaTokenizerFast"),
    case("ranks-qwen2", "ranks", "qwen2", "Qwen2Tokenizer", extra_special_tokens=["<|im_start|>", "<|im_end|>"]),
    case("ranks-gpt2", "ranks", "gpt2", files={"rename": {"tokenizer.model": "tiktoken.model"}}, pad_token="<pad>"),
    case("ranks-roberta", "ranks", "roberta"),
    case("ranks-t5", "ranks", "t5", files={"rename": {"tokenizer.model": "spiece.model"}}),
    case("deberta-v2-json", "unigram-deberta", "deberta-v2", "DebertaV2Tokenizer", saved=True, do_lower_case=False),
    case("deberta-v2-json-split", "unigram-deberta", "deberta-v2", "DebertaV2TokenizerFast", saved=True, do_lower_case=True, split_by_punct=True),
    case("deberta-v2-json-added", "unigram-deberta", "deberta-v2", "DebertaV2Tokenizer", saved=True, add_prefix_space=False, added_tokens_decoder={
        "0": {**EOT, "content": "[PAD]"}, "3": {**EOT, "content": "[UNK]", "normalized": True}, "330": {**EOT, "content": "[MASK]"},
    }),
]  # fmt: skip
