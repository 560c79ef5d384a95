//! What the pipelines return equals what Python's return (`reference/pipelines.py`), on made checkpoints.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tch_transformers::pipeline::{
    self, Fill, FillMask, FillMaskSettings, OneOrMany, Options, Question, QuestionAnswering, QuestionAnsweringSettings,
    TextClassification, TextClassificationSettings, TextGeneration, TextGenerationSettings, TokenClassification,
    TokenClassificationSettings, Words, ZeroShotClassification, ZeroShotSettings,
};
use tch_transformers::{Error, Result};

/// Scores may be this far from Python's.
const TOLERANCE: f64 = 1e-5;

/// Runs recorded for `task`, with several texts in a pass and with one.
fn equals_python(task: &str) {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    let file: Value = read(&data.join(format!("pipelines/{task}.json")));
    let runs = file["runs"].as_array().unwrap();
    assert!(!runs.is_empty());
    for (number, run) in runs.iter().enumerate() {
        let name = run["checkpoint"].as_str().unwrap();
        let directory = match run.get("config") {
            Some(changes) => changed(&data.join("checkpoints").join(name), changes, &format!("{task}-{number}")),
            None => data.join("checkpoints").join(name),
        };
        let settings: &Map<String, Value> = run["settings"].as_object().unwrap();
        let inputs = run["inputs"].as_array().unwrap();
        for batch_size in [32, 3, 1] {
            let options = Options { batch_size, ..Options::default() };
            let pipeline = pipeline::load(task, &directory, &options).unwrap();
            let results =
                pipeline.run(inputs, settings).unwrap_or_else(|error| panic!("{name}, {settings:?}: {error}"));
            assert_eq!(results.len(), inputs.len());
            let expected = run["results"].as_array().unwrap();
            for ((input, result), expected) in std::iter::zip(std::iter::zip(inputs, &results), expected) {
                if let Some(difference) = difference("", result, expected) {
                    panic!("{name}, {settings:?}, {batch_size} a pass, {input}: {difference}\n{result}\n{expected}");
                }
            }
        }
    }
}

/// Where two results differ: names, texts and integers must be equal, other numbers close.
fn difference(at: &str, found: &Value, expected: &Value) -> Option<String> {
    let wrong = || Some(format!("{at}: {found} instead of {expected}"));
    match (found, expected) {
        (Value::Object(left), Value::Object(right)) => {
            let names = |fields: &Map<String, Value>| fields.keys().cloned().collect::<Vec<_>>();
            let mut sorted = [names(left), names(right)];
            sorted.iter_mut().for_each(|names| names.sort());
            if sorted[0] != sorted[1] {
                return wrong();
            }
            left.iter().find_map(|(name, value)| difference(&format!("{at}.{name}"), value, &right[name]))
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            let mut members = std::iter::zip(left, right).enumerate();
            members.find_map(|(index, (left, right))| difference(&format!("{at}[{index}]"), left, right))
        }
        (Value::Number(left), Value::Number(right)) if right.is_f64() => {
            let (left, right) = (left.as_f64().unwrap(), right.as_f64().unwrap());
            if (left - right).abs() <= TOLERANCE * right.abs().max(1.0) { None } else { wrong() }
        }
        _ if found == expected => None,
        _ => wrong(),
    }
}

/// A copy of the checkpoint with other values in `config.json`.
fn changed(checkpoint: &Path, changes: &Value, name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("pipelines").join(name);
    fs::create_dir_all(&folder).unwrap();
    for file in fs::read_dir(checkpoint).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    let mut config = read(&checkpoint.join("config.json"));
    for (field, value) in changes.as_object().unwrap() {
        config[field] = value.clone();
    }
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    folder
}

fn read(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn feature_extraction_equals_python() {
    equals_python("feature-extraction");
}

#[test]
fn fill_mask_equals_python() {
    equals_python("fill-mask");
}

#[test]
fn text_classification_equals_python() {
    equals_python("text-classification");
}

#[test]
fn zero_shot_classification_equals_python() {
    equals_python("zero-shot-classification");
}

#[test]
fn token_classification_equals_python() {
    equals_python("token-classification");
}

#[test]
fn question_answering_equals_python() {
    equals_python("question-answering");
}

fn made(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints").join(name)
}

/// A copy of a checkpoint that pads on the left.
fn padded_on_the_left(name: &str) -> PathBuf {
    let folder = changed(&made(name), &json!({}), &format!("left-{name}"));
    let mut settings = read(&folder.join("tokenizer_config.json"));
    settings["padding_side"] = "left".into();
    fs::write(folder.join("tokenizer_config.json"), settings.to_string()).unwrap();
    folder
}

/// The argument that an error is about.
fn refused<T>(result: Result<T>) -> String {
    match result {
        Err(Error::Input { name, .. }) => name,
        Err(error) => panic!("another error: {error}"),
        Ok(_) => panic!("no error"),
    }
}

#[test]
fn padding_on_the_left_changes_nothing() {
    let texts = ["a <mask>", "The capital of <mask> is Paris.", "<mask> and <mask>"];
    let filled = |folder: PathBuf, batch_size: usize| {
        let pipeline = FillMask::from_pretrained(folder, &Options { batch_size, ..Options::default() }).unwrap();
        let fills = pipeline.fill(&texts, &FillMaskSettings::default()).unwrap().concat().concat();
        fills.into_iter().map(|Fill { token, sequence, .. }| (token, sequence)).collect::<Vec<_>>()
    };
    // RoBERTa counts positions from the first token that is not padding.
    assert_eq!(filled(padded_on_the_left("roberta"), 3), filled(made("roberta"), 1));
    let labelled = |folder: PathBuf| {
        let pipeline = TokenClassification::from_pretrained(folder, &Options::default()).unwrap();
        let entities = pipeline.classify(&texts.map(Words::from), &TokenClassificationSettings::default()).unwrap();
        entities.concat().into_iter().map(|entity| (entity.label, entity.start, entity.end)).collect::<Vec<_>>()
    };
    assert_eq!(labelled(padded_on_the_left("roberta")), labelled(made("roberta")));
}

#[test]
fn a_text_before_its_question_gives_answers_of_the_text_only() {
    let pipeline = QuestionAnswering::from_pretrained(padded_on_the_left("bart"), &Options::default()).unwrap();
    let context = "My name is Sarah Connor and I live in London.";
    let settings = QuestionAnsweringSettings { top_k: 9, ..Default::default() };
    let answers = pipeline.answer(&[Question::new("Where do I live?", context)], &settings).unwrap().concat();
    assert!(answers.len() > 1);
    for answer in answers {
        assert_eq!(answer.answer, context[answer.start..answer.end]);
        assert!(answer.start < answer.end);
    }
}

#[test]
fn texts_longer_than_the_model_are_cut() {
    let long = "the lazy dog ".repeat(200);
    let options = Options::default();
    let pipeline = TextClassification::from_pretrained(made("distilbert"), &options).unwrap();
    let label = |text: &str, truncation| {
        let settings = TextClassificationSettings { truncation, ..Default::default() };
        pipeline.classify(&[text.into()], &settings).unwrap()[0][0].score
    };
    assert!(label(&long, false).is_finite());
    // The tokenizer allows 40 tokens, the model has 48 positions.
    assert_ne!(label(&long, false), label(&long, true));
    let pipeline = ZeroShotClassification::from_pretrained(made("bart"), &options).unwrap();
    assert!(pipeline.classify(&[&long], &ZeroShotSettings::labels(["dogs"])).is_ok());
    let error = pipeline.classify(&["a"], &ZeroShotSettings::labels([long.as_str()])).unwrap_err();
    assert!(error.to_string().contains("input_ids"), "a hypothesis is never cut: {error}");
    let pipeline = FillMask::from_pretrained(made("bert"), &options).unwrap();
    assert!(pipeline.fill(&[&format!("{} {long}", pipeline.mask())], &FillMaskSettings::default()).is_ok());
    assert_eq!(
        refused(pipeline.fill(&[&format!("{long} {}", pipeline.mask())], &FillMaskSettings::default())),
        "inputs[0]"
    );
}

#[test]
fn questions_are_cut_where_that_is_asked_for() {
    let pipeline = QuestionAnswering::from_pretrained(made("distilbert"), &Options::default()).unwrap();
    let of = |question: &str, max_question_len| {
        let settings = QuestionAnsweringSettings { max_question_len, ..Default::default() };
        pipeline.answer(&[Question::new(question, "I live in London")], &settings)
    };
    assert_eq!(of("where is it", None).unwrap(), of("where is it", Some(30)).unwrap());
    assert_eq!(of(&"where ".repeat(50), Some(2)).unwrap(), of(&"where ".repeat(9), Some(2)).unwrap());
    assert_eq!(refused(of(&"where ".repeat(50), None)), "question");
}

#[test]
fn what_does_not_fit_is_an_error_that_names_it() {
    let options = Options::default();
    let fill = FillMask::from_pretrained(made("bert"), &options).unwrap();
    assert_eq!(refused(fill.fill(&["[MASK]", "none"], &FillMaskSettings::default())), "inputs[1]");
    let none = FillMaskSettings { targets: Some(OneOrMany::One(String::new())), ..Default::default() };
    assert_eq!(refused(fill.fill(&["[MASK]"], &none)), "targets");
    let zero_shot = ZeroShotClassification::from_pretrained(made("bart"), &options).unwrap();
    assert_eq!(refused(zero_shot.classify(&["a"], &ZeroShotSettings::default())), "candidate_labels");
    let template = ZeroShotSettings { hypothesis_template: "none".into(), ..ZeroShotSettings::labels(["a"]) };
    assert_eq!(refused(zero_shot.classify(&["a"], &template)), "hypothesis_template");
    let tokens = TokenClassification::from_pretrained(made("bert"), &options).unwrap();
    let stride = TokenClassificationSettings { stride: Some(40), ..Default::default() };
    assert_eq!(refused(tokens.classify(&["a".into()], &stride)), "stride");
    let split = TokenClassificationSettings { is_split_into_words: true, ..Default::default() };
    assert_eq!(refused(tokens.classify(&["a".into()], &split)), "inputs[0]");
    let answering = QuestionAnswering::from_pretrained(made("distilbert"), &options).unwrap();
    let empty = [Question::new("a", "b"), Question::new("a", "")];
    assert_eq!(refused(answering.answer(&empty, &Default::default())), "inputs[1].context");
    let none = QuestionAnsweringSettings { top_k: 0, ..Default::default() };
    assert_eq!(refused(answering.answer(&empty[..1], &none)), "top_k");

    assert!(matches!(FillMask::from_pretrained(made("distilbert"), &options), Err(Error::Weights(_))));
    let folder = changed(&made("bert"), &json!({}), "unmasked");
    // A tokenizer of the class of BERT would have a mask all the same.
    fs::write(folder.join("tokenizer_config.json"), r#"{"tokenizer_class": "PreTrainedTokenizerFast"}"#).unwrap();
    assert!(matches!(FillMask::from_pretrained(folder, &options), Err(Error::Tokenizer(_))));
}

#[test]
fn texts_are_continued_as_python_continues_them() {
    equals_python("text-generation");
}

#[test]
fn texts_of_texts_are_those_of_python() {
    ["text2text-generation", "summarization", "translation"].into_iter().for_each(equals_python);
}

#[test]
fn a_text_comes_in_pieces_that_make_up_the_whole() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints/gpt2");
    let pipeline = TextGeneration::from_pretrained(&directory, &Options::default()).unwrap();
    for prompt in ["The capital of France", "It isn't what they're saying; it's", "Two\nlines", "Montréal, 日本 and 😀"]
    {
        let settings = TextGenerationSettings { return_full_text: Some(false), ..TextGenerationSettings::greedy(14) };
        let whole = &pipeline.generate(&[prompt], &settings).unwrap()[0][0].generated_text;
        let mut pieces = Vec::new();
        let mut keep = |piece: &str| {
            pieces.push(piece.to_owned());
            std::ops::ControlFlow::Continue(())
        };
        pipeline.stream(prompt, &settings, &mut keep).unwrap();
        assert_eq!(&pieces.concat(), whole);
        let mut first = 0;
        let stop = |_: &str| {
            first += 1;
            std::ops::ControlFlow::Break(())
        };
        pipeline.stream(prompt, &settings, stop).unwrap();
        assert!(first <= 2, "{first} pieces after the end was asked for");
    }
}

#[test]
fn drawn_texts_are_those_of_their_seed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints/gpt2");
    let pipeline = pipeline::load("text-generation", &directory, &Options::default()).unwrap();
    let drawn = |seed: u64| {
        let settings = json!({"seed": seed, "max_new_tokens": 9});
        pipeline.run(&[json!("Paris")], settings.as_object().unwrap()).unwrap()
    };
    assert_eq!(drawn(4), drawn(4));
    assert_ne!(drawn(4), drawn(5));
}

#[test]
fn settings_of_generation_that_do_not_fit_are_refused_by_name() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints");
    for (task, name, settings, named) in [
        ("text-generation", "gpt2", json!({"max_new_token": 3}), "max_new_token"),
        ("text-generation", "gpt2", json!({"max_new_tokens": "many"}), "max_new_tokens"),
        ("text-generation", "gpt2", json!({"max_new_tokens": 500}), "max_new_tokens"),
        ("translation", "bart", json!({"src_lang": "en", "tgt_lang": "xx"}), "tgt_lang"),
    ] {
        let pipeline = pipeline::load(task, data.join(name), &Options::default()).unwrap();
        let error = pipeline.run(&[json!("Paris")], settings.as_object().unwrap()).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
    let options = Options::default();
    assert!(matches!(TextGeneration::from_pretrained(data.join("t5"), &options), Err(Error::NoClassForTask { .. })));
    let silent = pipeline::load("text-generation", data.join("gpt2"), &options).unwrap();
    let nobody = silent.run(&[json!([])], &Map::new()).unwrap_err().to_string();
    assert!(nobody.contains("messages"), "{nobody}");
    assert!(pipeline::load("summarization", data.join("gpt2"), &options).is_err());
}
