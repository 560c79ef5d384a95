"""Times models in Python for `benches/versus.rs`, which asks by lines of JSON on standard input.

{"load": folder, "class": name, "new_tokens": n or null} loads a checkpoint and its inputs.safetensors, runs it once,
writes output.safetensors and answers {"output": name of the output}; {"time": n} runs it n times and answers
{"seconds": of one run}.
"""

import json
import pathlib
import sys
import time

import torch
import transformers
from safetensors.torch import load_file, save_file


class Loaded:
    """A model with the inputs of one pass."""

    def __init__(self, folder: pathlib.Path, class_name: str, new_tokens: int | None):
        self.model = getattr(transformers, class_name).from_pretrained(folder).eval()
        self.inputs = load_file(folder / "inputs.safetensors")
        self.new_tokens = new_tokens

    @torch.inference_mode()
    def run(self) -> tuple[str, torch.Tensor]:
        """One forward pass or generation: the name of the first output, and the output."""
        if self.new_tokens is None:
            outputs = self.model(**self.inputs)
            return next((name, value) for name, value in outputs.items() if isinstance(value, torch.Tensor))
        ids = self.model.generate(
            **self.inputs,
            attention_mask=torch.ones_like(self.inputs["input_ids"]),
            min_new_tokens=self.new_tokens,
            max_new_tokens=self.new_tokens,
            do_sample=False,
            pad_token_id=0,
        )
        return "generated_ids", ids


def main() -> None:
    torch.set_num_threads(int(sys.argv[1]))
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    loaded: Loaded | None = None
    for line in sys.stdin:
        question = json.loads(line)
        if "load" in question:
            folder = pathlib.Path(question["load"])
            loaded = None
            loaded = Loaded(folder, question["class"], question["new_tokens"])
            name, output = loaded.run()
            save_file({"output": output.contiguous()}, folder / "output.safetensors")
            answer = {"output": name}
        elif loaded is None:
            raise ValueError("nothing is loaded to be timed")
        else:
            start = time.perf_counter()
            for _ in range(question["time"]):
                loaded.run()
            answer = {"seconds": (time.perf_counter() - start) / question["time"]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
