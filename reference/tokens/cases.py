"""The tokenizers that are compared: a vocabulary, and what the files beside it say."""

from __future__ import annotations

ADDED = {"content": "<new>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": False}
MASK = {"content": "<mask>", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False, "special": True}
EOT = {"content": "<|endoftext|>", "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}


def case(name: str, vocabulary: str, model_type: str = "", cls: str = "", files: dict | None = None, saved: bool = False, **config: object) -> dict:
    """One tokenizer; `saved` writes a tokenizer.json from the vocabulary first and takes that instead."""
    if cls:
        config["tokenizer_class"] = cls
    return {
        "name": name, "vocabulary": vocabulary, "model_type": model_type, "config": config, "files": files or {}, "saved": saved,
    }  # fmt: skip


CASES = [
    # WordPiece.
    case("bert", "word-pieces", "bert", model_max_length=16, clean_up_tokenization_spaces=True),
    case("bert-cased", "word-pieces", "electra", "ElectraTokenizer", do_lower_case=False, tokenize_chinese_chars=False, strip_accents=True),
    case("bert-left", "word-pieces", "distilbert", "DistilBertTokenizerFast", padding_side="left", truncation_side="left", strip_accents=False),
    case("mpnet", "word-pieces", "mpnet", "MPNetTokenizer", unk_token="[UNK]"),
    case("funnel", "word-pieces", "funnel", clean_text=False),
    case("bert-json", "word-pieces", "bert", "BertTokenizer", saved=True, do_lower_case=False),
    case("bert-generic", "word-pieces", "bert", "PreTrainedTokenizerFast", saved=True, do_lower_case=False, mask_token="[MASK]", pad_token="[PAD]"),
    # Byte pairs on bytes.
    case("gpt2", "bytes", "gpt2", model_max_length=1024),
    case("gpt2-flags", "bytes", "gpt2", "GPT2Tokenizer", add_prefix_space=True, add_bos_token=True, pad_token="<pad>", bos_token="<s>"),
    case("gpt2-json", "bytes", "gpt2", "GPT2TokenizerFast", saved=True, add_bos_token=True, errors="replace"),
    case("roberta", "bytes", "roberta", "RobertaTokenizer"),
    case("roberta-old", "bytes", "roberta", "RobertaTokenizerFast", files={
        "special_tokens_map.json": {"bos_token": "<s>", "mask_token": MASK, "additional_special_tokens": ["<new>", "<ent>"]},
        "added_tokens.json": {"<ent>": 492, "gpu": 493, "<new>": 491},
    }, trim_offsets=False, add_prefix_space=True),
    case("bart-v4", "bytes", "bart", "BartTokenizer", added_tokens_decoder={"4": MASK, "491": ADDED}, mask_token="<mask>"),
    case("blenderbot", "bytes", "blenderbot", "BlenderbotTokenizer"),
    case("deberta", "bytes", "deberta", "DebertaTokenizer", do_lower_case=False),
    case("gpt-neox", "bytes", "gpt_neox", "GPTNeoXTokenizer", add_eos_token=True),
    case("codegen", "bytes", "codegen", "CodeGenTokenizer"),
    case("qwen2", "bytes", "qwen2", "Qwen2Tokenizer", added_tokens_decoder={"5": EOT, "491": ADDED}, eos_token="<|endoftext|>",
         additional_special_tokens=["<|im_start|>", "<new>"], split_special_tokens=False, bos_token=None),
    case("qwen2-split", "bytes", "qwen3", "Qwen2TokenizerFast", split_special_tokens=True),
    case("qwen3_5", "bytes-json", "qwen3_5"),
    case("cohere", "bytes", "cohere", "CohereTokenizer", add_bos_token=True),
    case("whisper", "bytes", "whisper", "WhisperTokenizer", additional_special_tokens=[
        "<|startoftranscript|>", "<|en|>", "<|zh|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|notimestamps|>",
    ], language="german", task="transcribe"),
    case("clip", "bytes-suffix", "clip", "CLIPTokenizer", model_max_length=77),
    case("clip-json", "bytes-suffix", "clip", "CLIPTokenizerFast", saved=True),
    case("llama3", "bytes-json", "llama", "LlamaTokenizer", eos_token="<|endoftext|>", bos_token="<s>", add_bos_token=True),
    case("bytes-v4", "bytes-json", "llama", "PreTrainedTokenizerFast", added_tokens_decoder={
        "0": {**EOT, "content": "<s>"}, "5": EOT, "491": {**ADDED, "lstrip": True, "rstrip": True}, "492": {**ADDED, "content": "<im>", "special": True},
    }, eos_token="<|endoftext|>", extra_special_tokens={"image_token": "<im>"}, clean_up_tokenization_spaces=True, image_token="<im>"),
    case("bytes-v5", "bytes-json", "", "TokenizersBackend", eos_token="<|endoftext|>", pad_token="<pad>", extra_special_tokens=["<new>", "<extra>"],
         audio_token="<audio>", padding_side="left"),
    # Byte pairs of characters.
    case("openai-gpt", "suffix", "openai-gpt"),
    case("herbert", "suffix", "herbert", "HerbertTokenizer"),
    # SentencePiece, unigram.
    case("xlm-roberta", "unigram", "xlm-roberta", "XLMRobertaTokenizer"),
    case("xlm-roberta-json", "unigram", "xlm-roberta", "XLMRobertaTokenizerFast", saved=True, mask_token={"__type": "AddedToken", **MASK}),
    case("camembert", "unigram", "camembert", "CamembertTokenizer"),
    case("barthez", "unigram", "barthez", "BarthezTokenizer"),
    case("mbart", "unigram", "mbart", "MBartTokenizer", src_lang="de_DE"),
    case("mbart50", "unigram", "mbart", "MBart50Tokenizer"),
    case("t5", "unigram-t5", "t5", "T5Tokenizer", additional_special_tokens=[f"<extra_id_{i}>" for i in range(100)], extra_ids=100),
    case("t5-few", "unigram-t5", "mt5", extra_ids=3),
    case("t5-json", "unigram-t5", "t5", "T5TokenizerFast", saved=True, clean_up_tokenization_spaces=True),
    case("pegasus", "unigram-t5", "pegasus", "PegasusTokenizer", mask_token="<mask_2>", mask_token_sent="<mask_1>"),
    case("albert", "unigram-albert", "albert", "AlbertTokenizer", mask_token={**MASK, "content": "[MASK]", "__type": "AddedToken"}),
    case("albert-cased", "unigram-albert", "albert", "AlbertTokenizerFast", do_lower_case=False, keep_accents=True),
    case("rembert", "unigram-albert", "rembert", "RemBertTokenizer", files={"rename": {"spiece.model": "sentencepiece.model"}}),
    case("big-bird", "unigram-albert", "big_bird", "BigBirdTokenizer"),
    case("deberta-v2", "unigram-deberta", "deberta-v2", "DebertaV2Tokenizer", do_lower_case=False, vocab_type="spm"),
    case("deberta-v2-split", "unigram-deberta", "deberta-v2", do_lower_case=True, split_by_punct=True, add_prefix_space=False),
    case("xlnet", "unigram-xlnet", "xlnet", "XLNetTokenizer"),
    case("unigram-generic", "unigram-deberta", "stablelm", files={"rename": {"spm.model": "tokenizer.model"}}),
    # SentencePiece, byte pairs.
    case("llama", "pairs-llama", "llama", "LlamaTokenizer", add_bos_token=True, add_eos_token=False, legacy=False, pad_token=None),
    case("llama-legacy", "pairs-llama", "llama", "LlamaTokenizerFast", add_bos_token=True, add_eos_token=True, legacy=True, pad_token="<unk>"),
    case("llama-plain", "pairs-llama", "llama", "LlamaTokenizer", add_prefix_space=False),
    case("llama-json", "pairs-llama", "llama", "LlamaTokenizerFast", saved=True, add_bos_token=True),
    case("mistral", "pairs-llama", "mistral", "LlamaTokenizer", add_bos_token=True, added_tokens_decoder={
        "0": {**EOT, "content": "<unk>"}, "1": {**EOT, "content": "<s>"}, "2": {**EOT, "content": "</s>"}, "620": {**ADDED, "content": "<new>"},
    }),
    case("gemma", "pairs-gemma", "gemma", "GemmaTokenizer", add_bos_token=True, added_tokens_decoder={
        "2": {**EOT, "content": "<bos>"}, "6": ADDED,
    }),
    case("siglip2", "pairs-gemma", "siglip2", "GemmaTokenizer", add_eos_token=True),
    case("nllb", "pairs", "nllb", "NllbTokenizer", src_lang="fra_Latn", additional_special_tokens=["eng_Latn", "fra_Latn", "deu_Latn"]),
    case("nllb-legacy", "pairs", "nllb", "NllbTokenizer", legacy_behaviour=True),
    case("reformer", "pairs", "reformer", "ReformerTokenizer", files={"rename": {"sentencepiece.bpe.model": "spiece.model"}}),
]  # fmt: skip
