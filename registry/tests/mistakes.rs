//! What the registry says about entries that are wrong: all of it, in one go, each with its place.

use std::{env, fs, path::Path};

use tch_transformers_registry::{Category, Level, Mistake, Scan, hint, ident, status};

fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"))
}

/// Compares with a golden file, which `UPDATE_GOLDEN=1` rewrites.
fn golden(name: &str, actual: &str) {
    let path = fixtures().join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual).expect("the golden file can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{} differs; it should now read:\n{actual}", path.display());
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(|mistake| format!("{mistake}\n")).collect()
}

#[test]
fn every_mistake_is_reported_with_its_place() {
    let scan = Scan::new(&fixtures().join("entries"), None);
    golden("entries.txt", &lines(&scan.mistakes));
    assert!(scan.mistakes.is_sorted());
    assert!(scan.into_roster().is_err());
}

#[test]
fn missing_cases_are_reported() {
    let folder = fixtures().join("cases");
    let scan = Scan::new(&folder.join("registry"), Some(&folder.join("cases")));
    golden("cases.txt", &lines(&scan.mistakes));
    assert_eq!(scan.case_files.len(), 5);
}

#[test]
fn levels_count_what_reaches_them() {
    let scan = Scan::new(&fixtures().join("entries"), None);
    let counts = |of| {
        let status = status(&scan).into_iter().find(|status| status.category == of).expect("every category is there");
        (status.declared, status.syntax, status.structure, status.tasks)
    };
    assert_eq!(counts(Category::EncoderOnly), (6, 4, 0, 0));
    assert_eq!(counts(Category::Vision), (1, 0, 0, 0));
    assert_eq!(counts(Category::Speech), (0, 0, 0, 0));
    let status = status(&scan).remove(0);
    assert_eq!(status.target, Some(63));
    assert_eq!(status.coverage(status.syntax), Some(4.0 / 63.0));
    assert!(scan.mistakes.iter().any(|mistake| mistake.level == Level::Tasks));
}

#[test]
fn the_first_milestone_counts_328_architectures() {
    assert_eq!(Category::ALL.into_iter().filter_map(Category::target).sum::<usize>(), 328);
}

#[test]
fn names_of_the_hub_become_identifiers() {
    for (name, expected) in [
        ("gpt-j", "gpt_j"),
        ("data2vec-text", "data2vec_text"),
        ("xlm-roberta", "xlm_roberta"),
        ("wav2vec2-bert", "wav2vec2_bert"),
        ("code_llama", "code_llama"),
        ("qwen2.5", "qwen2_5"),
        ("t5v1.1", "t5v1_1"),
    ] {
        assert_eq!(ident(name).as_deref(), Ok(expected));
    }
    for name in ["", "2fast", "mod", "größe", "a b", "../up", ".hidden", "_x", "Bert", "a/b", "ﬁ"] {
        assert!(ident(name).is_err(), "{name:?} must be refused");
    }
}

#[test]
fn suggestions_are_close_or_absent() {
    assert_eq!(hint("fil-mask", ["fill-mask", "backbone"]), "; did you mean `fill-mask`?");
    assert_eq!(hint("zebra", ["fill-mask", "backbone"]), "");
}
