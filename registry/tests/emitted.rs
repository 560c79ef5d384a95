//! What the build makes of entries without mistakes.

use std::{env, fs, path::Path};

use tch_transformers_registry::{Category, Roster, Scan, emit, entry::Value};

fn fixtures() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"))
}

fn roster() -> Roster {
    Scan::new(&fixtures().join("good"), None).into_roster().expect("the fixtures have no mistakes")
}

fn golden(name: &str, actual: &str) {
    let path = fixtures().join(name);
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&path, actual).expect("the golden file can be written");
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(expected == actual, "{} differs; it should now read:\n{actual}", path.display());
}

#[test]
fn the_table_of_the_library() {
    golden("table.rs.txt", &emit::table(&roster()));
}

#[test]
fn the_declarations_of_the_suites() {
    let roster = roster();
    let declarations: String =
        Category::ALL.into_iter().map(|category| emit::declarations(&roster, category)).collect();
    golden("declarations.rs.txt", &declarations);
}

#[test]
fn a_class_of_two_tasks_has_one_case() {
    let roster = roster();
    let clip = roster.entry("clip").expect("it is there");
    assert_eq!(roster.case_names(clip), ["feature-extraction", "text-embedding", "clip_text_model", "resized"]);
    assert_eq!(roster.classes(clip)[0].tasks.len(), 2);
}

#[test]
fn a_variant_has_the_code_and_tasks_of_its_parent_and_its_own_config() {
    let roster = roster();
    let variant = roster.entry("code_llama").expect("it is there");
    assert_eq!(roster.code_of(variant).model_type.value, "llama");
    assert_eq!(roster.tasks(variant).len(), 2);
    assert_eq!(variant.tiny, [("vocab_size".to_owned(), Value::Int(37))]);
}

#[test]
fn checks_follow_the_classes() {
    let roster = roster();
    let has = |model_type: &str, check: &str| {
        let entry = roster.entry(model_type).expect("it is there");
        roster.checks(entry).iter().any(|known| known.name == check)
    };
    assert!(has("llama", "generate") && has("llama", "cache") && has("llama", "padding"));
    assert!(has("llama", "trace"), "what is skipped stays, with its reason");
    assert!(!has("bert", "generate"), "an encoder that could decode does not count as generating");
    assert!(!has("clip", "cache") && has("clip", "padding"));
}
