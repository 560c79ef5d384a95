//! The command's exit statuses: 0 for passed or uncovered, 1 for failed, 2 for what it cannot do.

mod support;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use support::{copy_of, edit};
use tch_transformers::verify::{Run, Status};

fn command(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tch-transformers")).args(arguments).output().unwrap()
}

fn status(arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

fn verify(cases: &Path, more: &[&str]) -> (Option<i32>, String) {
    status(&[&["verify", "--cases", cases.to_str().unwrap()], more].concat())
}

#[test]
fn passed_failed_and_uncovered_cases_of_anyone() {
    let folder = tempfile::tempdir().unwrap();
    let good = copy_of("bert/fill-mask", folder.path());
    copy_of("bert/text-generation", folder.path());
    let (code, text) = verify(folder.path(), &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("3 passed, 0 failed"), "{text}");

    let other = copy_of("bert/pretraining", folder.path());
    edit(&other.join("case.json"), "BertForPreTraining", "BertForTimeTravel");
    let (code, text) = verify(folder.path(), &[]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("3 passed, 0 failed, 1 uncovered"), "{text}");

    std::fs::write(good.join("case.safetensors"), "damaged").unwrap();
    let json = folder.path().join("run.json");
    let (code, text) = verify(folder.path(), &["--json", json.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("2 passed, 1 failed, 1 uncovered") && text.contains("case.safetensors"), "{text}");
    let run = Run::read(&json).unwrap();
    assert_eq!(Status::ALL.map(|status| run.count(status)), [2, 1, 0, 0, 1]);
}

#[test]
fn what_cannot_be_done_is_told_apart_from_failures() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().to_str().unwrap();
    for arguments in [
        &["verify", "--no-such-option"][..],
        &["verify", "--cases", empty],
        &["verify", "--cases", "/no/such/folder"],
        &["verify", "no-such-architecture"],
        &["verify", "--device", "abacus"],
        &["verify", "--dtype", "int3"],
        &["verify", "--task", "juggling"],
        &["verify", "--check", "vibes"],
        &["verify", "--tolerance", "-1"],
        &["show", "no-such-architecture"],
        &["report", "--from", "/no/such/run.json"],
        &["verify", "bert", "--check", "config", "--json", "/no/such/folder/run.json"],
    ] {
        let (code, text) = status(arguments);
        assert_eq!(code, Some(2), "{arguments:?}: {text}");
        assert!(!text.contains("panicked"), "{text}");
    }
}

#[test]
fn a_device_that_is_not_there_is_not_run_and_not_passed() {
    let (code, text) = status(&["verify", "bert", "--check", "forward", "--device", "cuda:99"]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("0 passed, 0 failed") && text.contains("not run"), "{text}");
}

#[test]
fn list_and_show() {
    let (code, text) = status(&["list", "--category", "encoder-only"]);
    assert!(code == Some(0) && text.contains("bert"), "{text}");
    let (code, text) = status(&["show", "bert", "--class", "BertForMaskedLM"]);
    let row = text.lines().find(|line| line.contains("bert.encoder.layer.*.attention.self.query.weight"));
    assert!(code == Some(0) && row.is_some_and(|row| row.contains("[768, 768]") && row.contains("12")), "{text}");
    let (code, text) = status(&["show", "bert", "--expand"]);
    assert!(code == Some(0) && text.contains("forward_fill_mask_cpu"), "{text}");
}

/// A made checkpoint.
fn made(name: &str) -> String {
    format!("{}/tests/data/checkpoints/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// What `run` prints for a task.
fn ran(task: &str, model: &str, more: &[&str]) -> String {
    let output = command(&[&["run", task, "--model", &made(model)], more].concat());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{task} {more:?}: {errors}");
    assert_eq!(errors, "", "{task} {more:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn ran_json(task: &str, model: &str, more: &[&str]) -> Value {
    serde_json::from_str(&ran(task, model, &[&["--json"], more].concat())).unwrap()
}

/// The first run recorded from Python that fits.
fn recorded(task: &str, fits: impl Fn(&Value) -> bool) -> Value {
    let path = format!("{}/tests/data/pipelines/{task}.json", env!("CARGO_MANIFEST_DIR"));
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    file["runs"].as_array().unwrap().iter().find(|run| fits(run)).unwrap().clone()
}

/// Names and texts are equal; numbers are compared by the tests of pipelines.
fn alike(found: &Value, expected: &Value) -> bool {
    match (found, expected) {
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len() && left.iter().all(|(name, value)| alike(value, &right[name]))
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && std::iter::zip(left, right).all(|(left, right)| alike(left, right))
        }
        (Value::Number(left), Value::Number(right)) => (left.as_f64().unwrap() - right.as_f64().unwrap()).abs() < 1e-4,
        _ => found == expected,
    }
}

#[test]
fn every_task_prints_what_python_returns() {
    let settings = |expected: Value| move |run: &Value| run["settings"] == expected && run.get("config").is_none();
    for (task, wanted, more) in [
        ("feature-extraction", json!({}), &["--tokens"][..]),
        ("fill-mask", json!({ "top_k": 3 }), &["--top-k", "3"]),
        ("fill-mask", json!({ "targets": "book", "top_k": 4 }), &["--targets", "book", "--top-k", "4"]),
        ("text-classification", json!({ "top_k": 2 }), &["--top-k", "2"]),
        (
            "text-classification",
            json!({ "function_to_apply": "none", "top_k": null }),
            &["--function", "none", "--top-k", "all"],
        ),
        (
            "zero-shot-classification",
            json!({ "candidate_labels": "politics, sports , ,phone" }),
            &["--labels", "politics, sports , ,phone"],
        ),
        (
            "token-classification",
            json!({ "stride": 8, "aggregation_strategy": "first" }),
            &["--aggregation", "first", "--stride", "8"],
        ),
    ] {
        let run = recorded(task, settings(wanted));
        let inputs: Vec<&str> = run["inputs"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
        let found = ran_json(task, run["checkpoint"].as_str().unwrap(), &[more, &["--"], &inputs].concat());
        let found = if inputs.len() == 1 { json!([found]) } else { found };
        assert!(alike(&found, &run["results"]), "{task} {more:?}: {found}");
    }
    let run = recorded("question-answering", settings(json!({ "top_k": 3 })));
    let (one, answers) = (&run["inputs"][0], &run["results"][0]);
    let context = one["context"].as_str().unwrap();
    let model = run["checkpoint"].as_str().unwrap();
    let found = ran_json(
        "question-answering",
        model,
        &[one["question"].as_str().unwrap(), "--context", context, "--top-k", "3"],
    );
    assert!(alike(&found, answers), "{found}");
}

#[test]
fn text_is_for_people() {
    let text = ran("fill-mask", "bert", &["The capital of [MASK] is Paris.", "--top-k", "2"]);
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.lines().take(2).all(|line| line.contains("the capital of")), "{text}");
    let text = ran("sentiment-analysis", "distilbert", &["good", "bad", "--top-k", "all"]);
    assert!(text.lines().count() == 2 && text.contains("positive 0.") && text.contains("negative 0."), "{text}");
    let text = ran("ner", "bert", &["I live in London", "--aggregation", "simple"]);
    assert!(text.starts_with("I live in London\n") && text.contains("-16  "), "{text}");
    let text = ran("question-answering", "distilbert", &["Where?", "--context", "I live in London"]);
    assert_eq!(text.lines().count(), 1, "{text}");
    let text = ran("feature-extraction", "bert", &["--similarity", "a", "b"]);
    assert!(text.contains("1.000") && text.lines().count() == 3, "{text}");
}

#[test]
fn lines_of_standard_input_are_answered_as_they_come() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tch-transformers"))
        .args(["run", "text-classification", "--json", "--model", &made("distilbert")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    for text in ["first\n", "\n", "and a third one\n"] {
        // The next line is written only after this one has been answered.
        input.write_all(text.as_bytes()).unwrap();
        let answer: Value = serde_json::from_str(&output.next().unwrap().unwrap()).unwrap();
        assert!(answer["label"].is_string(), "{answer}");
    }
    drop(input);
    assert!(output.next().is_none() && child.wait().unwrap().success());
}

#[test]
fn a_file_has_a_text_a_line_and_order_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("texts.txt");
    let texts: Vec<String> = (0..70).map(|number| "word ".repeat(number % 7) + &number.to_string()).collect();
    std::fs::write(&file, texts.join("\n")).unwrap();
    let labels = ["--labels", "one,two", "--batch-size", "2", "--json"];
    let printed = ran("zero-shot-classification", "bart", &[&labels[..], &["--file", file.to_str().unwrap()]].concat());
    let sequences: Vec<Value> = printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(sequences.iter().map(|line| line["sequence"].as_str().unwrap()).collect::<Vec<_>>(), texts);
    let embedded = ran("feature-extraction", "bert", &["--json", "--file", file.to_str().unwrap()]);
    let first: Value = serde_json::from_str(embedded.lines().next().unwrap()).unwrap();
    assert!(embedded.lines().count() == 70 && first["embedding"].as_array().unwrap().len() == 24, "{first}");

    std::fs::write(&file, b"good\n\xff\xfe\n").unwrap();
    let (code, text) = status(&["run", "ner", "--model", &made("bert"), "--file", file.to_str().unwrap()]);
    assert!(code == Some(2) && text.contains("UTF-8"), "{text}");
}

#[test]
fn what_run_cannot_do_is_told_with_a_way_out() {
    let (bert, distilbert) = (made("bert"), made("distilbert"));
    for (arguments, told) in [
        (&["fill-mask", "--model", &bert, "no mask here"][..], "write `[MASK]`"),
        (&["fill-mask", "--model", &bert, "[MASK]", "--targets", ""], "targets"),
        (&["fill-mask", "--model", &distilbert, "[MASK]"], "made for DistilBertForSequenceClassification"),
        (&["fill-mask", "--model", "/no/such/model", "[MASK]"], "/no/such/model"),
        (&["text-classification", "--model", &bert, "a", "--dtype", "int3"], "float32"),
        (&["text-classification", "--model", &bert, "a", "--device", "abacus"], "cuda"),
        (&["text-classification", "--model", &bert, "a", "--top-k", "0"], "`all`"),
        (&["text-classification", "--model", &bert, "a", "--function", "tanh"], "sigmoid"),
        (&["zero-shot-classification", "--model", &bert, "a"], "--labels"),
        (&["zero-shot-classification", "--model", &bert, "a", "--labels", "b", "--template", "c"], "{}"),
        (&["token-classification", "--model", &bert, "a", "--aggregation", "most"], "average"),
        (&["token-classification", "--model", &bert, "a", "--stride", "400"], "stride"),
        (&["question-answering", "--model", &distilbert, "a?"], "--context"),
        (&["question-answering", "--model", &distilbert, "a?", "--context", ""], "context"),
        (&["question-answering", "--model", &distilbert, "a?", "--context-file", "/no/such"], "/no/such"),
        (
            &["question-answering", "--model", &distilbert, "a b c?", "--context", "d", "--max-seq-len", "6"],
            "makes room",
        ),
        (&["feature-extraction", "--model", &bert, "--file", "/no/such/file"], "/no/such/file"),
        (&["juggling", "--model", &bert], "juggling"),
    ] {
        let (code, text) = status(&[&["run"], arguments].concat());
        assert_eq!(code, Some(2), "{arguments:?}: {text}");
        assert!(text.contains(told) && !text.contains("panicked"), "{arguments:?}: {text}");
    }
}
