//! The command's exit statuses: 0 for passed or uncovered, 1 for failed, 2 for what it cannot do.

mod support;

use std::path::Path;
use std::process::{Command, Output};

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
