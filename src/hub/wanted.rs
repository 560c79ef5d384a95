//! Which files of a repository loading needs.

use std::path::Path;

use crate::config;

/// Files beside the weights that some loader here reads: names, or what stands before and after a `*` in them.
const SMALL: &[&str] = &[
    // Configurations: of the model, its tokenizer, its generation and so on.
    "config.json",
    "*_config.json",
    // Tokenizers.
    "tokenizer.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.*",
    "merges.txt",
    "*.model",
    "*.spm",
    "*.tiktoken",
    "chat_template.*",
    "additional_chat_templates/*.jinja",
    // Modules of `sentence-transformers`.
    "modules.json",
    "config_sentence_transformers.json",
];

/// Weights, the first form that a repository has: one file, or several with an index.
const WEIGHTS: &[&str] =
    &["model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json"];

/// Those of `files` that are read before any other, in the folder `prefix` (empty, or with a `/` at its end): everything
/// but the parts of sharded weights, which an index names.
pub(super) fn first(files: &[String], prefix: &str) -> Vec<String> {
    let weights = WEIGHTS.iter().map(|name| format!("{prefix}{name}")).find(|name| files.contains(name));
    let small = |file: &&String| {
        let Some(name) = file.strip_prefix(prefix) else { return false };
        SMALL.iter().any(|pattern| matches(pattern, name))
    };
    files.iter().filter(small).cloned().chain(weights).collect()
}

/// Whether `name` is `pattern`, whose `*` stands for anything in the same folder.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((before, after)) = pattern.split_once('*') else { return pattern == name };
    let between = name.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
    between.is_some_and(|between| !between.contains('/'))
}

/// The folders of the modules that `modules.json` of `sentence-transformers` lists, each with a `/` at its end.
pub(super) fn modules(json: &serde_json::Value) -> Vec<String> {
    let paths = json.as_array().into_iter().flatten().filter_map(|module| module.get("path")?.as_str());
    paths.filter(|path| !path.is_empty()).map(|path| format!("{}/", path.trim_end_matches('/'))).collect()
}

/// Whether a folder has what loading needs: a configuration, and weights with all the files that an index names.
pub(super) fn is_complete(folder: &Path) -> bool {
    let there = |name: &str| folder.join(name).is_file();
    let whole = |name: &str| {
        let index = || config::read_json(&folder.join(name)).map(|index| shards(&index)).unwrap_or_default();
        !name.ends_with(".index.json") || index().iter().all(|shard| there(shard))
    };
    let weights = WEIGHTS.iter().find(|name| there(name));
    (there("config.json") || there("modules.json")) && weights.is_some_and(|name| whole(name))
}

/// The files that an index of weights names, without repetition.
pub(super) fn shards(index: &serde_json::Value) -> Vec<String> {
    let map = index.get("weight_map").and_then(serde_json::Value::as_object);
    let names: std::collections::BTreeSet<_> =
        map.into_iter().flatten().filter_map(|(_, file)| file.as_str()).collect();
    names.into_iter().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(files: &[&str], prefix: &str) -> Vec<String> {
        first(&files.iter().map(|file| (*file).to_owned()).collect::<Vec<_>>(), prefix)
    }

    #[test]
    fn the_first_form_of_weights_is_taken_and_other_frameworks_are_left() {
        let files =
            ["config.json", "pytorch_model.bin", "model.safetensors", "tf_model.h5", "onnx/model.onnx", "README.md"];
        assert_eq!(chosen(&files, ""), ["config.json", "model.safetensors"]);
        let files =
            ["config.json", "pytorch_model.bin", "model-00001-of-00002.safetensors", "model.safetensors.index.json"];
        assert_eq!(chosen(&files, ""), ["config.json", "model.safetensors.index.json"]);
    }

    #[test]
    fn all_that_makes_a_tokenizer_is_wanted_and_weights_of_other_frameworks_are_not() {
        let read = crate::text::vocabulary_files().chain([
            "tokenizer.json",
            "tokenizer_config.json",
            "special_tokens_map.json",
            "added_tokens.json",
            "chat_template.jinja",
            "additional_chat_templates/rag.jinja",
            "source.spm",
            "target.spm",
            "vocab.bpe",
            "qwen.tiktoken",
            "generation_config.json",
            "sentence_bert_config.json",
        ]);
        let read: Vec<_> = read.collect();
        assert_eq!(chosen(&read, ""), read);
        let other = [
            "tf_model.h5",
            "tf_model.h5.index.json",
            "flax_model.msgpack",
            "flax_model.msgpack.index.json",
            "model.onnx",
            "onnx/model.onnx",
            "onnx/config.json",
            "openvino_model.bin",
            "model.Q4_K_M.gguf",
            "rust_model.ot",
            "model.ckpt.index",
            "pytorch_model.bin",
            "original/tokenizer.model",
            "original/consolidated.00.pth",
            "additional_chat_templates/a/b.jinja",
            "additional_chat_templates/model.gguf",
            "trainer_state.json",
            "training_args.bin",
            "README.md",
            "vocab",
        ];
        assert_eq!(chosen(&[&["model.safetensors"], &other[..]].concat(), ""), ["model.safetensors"]);
    }

    #[test]
    fn modules_and_subfolders_are_found() {
        let listed = serde_json::json!([{"path": "", "type": "x"}, {"path": "1_Pooling"}, {"path": "own name/"}, {"type": "y"}, 3]);
        assert_eq!(modules(&listed), ["1_Pooling/", "own name/"]);
        let files =
            ["modules.json", "1_Pooling/config.json", "2_Dense/model.safetensors", "onnx/config.json", "a/config.json"];
        assert_eq!(chosen(&files, ""), ["modules.json"]);
        assert_eq!(chosen(&files, "1_Pooling/"), ["1_Pooling/config.json"]);
        assert_eq!(chosen(&files, "a/"), ["a/config.json"]);
    }

    #[test]
    fn an_index_names_each_part_once() {
        let index =
            serde_json::json!({"weight_map": {"a": "1.safetensors", "b": "1.safetensors", "c": "0.safetensors"}});
        assert_eq!(shards(&index), ["0.safetensors", "1.safetensors"]);
        assert!(shards(&serde_json::json!([1])).is_empty());
    }
}
