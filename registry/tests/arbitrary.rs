//! Whatever a file holds, reading it never panics, and what is accepted can be written out.

use std::{fs, path::Path, sync::LazyLock};

use proptest::prelude::*;
use tch_transformers_registry::{Category, Scan, emit, ident, status};

/// The texts of all fixtures, good and bad.
static SEEDS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures"));
    let folders = ["entries/encoder-only", "entries/decoder-only", "good/decoder-only", "good/vision-text"];
    (folders.iter())
        .flat_map(|folder| fs::read_dir(fixtures.join(folder)).expect("the fixtures are there"))
        .filter_map(|file| fs::read_to_string(file.ok()?.path()).ok())
        .collect()
});

fn scan(text: &str) {
    let scan = Scan::of_texts([
        ("registry/decoder-only/llama.toml", Category::DecoderOnly, text),
        ("registry/vision/other.toml", Category::Vision, text),
    ]);
    let reached = status(&scan);
    assert_eq!(reached.iter().map(|status| status.declared).sum::<usize>(), 2);
    let alone = Scan::of_texts([("registry/decoder-only/llama.toml", Category::DecoderOnly, text)]);
    if let Ok(roster) = alone.into_roster() {
        assert!(emit::table(&roster).starts_with("//"));
        assert!(emit::declarations(&roster, Category::DecoderOnly).contains("hf_model("));
    }
}

/// A seed in which some pieces are cut, doubled or replaced.
fn mutated() -> impl Strategy<Value = String> {
    let edit = (
        any::<prop::sample::Index>(),
        any::<prop::sample::Index>(),
        prop_oneof![
            Just(String::new()),
            "[\\[\\]{}=\"'.,#\n \\\\]{1,4}",
            "\\PC{0,8}",
            Just("model_type".to_owned()),
            Just("[cases.x]\n".to_owned()),
            Just("-9223372036854775808".to_owned()),
            Just("[[tasks]]\n".to_owned()),
        ],
    );
    (any::<prop::sample::Index>(), prop::collection::vec(edit, 1..6)).prop_map(|(seed, edits)| {
        let mut text: Vec<char> = seed.get(&SEEDS).chars().collect();
        for (from, to, piece) in edits {
            let (from, to) = (from.index(text.len() + 1), to.index(text.len() + 1));
            let from = from.min(to);
            text.splice(from..to.min(from + 40), piece.chars());
        }
        text.into_iter().collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_text(text in "\\PC{0,200}") {
        scan(&text);
    }

    #[test]
    fn arbitrary_tables(keys in prop::collection::vec(("[a-z_.\"\\-]{1,12}", "[\\[\\]{}=\"a-z0-9., ]{0,20}"), 0..12)) {
        scan(&keys.iter().map(|(key, value)| format!("{key} = {value}\n")).collect::<String>());
    }

    #[test]
    fn damaged_entries(text in mutated()) {
        scan(&text);
    }

    #[test]
    fn identifiers_are_identifiers(name in "\\PC{0,12}|[a-z0-9._-]{0,12}") {
        if let Ok(ident) = ident(&name) {
            prop_assert!(ident.starts_with(|c: char| c.is_ascii_lowercase()));
            prop_assert!(ident.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'));
        }
    }
}
