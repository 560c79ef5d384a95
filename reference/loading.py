"""Loads a checkpoint once, in a process of its own, for `benches/loading.rs`: `loading.py THREADS HOW FOLDER CLASS`.

HOW is `safetensors` (the file alone) or `transformers` (`from_pretrained` of the class). Prints one line of JSON: the
seconds that loading took ("load"), and until every value was looked at once ("seen"); the bytes of memory by which the
process grew at most ("peak").
"""

import json
import pathlib
import sys
import time

import torch
import transformers
from safetensors.torch import load_file


def memory(field: str) -> int:
    """A field of /proc/self/status, in bytes."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith(field + ":"))


def main() -> None:
    threads, how, folder, class_name = sys.argv[1:]
    torch.set_num_threads(int(threads))
    transformers.logging.disable_progress_bar()
    # What is imported when it is first asked for, and starting threads, is not what loading takes.
    model_class = getattr(transformers, class_name)
    torch.ones(1 << 20).sum()
    time.sleep(0.2)
    pathlib.Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    start = time.perf_counter()
    if how == "safetensors":
        tensors = load_file(pathlib.Path(folder) / "model.safetensors")
    else:
        model = model_class.from_pretrained(folder)
        tensors = dict(model.named_parameters())
    loaded = time.perf_counter()
    with torch.inference_mode():
        for tensor in tensors.values():
            tensor.sum().item()
    seen = time.perf_counter()
    print(json.dumps({"load": loaded - start, "seen": seen - start, "peak": memory("VmHWM") - before}))


if __name__ == "__main__":
    main()
