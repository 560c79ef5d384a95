"""Times models in Python for `benches/versus`, which asks by lines of JSON on standard input.

{"load": folder, "class": name, "new_tokens": n or null} loads a checkpoint and its inputs.safetensors, runs it once,
writes output.safetensors and answers {"output": name of the output}; {"time": n} runs it n times and answers
{"seconds": of one run}. With "curve": true nothing is run at first, and {"curve": {"rows": r, "length": l,
"new_tokens": n}} continues the first l tokens of the input, of which all but one are read beforehand and once, in r rows:
{"seconds": of every token but the first, "ids": the new ones}.
"""

import copy
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
        self.read: tuple[int, transformers.Cache | None] = (0, None)

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


    @torch.inference_mode()
    def curve(self, rows: int, length: int, new_tokens: int) -> dict:
        """The time of every new token but the first after `length` tokens, and the new tokens."""
        text = self.inputs["input_ids"][:, :length]
        if self.read[0] != length:
            self.read = (length, self.model(text[:, :-1], use_cache=True, logits_to_keep=1).past_key_values)
        cache = copy.deepcopy(self.read[1])
        if rows > 1:
            cache.batch_repeat_interleave(rows)
        text = text.repeat(rows, 1)
        stamps = Stamps()
        ids = self.model.generate(
            text,
            attention_mask=torch.ones_like(text),
            past_key_values=cache,
            streamer=stamps,
            min_new_tokens=new_tokens,
            max_new_tokens=new_tokens,
            do_sample=False,
            pad_token_id=0,
        )
        # The first time is that of the prompt, which streamers are given, too.
        times = stamps.times[1:]
        seconds = [later - sooner for sooner, later in zip(times, times[1:], strict=False)]
        return {"seconds": seconds, "ids": ids[:, length:].tolist()}


class Stamps(transformers.generation.streamers.BaseStreamer):
    """The times at which tokens came."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        """Notes the time."""
        self.times.append(time.perf_counter())

    def end(self) -> None:
        """Nothing is left to do."""


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
            loaded = Loaded(folder, question["class"], question.get("new_tokens"))
            answer = {"output": None}
            if not question.get("curve"):
                name, output = loaded.run()
                save_file({"output": output.contiguous()}, folder / "output.safetensors")
                answer = {"output": name}
        elif loaded is None:
            raise ValueError("nothing is loaded to be timed")
        elif "curve" in question:
            answer = loaded.curve(**question["curve"])
        else:
            start = time.perf_counter()
            for _ in range(question["time"]):
                loaded.run()
            answer = {"seconds": (time.perf_counter() - start) / question["time"]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
