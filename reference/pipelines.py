"""Makes tests/data/pipelines/<task>.json: what Python's pipelines return for the checkpoints of text_checkpoints.py.

    python reference/pipelines.py --out tests/data/pipelines [TASK ...]

`question-answering` needs transformers 5.2.0, the last version that has it; the others need the pinned one. Results
that hinge on rounding are worthless, so every input is also run with scores that are off by a little at random, and
left out where its result is another one.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import transformers
from cases import checkpoint
from safetensors.torch import save_file
from transformers import pipeline

CHECKPOINTS = Path(__file__).parent.parent / "tests" / "data" / "checkpoints"
# How far scores are moved, and how far results may move then.
NOISE, MOVED = 3e-5, 1e-3

TEXTS = [
    "My name is Sarah Connor and I live in London with my brother Wolfgang.",
    "Hugging Face is a company based in New York City.",
    "",
    "Paris",
    "ok",
    "It isn't what they're saying; it's how WE'VE heard it!",
    "He was born in Montréal, she was born in São Paulo.",
    "Where do I live?   (spaces   between   words)",
    "unknownwordthatnobodyknows and antidisestablishmentarianism",
    "日本語のテキスト and English",
    "שלום עולם, مرحبا",
    "Emoji 😀 in the middle 👩‍👩‍👧 of it",
    "tabs\tand\nnew lines\r\nand\u00a0spaces",
    "ten o'clock, e-mail@example.com: 3.14 (50 %)",
]
LONG = " ".join(TEXTS[:2] + [TEXTS[6], TEXTS[5]]) + " The end of Berlin, and Der schnelle braune Fuchs."

PAIRS = [
    {"text": "The movie is good.", "text_pair": "That film was a terrible waste of time."},
    {"text": "Where do I live?", "text_pair": "In London."},
    {"text": "", "text_pair": "nothing before"},
]
MASKED = [
    "The capital of France is {mask}.",
    "{mask}",
    "my name is {mask} and i live in London",
    "It isn't {mask}, it's how we've heard it!",
    "Two of them: {mask} and{mask} .",
    "{mask}{mask}{mask} in a row",
    "He was born in Montréal in {mask}, 😀.",
]
NLI = [
    "I have a problem with my phone that needs to be resolved asap!!",
    "The committee will meet on Monday.",
    "Montréal, 日本 and 😀",
    LONG + " " + LONG,
]
QUESTIONS = [
    ("Where do I live?", TEXTS[0]),
    ("What is Hugging Face?", TEXTS[1]),
    ("Who was born in Montréal?", TEXTS[6]),
    ("What is in the middle?", TEXTS[11]),
    ("is it ok", "ok"),
    ("日本?", TEXTS[9]),
    ("What is what, and why is it?", TEXTS[13]),
    ("When?", LONG),
    ("Who?", LONG + "\n\n" + LONG),
]
PROMPTS = [
    "The capital of France",
    "My name is Sarah Connor and I live",
    "ok",
    "It isn't what they're saying; it's",
    "Der schnelle braune Fuchs",
    "Montréal, 日本 and 😀",
    "Two\nlines",
]
CHATS = [
    [{"role": "user", "content": "Where do I live?"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Who wrote the book? 😀 "}],
    [{"role": "user", "content": "The capital of France?"}, {"role": "assistant", "content": "It is"}],
]
BERT, ROBERTA, DEBERTA = "bert", "roberta", "deberta-v2"
TWO = "{} is about {}."

Run = tuple[str, list[Any], dict[str, Any], dict[str, Any]]


def masked(token: str) -> list[str]:
    """The texts with the tokenizer's mask."""
    return [text.format(mask=token) for text in MASKED]


def runs(task: str) -> Iterator[Run]:
    """Checkpoint, inputs, settings of the call, and what config.json says otherwise."""
    if task == "feature-extraction":
        yield BERT, TEXTS[3:5] + TEXTS[11:12], {}, {}
        # Without a pooler.
        yield ROBERTA, TEXTS[2:4], {}, {}
        yield BERT, ["the lazy dog " * 13], {"truncation": True}, {}
    if task == "fill-mask":
        for name, token in ((BERT, "[MASK]"), (ROBERTA, "<mask>"), ("bart", "<mask>")):
            yield name, masked(token), {"top_k": 3}, {}
        yield BERT, masked("[MASK]")[:3], {}, {}
        yield BERT, masked("[MASK]"), {"targets": ["paris", "Paris", "berlin", "the", "unheardof"]}, {}
        yield BERT, masked("[MASK]")[:2], {"targets": "book", "top_k": 4}, {}
        yield ROBERTA, masked("<mask>"), {"targets": ["Paris", "\u0120Paris", "a"], "top_k": 2}, {}
    if task == "text-classification":
        name = "distilbert"
        yield name, TEXTS, {}, {}
        for top_k in (1, 2, None):
            yield name, TEXTS[:5], {"top_k": top_k}, {}
        for function in ("sigmoid", "softmax", "none"):
            yield name, TEXTS[5:8], {"function_to_apply": function, "top_k": None}, {}
        for kind in ("regression", "multi_label_classification", "single_label_classification"):
            yield name, TEXTS[:3], {"top_k": None}, {"problem_type": kind}
        yield ROBERTA, TEXTS + PAIRS, {}, {}
        yield DEBERTA, TEXTS + PAIRS, {"top_k": None}, {}
        yield "bart", TEXTS[:6] + PAIRS, {"top_k": 2}, {}
        yield name, ["the lazy dog " * 13], {"truncation": True}, {}
        yield ROBERTA, [PAIRS[0] | {"text": LONG}], {"truncation": True, "max_length": 30}, {}
    if task == "zero-shot-classification":
        labels = ["politics", "sports", "phone", "science and technology"]
        for name in (DEBERTA, "bart", ROBERTA):
            named = {"id2label": {0: "no", 1: "Entailed", 2: "x", 3: "y", 4: "z", 5: "w"}} if name == ROBERTA else {}
            named |= {"label2id": {label: key for key, label in named["id2label"].items()}} if named else {}
            yield name, NLI, {"candidate_labels": labels}, named
            yield name, NLI[:2], {"candidate_labels": labels, "multi_label": True}, named
        yield DEBERTA, NLI[:3], {"candidate_labels": "politics, sports , ,phone"}, {}
        yield DEBERTA, NLI[:3], {"candidate_labels": ["sports"]}, {}
        yield "bart", NLI, {"candidate_labels": labels[:2], "hypothesis_template": "This text is about {}!"}, {}
        yield "bart", NLI[:2], {"candidate_labels": labels[:2], "hypothesis_template": "{0}, or {{not}}: {0}"}, {}
        yield "bart", NLI[:2], {"candidate_labels": labels}, labelled(["A", "B", "C"])
    if task == "token-classification":
        yield BERT, TEXTS[2::2], {}, {}
        yield ROBERTA, TEXTS[4:7], {}, {}
        for name in (BERT, ROBERTA, "deberta-tokens"):
            for strategy in ("simple", "first", "average", "max"):
                texts = TEXTS if name == BERT else TEXTS[5:13]
                yield name, texts[::2] if strategy == "average" else texts[::3], {"aggregation_strategy": strategy}, {}
        yield BERT, TEXTS[:2], {"ignore_labels": []}, {}
        yield BERT, TEXTS[:5], {"ignore_labels": ["PER", "O"], "aggregation_strategy": "simple"}, {}
        yield BERT, TEXTS[:2], {"ignore_labels": ["B-PER", "MISC"]}, {}
        for stride in (0, 8, 20):
            yield BERT, [LONG, TEXTS[0]], {"stride": stride, "aggregation_strategy": "simple"}, {}
        yield BERT, [LONG + LONG], {"stride": 8, "aggregation_strategy": "first"}, {}
        yield ROBERTA, [LONG, LONG + LONG], {"stride": 11, "aggregation_strategy": "max"}, {}
        yield BERT, [LONG], {"aggregation_strategy": "simple"}, {}
        words = [text.split() for text in (*TEXTS[:2], *TEXTS[5:7], TEXTS[9], TEXTS[11])]
        yield BERT, words, {"is_split_into_words": True}, {}
        yield BERT, words, {"is_split_into_words": True, "aggregation_strategy": "first", "delimiter": "--"}, {}
        yield BERT, [LONG.split()], {"is_split_into_words": True, "aggregation_strategy": "simple", "stride": 5}, {}
    if task == "question-answering":
        examples = [{"question": question, "context": context} for question, context in QUESTIONS]
        for name in ("distilbert", "bart"):
            yield name, examples, {}, {}
            yield name, examples, {"top_k": 3}, {}
            yield name, examples, {"align_to_words": False, "top_k": 2}, {}
            yield name, examples, {"max_answer_len": 3}, {}
            yield name, examples, {"handle_impossible_answer": True, "top_k": 2}, {}
            yield name, examples[:2] + examples[7:], {"max_seq_len": 34, "doc_stride": 6, "top_k": 4}, {}
            yield name, examples[7:], {"max_seq_len": 31, "doc_stride": 12, "handle_impossible_answer": True}, {}


    if task == "text-generation":
        greedy = {"do_sample": False}
        yield "gpt2", PROMPTS, greedy, {}
        yield "gpt2", PROMPTS, greedy | {"return_full_text": False, "max_new_tokens": 5}, {}
        yield "gpt2", PROMPTS[:4], greedy | {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 6}, {}
        yield "gpt2", PROMPTS[:3], greedy | {"repetition_penalty": 1.7, "no_repeat_ngram_size": 2}, {}
        yield "gpt2", PROMPTS[:3], greedy | {"prefix": "He was born. ", "max_length": 30}, {}
        yield "gpt2", PROMPTS[:3], greedy | {"skip_special_tokens": False, "suppress_tokens": [5]}, {}
        yield "gpt2", CHATS, greedy | {"max_new_tokens": 7}, {}
        yield "gpt2", CHATS[:2], greedy | {"max_new_tokens": 4, "return_full_text": False}, {}
        yield "gpt2", CHATS[2:], greedy | {"max_new_tokens": 4, "continue_final_message": False}, {}
    if task == "text2text-generation":
        yield "t5", PROMPTS, {}, {}
        yield "t5", PROMPTS[:4], {"max_new_tokens": 20, "num_beams": 3, "num_return_sequences": 3}, {}
        yield "bart", PROMPTS[:4], {"max_new_tokens": 8, "num_beams": 1}, {}
        yield "t5", PROMPTS[:3], {}, {"prefix": "Who wrote: "}
    if task == "summarization":
        yield "t5", PROMPTS, {}, {}
        yield "t5", PROMPTS[:3], {"min_length": 0, "num_beams": 1}, {}
    if task == "translation":
        yield "t5", PROMPTS, {"src_lang": "en", "tgt_lang": "de"}, {}
        yield "t5", PROMPTS[:3], {"src_lang": "en", "tgt_lang": "de", "prefix": "to Paris: "}, {}


def labelled(labels: list[str]) -> dict[str, Any]:
    """The tables of a configuration with these labels."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


def folder_of(name: str, config: dict[str, Any], into: Path) -> Path:
    """The checkpoint with its weights drawn and `config` changed."""
    shutil.copytree(CHECKPOINTS / name, into / name)
    folder = into / name
    save_file(checkpoint.drawn(json.loads((folder / "weights.json").read_text())), folder / "model.safetensors")
    fields = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(fields))
    return folder


def plain(value: Any) -> Any:
    """The result as JSON, with as many digits as matter."""
    if isinstance(value, dict):
        return {str(key): plain(member) for key, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(member) for member in value]
    if hasattr(value, "item"):
        value = value.item()
    return float(f"{value:.7g}") if isinstance(value, float) else value


def similar(left: Any, right: Any) -> bool:
    """Whether two results are the same but for small differences of numbers."""
    if isinstance(left, float):
        return isinstance(right, float) and abs(left - right) < MOVED
    if isinstance(left, dict):
        return isinstance(right, dict) and left.keys() == right.keys() and all(map(similar, left.values(), right.values()))
    if isinstance(left, list):
        return isinstance(right, list) and len(left) == len(right) and all(map(similar, left, right))
    return left == right


def called(pipe: Any, task: str, one: Any, settings: dict[str, Any]) -> Any:
    """What the pipeline returns for a member of a list."""
    if task == "question-answering":
        answers = plain(pipe(question=[one["question"]] * 2, context=[one["context"]] * 2, **settings)[0])
        # Where there are too few spans, Python fills up with impossible ones, which the order of sorting chooses.
        answers = [answer for answer in ([answers] if isinstance(answers, dict) else answers) if answer["score"] > 0]
        return answers[0] if len(answers) == 1 else answers
    return plain(pipe([one, one], **settings)[0])


class TextToText:
    """What the pipelines of version 4 returned: encoder-decoders under the three names that their task had."""

    FIELDS = {"text2text-generation": "generated_text", "summarization": "summary_text", "translation": "translation_text"}

    def __init__(self, task: str, folder: Path) -> None:
        self.field, self.task = self.FIELDS[task], task
        self.model = transformers.AutoModelForSeq2SeqLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
        self.specific = json.loads((folder / "config.json").read_text()).get("task_specific_params") or {}

    def __call__(self, texts: list[str], **settings: Any) -> list[list[dict[str, str]]]:
        """The texts that are written for each text."""
        source, target = settings.pop("src_lang", None), settings.pop("tgt_lang", None)
        specific = dict(self.specific.get(f"{self.task}_{source}_to_{target}" if source else self.task, {}))
        prefix = specific.pop("prefix", getattr(self.model.config, "prefix", None))
        prefix = settings.pop("prefix", prefix) or ""
        results = []
        for text in texts:
            inputs = self.tokenizer(prefix + text, return_tensors="pt")
            inputs.pop("token_type_ids", None)
            rows = self.model.generate(**inputs, **(specific | settings))
            results.append([{self.field: self.tokenizer.decode(row, skip_special_tokens=True)} for row in rows])
        return results


def recorded(task: str, name: str, inputs: list[Any], settings: dict[str, Any], config: dict[str, Any]) -> dict:
    """One run, as it stands in the file."""
    with tempfile.TemporaryDirectory() as folder:
        place = folder_of(name, config, Path(folder))
        if task in TextToText.FIELDS:
            pipe: Any = TextToText(task, place)
        else:
            pipe = pipeline(task, model=str(place), device="cpu", dtype=torch.float32)
    torch.manual_seed(0)
    noise = [0.0]

    def moved(_module: Any, _arguments: Any, output: Any) -> Any:
        for field in ("logits", "start_logits", "end_logits"):
            if noise[0] and field in output:
                output[field] = output[field] + noise[0] * torch.randn_like(output[field])
        return output

    pipe.model.register_forward_hook(moved)
    kept, results = [], []
    for one in inputs:
        noise[0] = 0.0
        result = called(pipe, task, one, settings)
        noise[0] = NOISE
        if all(similar(result, called(pipe, task, one, settings)) for _ in range(3)):
            kept.append(one)
            results.append(result)
    if len(kept) < len(inputs):
        print(f"{task}, {name}, {settings}: {len(inputs) - len(kept)} of {len(inputs)} left out")
    changed = {"config": plain(config)} if config else {}
    return {"checkpoint": name} | changed | {"settings": settings, "inputs": kept, "results": results}


TASKS = (
    "feature-extraction",
    "fill-mask",
    "text-classification",
    "zero-shot-classification",
    "token-classification",
    "question-answering",
    "text-generation",
    *TextToText.FIELDS,
)


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the files")
    parser.add_argument("tasks", nargs="*", default=TASKS, metavar="TASK", help="tasks; all where none is named")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for task in arguments.tasks:
        rows = ",\n".join(json.dumps(recorded(task, *run), ensure_ascii=False) for run in runs(task))
        head = json.dumps({"transformers": transformers.__version__, "torch": torch.__version__})[1:-1]
        file = arguments.out / f"{task}.json"
        file.write_text(f'{{{head},"task":"{task}","runs":[\n{rows}\n]}}\n')
        print(f"{file}: {file.stat().st_size} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
