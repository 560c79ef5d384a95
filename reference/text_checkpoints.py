"""Makes tests/data/checkpoints: small checkpoints that read text, with seeded weights and tokenizers trained here.

    python reference/text_checkpoints.py --out tests/data/checkpoints

One folder serves several classes: weights.json has the tensors of all of them. A tokenizer that is already there is kept,
as training orders its vocabulary by chance; remove tokenizer.json to train it anew.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tokenizers
import transformers
from cases import checkpoint
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoConfig

CORPUS = """
The capital of France is Paris, and the capital of Germany is Berlin.
My name is Sarah Connor and I live in London with my brother Wolfgang.
This movie is disgustingly good! That film was a terrible waste of time.
Director tried too much; the actors did not try at all.
I have a problem with my phone that needs to be resolved as soon as possible.
The quick brown fox jumps over the lazy dog, again and again.
Where do I live? Who wrote the book? When did the war end? What is the answer?
Hugging Face is a company based in New York City and in Paris.
He was born in Montréal in 1975, she was born in São Paulo in 1981.
Politics, sports, science and technology are topics of the newspaper.
The committee will meet on Monday at ten o'clock in the old town hall.
It isn't what they're saying; it's how we've heard it.
Der schnelle braune Fuchs springt über den faulen Hund.
Les enfants mangent des pommes et des poires dans le jardin.
""".strip().splitlines()

LABELS = ["O", "B-PER", "I-PER", "B-LOC", "I-LOC", "MISC"]


def trained(tokenizer: tokenizers.Tokenizer, trainer: Any) -> tokenizers.Tokenizer:
    """The tokenizer with a vocabulary of the corpus."""
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def word_piece() -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """As BERT's: lowercased, words in pieces."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokenizer = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(vocab_size=260, special_tokens=special, show_progress=False)
    tokenizer = trained(tokenizer, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    named = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    settings = {"do_lower_case": True, "clean_up_tokenization_spaces": True}
    return tokenizer, {f"{role}_token": token for role, token in named.items()} | settings


def byte_pairs() -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """As RoBERTa's: bytes in pairs, spaces kept."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=480, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer = trained(tokenizer, trainer)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 2), ("<s>", 0), trim_offsets=True, add_prefix_space=False
    )
    tokenizer.add_special_tokens([tokenizers.AddedToken("<mask>", lstrip=True, special=True)])
    mask = {"__type": "AddedToken", "content": "<mask>", "lstrip": True, "rstrip": False, "normalized": False}
    mask |= {"single_word": False, "special": True}
    named = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>", "cls": "<s>", "sep": "</s>", "mask": mask}
    settings = {"add_prefix_space": False, "trim_offsets": True, "clean_up_tokenization_spaces": False}
    return tokenizer, {f"{role}_token": token for role, token in named.items()} | settings


def unigram() -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """As DeBERTa v2's: pieces of text with their spaces, as SentencePiece makes them."""
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Strip(), normalizers.NFC(), normalizers.Replace(tokenizers.Regex(" {2,}"), " ")]
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=220, special_tokens=special, unk_token="[UNK]", show_progress=False
    )
    tokenizer = trained(tokenizer, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 1), ("[SEP]", 2)],
    )
    named = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    return tokenizer, {f"{role}_token": token for role, token in named.items()}


def bytes_alone() -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """As GPT-2's: bytes in pairs, and no special tokens around a text."""
    tokenizer, settings = byte_pairs()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer, {role: settings[role] for role in ("bos_token", "eos_token", "pad_token", "unk_token")}


def pieces_to_end() -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """As T5's: pieces of text with their spaces, and an end."""
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=230, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer = trained(tokenizer, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)]
    )
    return tokenizer, {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}


def unigram_pieces() -> list[tuple[str, float]]:
    """Pieces of the corpus with their scores."""
    tokenizer = tokenizers.Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=150, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    vocabulary = json.loads(trained(tokenizer, trainer).to_str())["model"]["vocab"]
    return [(piece, score) for piece, score in vocabulary if piece != "<unk>"]


def of_many_languages(class_name: str, language: str, **settings: Any) -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """As the class makes it of a SentencePiece model: fairseq's tokens, pieces, languages, and the mask."""
    first = ["<s>", "<pad>", "</s>", "<unk>"]
    tokenizer_class = getattr(transformers, class_name)
    if class_name == "NllbTokenizer":
        tokenizer = tokenizers.Tokenizer(models.BPE(unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        trainer = trainers.BpeTrainer(vocab_size=190, special_tokens=first, show_progress=False)
        model = json.loads(trained(tokenizer, trainer).to_str())["model"]
        given = {"vocab": model["vocab"], "merges": [tuple(merge) for merge in model["merges"]]}
    else:
        from transformers.models.mbart import tokenization_mbart
        from transformers.models.mbart50 import tokenization_mbart50

        codes = {"MBartTokenizer": tokenization_mbart, "MBart50Tokenizer": tokenization_mbart50}[class_name]
        last = [*codes.FAIRSEQ_LANGUAGE_CODES, "<mask>"]
        given = {"vocab": [(token, 0.0) for token in first] + unigram_pieces() + [(token, 0.0) for token in last]}
    made = tokenizer_class(**given, src_lang=language, **settings)
    return made.backend_tokenizer, {"src_lang": language} | settings


def of_coded_languages() -> tuple[tokenizers.Tokenizer, dict[str, Any]]:
    """As M2M100's, whose own class has no tokenizer.json: languages between underscores, the first token of a text."""
    languages = [f"__{code}__" for code in ("de", "en", "fr", "ro", "zh")]
    first = [(token, 0.0) for token in ("<s>", "<pad>", "</s>", "<unk>")]
    tokenizer = tokenizers.Tokenizer(models.Unigram(first + unigram_pieces(), unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.add_special_tokens(["<s>", "<pad>", "</s>", "<unk>", *languages])
    tokenizer.post_processor = template(tokenizer, "__en__")
    named = {"bos": "<s>", "eos": "</s>", "pad": "<pad>", "unk": "<unk>"}
    return tokenizer, {f"{role}_token": token for role, token in named.items()} | {"extra_special_tokens": languages}


def template(tokenizer: tokenizers.Tokenizer, language: str) -> processors.TemplateProcessing:
    """A language, a text, its end."""
    special = [(token, tokenizer.token_to_id(token)) for token in (language, "</s>")]
    return processors.TemplateProcessing(single=f"{language} $A </s>", special_tokens=special)


def labelled(labels: list[str]) -> dict[str, Any]:
    """The tables of a configuration with these labels."""
    return {"id2label": dict(enumerate(labels)), "label2id": {label: index for index, label in enumerate(labels)}}


# Heads whose answers would be the same for most tokens otherwise.
WIDER = {"classifier.weight": (-0.8, 0.8), "qa_outputs.weight": (-0.8, 0.8)}
SEEDS = {"roberta": 3}

CHAT = (
    "{{ bos_token }}{% for message in messages %}{{ message.role | upper }}: {{ message.content | trim }}{{ eos_token }}\n"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT: {% endif %}"
)
TRANSLATING = {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
TRANSLATING |= {"forced_eos_token_id": 2, "max_length": 12}
SMALL = {"d_model": 24, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4}
SMALL |= {"decoder_attention_heads": 3, "encoder_ffn_dim": 30, "decoder_ffn_dim": 28, "max_position_embeddings": 64}
# What generation_config.json says.
GENERATION: dict[str, dict[str, Any]] = {
    "gpt2": {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2, "max_new_tokens": 14},
    "t5": {"decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1, "max_length": 12},
} | {name: TRANSLATING for name in ("mbart", "mbart50", "nllb", "m2m100")}

Tokens = Callable[[], tuple[tokenizers.Tokenizer, dict[str, Any]]]

# Folder: model_type, tokenizer and its class, the longest text that it gives, classes, configuration.
CHECKPOINTS: dict[str, tuple[str, Tokens, str, int, list[str], dict[str, Any]]] = {
    "bert": (
        "bert",
        word_piece,
        "BertTokenizer",
        40,
        ["BertForMaskedLM", "BertForTokenClassification", "BertForSequenceClassification"],
        {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 32}
        | {"max_position_embeddings": 48}
        | labelled(LABELS),
    ),
    "distilbert": (
        "distilbert",
        word_piece,
        "DistilBertTokenizer",
        40,
        ["DistilBertForSequenceClassification", "DistilBertForQuestionAnswering"],
        {"dim": 20, "n_layers": 1, "n_heads": 4, "hidden_dim": 28, "max_position_embeddings": 48}
        | labelled(["negative", "positive"]),
    ),
    "roberta": (
        "roberta",
        byte_pairs,
        "RobertaTokenizer",
        60,
        [
            "RobertaForMaskedLM",
            "RobertaForTokenClassification",
            "RobertaForSequenceClassification",
        ],
        {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 30}
        | {"max_position_embeddings": 66, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
        | {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
        | labelled(LABELS),
    ),
    "deberta-v2": (
        "deberta-v2",
        unigram,
        "PreTrainedTokenizerFast",
        56,
        ["DebertaV2ForSequenceClassification"],
        {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 28}
        | {"max_position_embeddings": 64, "type_vocab_size": 0, "relative_attention": True, "position_buckets": 8}
        | {"pos_att_type": ["p2c", "c2p"], "share_att_key": True, "norm_rel_ebd": "layer_norm"}
        | {"position_biased_input": False, "pooler_hidden_size": 24}
        | labelled(["entailment", "neutral", "contradiction"]),
    ),
    "deberta-tokens": (
        "deberta-v2",
        unigram,
        "PreTrainedTokenizerFast",
        56,
        ["DebertaV2ForTokenClassification"],
        {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 28}
        | {"max_position_embeddings": 64, "type_vocab_size": 0}
        | labelled(LABELS),
    ),
    "bart": (
        "bart",
        byte_pairs,
        "BartTokenizer",
        60,
        ["BartForSequenceClassification", "BartForConditionalGeneration", "BartForQuestionAnswering"],
        {"d_model": 24, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4}
        | {"decoder_attention_heads": 3, "encoder_ffn_dim": 30, "decoder_ffn_dim": 28, "max_position_embeddings": 64}
        | {"classifier_dropout": 0.0}
        | labelled(["contradiction", "neutral", "entailment"]),
    ),
    "gpt2": (
        "gpt2",
        bytes_alone,
        "PreTrainedTokenizerFast",
        60,
        ["GPT2LMHeadModel"],
        {"n_embd": 24, "n_layer": 2, "n_head": 3, "n_positions": 96}
        | {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2},
    ),
    "t5": (
        "t5",
        pieces_to_end,
        "PreTrainedTokenizerFast",
        40,
        ["T5ForConditionalGeneration"],
        {"d_model": 24, "d_kv": 7, "d_ff": 30, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 3}
        | {"relative_attention_num_buckets": 8, "relative_attention_max_distance": 20, "decoder_start_token_id": 0}
        | {"task_specific_params": {"summarization": {"prefix": "the answer: ", "min_length": 5, "num_beams": 2}}
           | {"translation_en_to_de": {"prefix": "the book in ", "max_length": 9}}},
    ),
    "mbart": (
        "mbart",
        lambda: of_many_languages("MBartTokenizer", "en_XX"),
        "MBartTokenizer",
        60,
        ["MBartForConditionalGeneration"],
        SMALL,
    ),
    "mbart50": (
        "mbart",
        lambda: of_many_languages("MBart50Tokenizer", "de_DE"),
        "MBart50Tokenizer",
        60,
        ["MBartForConditionalGeneration"],
        SMALL,
    ),
    "nllb": (
        "m2m_100",
        lambda: of_many_languages(
            "NllbTokenizer",
            "eng_Latn",
            extra_special_tokens=["ace_Arab", "deu_Latn", "eng_Latn", "fra_Latn", "por_Latn", "zho_Hans", "zho_Hant"],
        ),
        "NllbTokenizer",
        60,
        ["M2M100ForConditionalGeneration"],
        SMALL,
    ),
    "m2m100": (
        "m2m_100",
        of_coded_languages,
        "PreTrainedTokenizerFast",
        60,
        ["M2M100ForConditionalGeneration"],
        SMALL,
    ),
}


def compact(value: Any) -> str:
    """JSON without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def weights_json(weights: dict[str, Any]) -> str:
    """weights.json with a tensor per line."""
    rows = ",\n".join(f"{json.dumps(name)}:{compact(row)}" for name, row in weights["tensors"].items())
    head = compact({key: value for key, value in weights.items() if key != "tensors"})[:-1]
    return f'{head},"tensors":{{\n{rows}\n}}}}\n'


def make(name: str, out: Path) -> None:
    """Writes one checkpoint."""
    model_type, tokens, tokenizer_class, longest, classes, fields = CHECKPOINTS[name]
    folder = out / name
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer, settings = tokens()
    if (folder / "tokenizer.json").exists():
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    config = AutoConfig.for_model(model_type, vocab_size=tokenizer.get_vocab_size(), **fields)
    tensors: dict[str, Any] = {}
    for class_name in classes:
        model = getattr(transformers, class_name)(copy.deepcopy(config))
        tensors |= checkpoint.saved(model)
    config.architectures = [classes[0]]
    (folder / "config.json").write_text(config.to_json_string(use_diff=True))
    (folder / "weights.json").write_text(weights_json(checkpoint.describe(tensors, SEEDS.get(name, 1), WIDER)))
    (folder / "tokenizer.json").write_text(compact(json.loads(tokenizer.to_str())) + "\n")
    if name in GENERATION:
        (folder / "generation_config.json").write_text(json.dumps(GENERATION[name], indent=1) + "\n")
    if name == "gpt2":
        settings["chat_template"] = CHAT
    settings = {"tokenizer_class": tokenizer_class, "model_max_length": longest} | settings
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=1) + "\n")
    sizes = {file.name: file.stat().st_size for file in sorted(folder.iterdir())}
    print(f"{name}: {tokenizer.get_vocab_size()} tokens, {sum(sizes.values())} bytes {sizes}")


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder of the checkpoints")
    parser.add_argument("names", nargs="*", help="those to make; all where none is named")
    arguments = parser.parse_args()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name in arguments.names or CHECKPOINTS:
        make(name, arguments.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
