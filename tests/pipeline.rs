//! Texts to vectors with a tiny checkpoint: what the directory says is done, and what is wrong with it is told.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tch::{Kind, Tensor};
use tch_transformers::pipeline::{
    self, FeatureExtraction, Options, Pooling, PoolingMode, Progress, TextClassification, TextInput, cosine_similarity,
};
use tch_transformers::weights::{LoadOptions, safetensors};
use tch_transformers::{Error, Result};

/// A directory with the weights of a committed case and a vocabulary of letters.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        Self::of("bert/feature-extraction", name)
    }

    /// With the weights of another case.
    fn of(case: &str, name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pipeline").join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases").join(case);
        for file in ["config.json", "weights.json"] {
            fs::copy(case.join(file), path.join(file)).unwrap();
        }
        let vocabulary: serde_json::Map<String, Value> = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "b", "c", "d", "e"]
            .iter()
            .enumerate()
            .map(|(id, token)| ((*token).to_owned(), id.into()))
            .collect();
        let special = |token: &str, id: i64| {
            json!({ "id": id, "content": token, "special": true, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false })
        };
        let added: Vec<Value> =
            ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].iter().zip(0..).map(|(token, id)| special(token, id)).collect();
        let directory = Self(path);
        directory.write(
            "tokenizer.json",
            json!({
                "version": "1.0",
                "added_tokens": added,
                "normalizer": { "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
                                "strip_accents": null, "lowercase": true },
                "pre_tokenizer": { "type": "BertPreTokenizer" },
                "post_processor": { "type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2] },
                "decoder": null,
                "model": { "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                           "max_input_chars_per_word": 100, "vocab": vocabulary },
            }),
        );
        directory.write("tokenizer_config.json", json!({ "pad_token": "[PAD]" }));
        directory
    }

    fn write(&self, file: &str, content: Value) {
        let path = self.0.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content.to_string()).unwrap();
    }

    /// Declares the modules after the model.
    fn modules(&self, names: &[&str]) {
        let module = |(index, name): (usize, &&str)| {
            let path = if index == 0 { String::new() } else { format!("{index}_{name}") };
            json!({ "idx": index, "name": index.to_string(), "path": path,
                    "type": format!("sentence_transformers.models.{name}") })
        };
        self.write("modules.json", names.iter().enumerate().map(module).collect());
    }

    fn load(&self) -> Result<FeatureExtraction> {
        FeatureExtraction::from_directory(&self.0, LoadOptions::default())
    }

    fn embed(&self, texts: &[&str]) -> Tensor {
        self.load().unwrap().embed(texts, 8).unwrap()
    }
}

fn close(left: &Tensor, right: &Tensor) -> bool {
    left.size() == right.size() && (left - right).abs().max().double_value(&[]) < 1e-5
}

#[test]
fn texts_keep_their_order_and_do_not_see_each_others_padding() {
    let directory = Directory::new("order");
    let pipeline = directory.load().unwrap();
    let texts = ["a", "a b c d e", "", "b A"];
    let all = pipeline.embed(&texts, 4).unwrap();
    for (row, text) in texts.iter().enumerate() {
        assert!(close(&all.narrow(0, row as i64, 1), &pipeline.embed(&[text], 1).unwrap()), "{text}");
    }
    assert!(close(&all, &pipeline.embed(&texts, 3).unwrap()));
    assert!(!close(&all.narrow(0, 0, 1), &all.narrow(0, 2, 1)));
}

#[test]
fn long_texts_are_cut_to_what_the_directory_says_and_the_model_takes() {
    let directory = Directory::new("long");
    let long = "a b c ".repeat(5000);
    let positions = directory.load().unwrap().tokenizer().max_length();
    assert!(positions < 1000, "the positions of the model bound it, got {positions}");
    assert!(directory.load().unwrap().embed(&[&long], 1).is_ok());
    directory.write("sentence_bert_config.json", json!({ "max_seq_length": 5 }));
    assert!(close(&directory.embed(&[&long]), &directory.embed(&["a b c"])));
    directory.write("sentence_bert_config.json", json!({ "max_seq_length": 2 }));
    assert!(matches!(directory.load(), Err(Error::Tokenizer(_))));
}

#[test]
fn case_is_folded_where_the_directory_says_so() {
    let directory = Directory::new("case");
    let same = || close(&directory.embed(&["A"]), &directory.embed(&["a"]));
    assert!(same());
    directory.write("tokenizer_config.json", json!({ "pad_token": "[PAD]", "do_lower_case": false }));
    assert!(!same());
    directory.write("sentence_bert_config.json", json!({ "do_lower_case": true }));
    assert!(same());
}

#[test]
fn modules_follow_the_model_in_their_order() {
    let directory = Directory::new("modules");
    let mean = directory.embed(&["a b", "c"]);
    let width = mean.size()[1];
    directory.modules(&["Transformer", "Pooling", "Dense", "Normalize"]);
    directory
        .write("1_Pooling/config.json", json!({ "pooling_mode_mean_tokens": true, "pooling_mode_cls_token": false }));
    let activation = "torch.nn.modules.linear.Identity";
    directory.write(
        "2_Dense/config.json",
        json!({ "in_features": width, "out_features": 3, "bias": true, "activation_function": activation }),
    );
    let weight = Tensor::arange(3 * width, (Kind::Float, tch::Device::Cpu)).view([3, width]).sin();
    let bias = Tensor::from_slice(&[0.5_f32, -1.0, 2.0]);
    let tensors =
        [("linear.weight".to_owned(), weight.shallow_clone()), ("linear.bias".to_owned(), bias.shallow_clone())];
    safetensors::write(&directory.0.join("2_Dense/model.safetensors"), &tensors.into()).unwrap();
    let projected = mean.matmul(&weight.tr()) + bias;
    let expected = &projected / projected.norm_scalaropt_dim(2, [1], true);
    let embedded = directory.embed(&["a b", "c"]);
    assert!(close(&embedded, &expected));
    let cosine = (embedded.get(0) * embedded.get(1)).sum(Kind::Float).double_value(&[]);
    assert!((cosine_similarity(&projected).double_value(&[0, 1]) - cosine).abs() < 1e-6);

    directory.write("2_Dense/config.json", json!({ "in_features": width + 1, "out_features": 3 }));
    assert!(matches!(directory.load(), Err(Error::Weights(_))));
    directory.write("1_Pooling/config.json", json!({ "pooling_mode": ["cls", "mean"] }));
    directory.write("2_Dense/config.json", json!({ "in_features": width, "out_features": 3 }));
    let error = directory.load().unwrap().embed(&["a"], 1).unwrap_err();
    assert!(error.to_string().contains("Dense"), "{error}");
}

#[test]
fn pooling_modes_see_only_real_tokens() {
    // Two texts of two tokens; the first padded on the right, the second on the left.
    let tokens = Tensor::from_slice(&[1_f32, 5.0, 3.0, -1.0, 9.0, 9.0, 9.0, 9.0, 2.0, 0.0, 4.0, 8.0]).view([2, 3, 2]);
    let mask = Tensor::from_slice2(&[[1_i64, 1, 0], [0, 1, 1]]);
    let root = 2_f32.sqrt();
    for (mode, expected) in [
        (PoolingMode::Cls, [1.0, 5.0, 2.0, 0.0]),
        (PoolingMode::Max, [3.0, 5.0, 4.0, 8.0]),
        (PoolingMode::Mean, [2.0, 2.0, 3.0, 4.0]),
        (PoolingMode::MeanSqrtLen, [4.0 / root, 4.0 / root, 6.0 / root, 8.0 / root]),
        (PoolingMode::WeightedMean, [7.0 / 3.0, 1.0, 10.0 / 3.0, 16.0 / 3.0]),
        (PoolingMode::LastToken, [3.0, -1.0, 4.0, 8.0]),
    ] {
        let pooled = Pooling(vec![mode]).forward(&tokens, &mask);
        assert!(close(&pooled, &Tensor::from_slice(&expected).view([2, 2])), "{mode:?}: {pooled}");
    }
    assert_eq!(Pooling(vec![PoolingMode::Cls, PoolingMode::Mean]).forward(&tokens, &mask).size(), [2, 4]);
}

#[test]
fn bad_calls_are_typed_errors() {
    let directory = Directory::new("calls");
    let pipeline = directory.load().unwrap();
    assert!(matches!(pipeline.embed(&[], 8), Err(Error::Input { .. })));
    assert!(matches!(pipeline.embed(&["a"], 0), Err(Error::Input { .. })));
    directory.write("tokenizer_config.json", json!({ "pad_token": null }));
    let unpadded = directory.load().unwrap();
    assert!(unpadded.embed(&["a", "b"], 8).is_ok());
    let alone = unpadded.embed(&["b c"], 8).unwrap();
    assert!(
        close(&unpadded.embed(&["a", "b c", "d e"], 8).unwrap().narrow(0, 1, 1), &alone),
        "equally long texts only"
    );
    let none = Options { batch_size: 0, ..Options::default() };
    assert!(matches!(FeatureExtraction::from_pretrained(&directory.0, &none), Err(Error::Input { .. })));
}

#[test]
fn a_task_by_its_name_speaks_json_and_tells_how_far_it_is() {
    let directory = Directory::new("json");
    let told = Arc::new(Mutex::new(Vec::new()));
    let progress = Some(Progress::new({
        let told = told.clone();
        move |done, all| told.lock().unwrap().push((done, all))
    }));
    let options = Options { batch_size: 2, progress, ..Options::default() };
    let pipeline = pipeline::load("feature-extraction", &directory.0, &options).unwrap();
    assert_eq!(pipeline.task(), "feature-extraction");
    let texts = [json!("a"), json!("b c d"), json!("e")];
    let results = pipeline.run(&texts, &serde_json::Map::new()).unwrap();
    assert_eq!(*told.lock().unwrap(), [(2, 3), (3, 3)]);
    let lengths = |result: &Value| (result.as_array().unwrap().len(), result[0].as_array().unwrap().len());
    assert_eq!(results.iter().map(lengths).collect::<Vec<_>>(), [(1, 3), (1, 5), (1, 3)]);
    assert_eq!(pipeline.run(&[], &serde_json::Map::new()).unwrap(), [] as [Value; 0]);

    let fails = |inputs: &[Value], settings: Value, names: &str| {
        let error = pipeline.run(inputs, settings.as_object().unwrap()).unwrap_err().to_string();
        assert!(error.contains(names), "{error}");
    };
    fails(&texts, json!({ "truncation": "perhaps" }), "settings.truncation");
    fails(&texts, json!({ "top_k": 3 }), "top_k");
    fails(&[json!("a"), json!(7)], json!({}), "inputs[1]");
    let error = pipeline::load("juggling", &directory.0, &options).unwrap_err().to_string();
    assert!(error.contains("juggling") && error.contains("feature-extraction"), "{error}");
}

#[test]
fn damage_is_told_by_file() {
    let directory = Directory::new("damage");
    directory.modules(&["Transformer", "Pooling", "Dense", "Normalize"]);
    let pooling = json!({ "pooling_mode_mean_tokens": true });
    let dense = json!({ "in_features": 8, "out_features": 3 });
    let error = |what: &str| match directory.load() {
        Err(error) => error.to_string(),
        Ok(_) => panic!("loads although {what}"),
    };
    let fails = |what: &str, names: &str| {
        let error = error(what);
        assert!(error.contains(names), "{what}: {error}");
    };
    fails("the pooling is not there", "1_Pooling/config.json");
    directory.write("1_Pooling/config.json", json!({ "pooling_mode": "median" }));
    fails("the mode is unknown", "1_Pooling/config.json");
    directory.write("1_Pooling/config.json", json!({ "include_prompt": false }));
    fails("prompts are left out", "include_prompt");
    directory.write("1_Pooling/config.json", pooling);
    fails("the dense layer is not there", "2_Dense/config.json");
    directory.write("2_Dense/config.json", dense);
    fails("its weights are not there", "2_Dense");
    directory.write(
        "2_Dense/config.json",
        json!({ "in_features": 8, "out_features": 3, "activation_function": "os.system" }),
    );
    fails("the activation is unknown", "os.system");
    directory.modules(&["Transformer", "Pooling", "WordWeights"]);
    fails("a module is unknown", "WordWeights");
    directory.modules(&["Pooling"]);
    fails("the model does not come first", "Transformer");
    directory.modules(&["Transformer"]);
    fails("nothing pools", "Pooling");
    directory.write("modules.json", json!({ "type": "Transformer" }));
    fails("the modules are no list", "modules.json");
    directory.write("modules.json", json!([]));
    fails("there are no modules", "Transformer");
    fs::remove_file(directory.0.join("modules.json")).unwrap();
    assert!(directory.load().is_ok());

    for file in ["tokenizer_config.json", "tokenizer.json", "config.json", "weights.json"] {
        let path = directory.0.join(file);
        let whole = fs::read(&path).unwrap();
        for damaged in [&whole[..whole.len() / 2], b"[]", b""] {
            fs::write(&path, damaged).unwrap();
            fails("a file is damaged", file);
        }
        fs::remove_file(&path).unwrap();
        if file != "tokenizer_config.json" {
            fails("a file is missing", file);
        }
        fs::write(&path, whole).unwrap();
    }
    assert!(directory.load().is_ok());
}

#[test]
fn decoders_without_padding_classify_texts_one_by_one() {
    let directory = Directory::of("gpt2/text-classification", "decoder");
    let config = fs::read_to_string(directory.0.join("config.json")).unwrap();
    let mut config: Value = serde_json::from_str(&config).unwrap();
    config["pad_token_id"] = Value::Null;
    directory.write("config.json", config);
    let pipeline = TextClassification::from_pretrained(&directory.0, &Options::default()).unwrap();
    assert_eq!(pipeline.text().batch_size(), 1);
    let texts = ["a", "b c d", "e"].map(TextInput::from);
    let all = pipeline.classify(&texts, &Default::default()).unwrap();
    for (text, labels) in texts.iter().zip(&all) {
        assert_eq!(pipeline.classify(std::slice::from_ref(text), &Default::default()).unwrap()[0], *labels);
    }
}
