"""Tests of the generator of cases: `python -m unittest discover reference`."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

import torch
import transformers
from transformers import BertConfig, BertModel, CLIPConfig, LlavaConfig, T5Config

import make_cases
from cases import checkpoint, make, run
from cases.draw import draw, fnv1a64, seeded, value_range
from cases.entry import CaseSpec, Entry, merge
from cases.shrink import small_config

GOLDEN_HASH = 0x9A3F9C06246EC36F
GOLDEN_VALUES = [0.34286022186279297, 0.27006304264068604, 0.46133875846862793]
TINY = {"hidden_size": 8, "num_attention_heads": 2, "intermediate_size": 6, "num_hidden_layers": 1}


def setUpModule() -> None:
    """Quiet, and as deterministic as the command."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()


class Draw(unittest.TestCase):
    """The generator, which Rust has too."""

    def test_known_values(self) -> None:
        self.assertEqual(fnv1a64("encoder.weight"), GOLDEN_HASH)
        values = draw(7, "encoder.weight", [3], -1.0, 1.0)
        self.assertEqual(values.tolist(), GOLDEN_VALUES)

    def test_depends_on_name_and_seed_and_not_on_the_shape(self) -> None:
        first = draw(1, "a", [2, 3], 0, 1)
        self.assertTrue(torch.equal(first.flatten(), draw(1, "a", [6], 0, 1)))
        self.assertFalse(torch.equal(first, draw(2, "a", [2, 3], 0, 1)))
        self.assertFalse(torch.equal(first, draw(1, "b", [2, 3], 0, 1)))

    def test_integers_are_floored_and_constants_constant(self) -> None:
        row = {"shape": [50], "dtype": "int64", "low": 1, "high": 9}
        values = seeded(3, "count", row)
        self.assertEqual(values.dtype, torch.int64)
        self.assertTrue(1 <= values.min() and values.max() <= 8)
        self.assertEqual(seeded(3, "x", {"shape": [2], "dtype": "float32", "value": 2.5}).tolist(), [2.5, 2.5])

    def test_no_neutral_ranges(self) -> None:
        low, high = value_range("layer.LayerNorm.weight", [5], {})
        self.assertTrue(0 < low < 1 < high)
        self.assertGreater(value_range("bn.running_var", [5], {})[0], 0)
        self.assertEqual(value_range("x.bias", [5], {"*.bias": [2, 3]}), (2, 3))


class Shrink(unittest.TestCase):
    """Small configs."""

    def test_sizes_and_special_tokens(self) -> None:
        config = small_config(BertConfig, {"hidden_size": 20}, {})
        self.assertEqual((config.hidden_size, config.num_hidden_layers, config.vocab_size), (20, 2, 21))
        t5 = small_config(T5Config, {"num_layers": 3}, {})
        self.assertEqual((t5.num_layers, t5.num_decoder_layers), (3, 2))

    def test_sub_configs(self) -> None:
        clip = small_config(CLIPConfig, {"text_config": {"hidden_size": 12}}, {})
        self.assertEqual(clip.text_config.hidden_size, 12)
        self.assertLess(clip.vision_config.hidden_size, 64)
        for key in ("pad_token_id", "bos_token_id", "eos_token_id"):
            self.assertLess(getattr(clip.text_config, key), clip.text_config.vocab_size)
        self.assertNotEqual(clip.text_config.bos_token_id, clip.text_config.eos_token_id)

    def test_another_sub_config_class(self) -> None:
        llava = small_config(LlavaConfig, {"text_config": {"model_type": "gpt2", "n_embd": 12}}, {})
        self.assertEqual((llava.text_config.model_type, llava.text_config.n_embd), ("gpt2", 12))

    def test_merge_replaces_tables_of_another_type(self) -> None:
        self.assertEqual(merge({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}), {"a": {"b": 1, "c": 3}})
        self.assertEqual(
            merge({"a": {"model_type": "x", "b": 1}}, {"a": {"model_type": "y"}}), {"a": {"model_type": "y"}}
        )


class WithDeadParameter(BertModel):
    """A BERT with a parameter that nothing reads."""

    def __init__(self, config: BertConfig, add_pooling_layer: bool = True) -> None:
        super().__init__(config, add_pooling_layer)
        self.dead = torch.nn.Parameter(torch.ones(3))


class Observation(unittest.TestCase):
    """What is measured about a model."""

    def test_a_dead_parameter_is_found(self) -> None:
        config = small_config(BertConfig, TINY, {})
        weights = checkpoint.describe(checkpoint.saved(WithDeadParameter(config)), 1, {})
        tensors = checkpoint.drawn(weights)
        model = checkpoint.load_tensors(WithDeadParameter, config, tensors)
        names, origin = checkpoint.origin(WithDeadParameter, config, tensors)
        found = run.insensitive(run.doubled(model), origin, names, {"input_ids": torch.tensor([[5, 7, 9]])}, {})
        self.assertEqual(found, ["dead", "encoder.layer.0.attention.self.key.bias"])

    def test_a_checkpoint_with_a_missing_tensor_is_refused(self) -> None:
        config = small_config(BertConfig, TINY, {})
        tensors = checkpoint.saved(BertModel(config))
        del tensors["pooler.dense.bias"]
        with self.assertRaisesRegex(ValueError, "pooler.dense.bias"):
            checkpoint.load_tensors(BertModel, config, tensors)

    def test_differences(self) -> None:
        infinite = torch.tensor([float("inf"), 1.0])
        self.assertEqual(run.difference(infinite, infinite), 0.0)
        with self.assertRaises(ValueError):
            run.difference(infinite, torch.tensor([2.0, 1.0]))
        with self.assertRaises(ValueError):
            run.difference(torch.tensor([float("nan")]), torch.tensor([float("nan")]))

    def test_double_is_double_throughout(self) -> None:
        with run.in_double():
            value = torch.ones(2, dtype=torch.float64) / 3
            self.assertEqual(value.to(torch.float32).dtype, torch.float64)
            self.assertEqual(value.float().dtype, torch.float64)
            self.assertEqual(torch.softmax(value, -1, dtype=torch.float32).dtype, torch.float64)

    def test_a_case_is_reproduced_and_a_change_noticed(self) -> None:
        spec = CaseSpec("feature-extraction", "BertModel", ("feature-extraction",), TINY, {})
        with tempfile.TemporaryDirectory() as folder:
            first, second = Path(folder) / "a", Path(folder) / "b"
            for target in (first, second):
                make.from_entry(Entry("bert", "encoder-only"), spec, target / "case")
            self.assertEqual(make_cases.differences(first, second), [])
            for name in ("weights.json", "case.safetensors", "case.json", "config.json"):
                self.assertEqual((first / "case" / name).read_bytes(), (second / "case" / name).read_bytes())
            weights = second / "case" / "weights.json"
            weights.write_text(weights.read_text().replace('"seed":1', '"seed":2'))
            self.assertEqual(make_cases.differences(first, second), ["case/weights.json: differs"])

    def test_a_checkpoint_of_ones_own(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder) / "model", Path(folder) / "case"
            BertModel(small_config(BertConfig, TINY, {})).save_pretrained(source)
            case = make.from_checkpoint(source, "BertModel", target, None, {})
            self.assertEqual(case["class"], "BertModel")
            self.assertTrue((target / "model.safetensors").is_file())
            self.assertFalse((target / "weights.json").exists())


if __name__ == "__main__":
    unittest.main()
