//! Files of tokenizers that nobody meant: Python's tokenizer, or an error that names the file, and never a panic. The cases
//! and what Python makes of them are from `reference/hostile_text.py`.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde::Deserialize;
use tch_transformers::text::{Tokenizer, Truncation};
use tch_transformers::{Error, Result};

#[derive(Deserialize)]
struct Cases {
    texts: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    files: BTreeMap<String, Content>,
    /// What an error has to name.
    wrong: String,
    /// Whether it may be an error although Python takes it.
    refused: bool,
    /// Whether it may be taken although Python does not.
    #[serde(default)]
    lenient: bool,
    /// The ids of each text, where Python makes a tokenizer; `None` for a text that it fails on.
    expected: Option<Vec<Option<Vec<u32>>>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Bytes { base64: String },
    Repeated { repeat: (String, String, usize, String) },
    Folder {},
}

thread_local! {
    static IS_LOADING: Cell<bool> = const { Cell::new(false) };
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Loads and counts panics, which become errors otherwise.
fn load(folder: &Path) -> Result<Tokenizer> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let rest = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(usize::from(IS_LOADING.get()), Ordering::Relaxed);
            rest(panic);
        }));
    });
    IS_LOADING.set(true);
    let before = PANICS.load(Ordering::Relaxed);
    let loaded = Tokenizer::from_directory(folder);
    IS_LOADING.set(false);
    let error = loaded.as_ref().err().map(ToString::to_string);
    assert_eq!(PANICS.load(Ordering::Relaxed), before, "a panic: {error:?}");
    loaded
}

fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("hostile-text").join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

fn cases() -> Cases {
    let mut json = String::new();
    let file = fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/hostile_text.json.gz")).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut json).unwrap();
    serde_json::from_str(&json).unwrap()
}

impl Content {
    fn lay(&self, path: &Path) {
        match self {
            Self::Text(text) => fs::write(path, text).unwrap(),
            Self::Bytes { base64 } => fs::write(path, STANDARD.decode(base64).unwrap()).unwrap(),
            Self::Repeated { repeat: (before, unit, count, after) } => {
                fs::write(path, [before, &*unit.repeat(*count), after].concat()).unwrap();
            }
            Self::Folder {} => fs::create_dir(path).unwrap(),
        }
    }
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Option<Vec<u32>> {
    let encodings = tokenizer.encode_cut(&[text], Truncation::NONE).ok()?;
    Some(encodings[0].get_ids().to_vec())
}

/// What is not as it has to be.
fn difference(case: &Case, texts: &[String], folder: &Path) -> Option<String> {
    for (name, content) in &case.files {
        content.lay(&folder.join(name));
    }
    match (load(folder), &case.expected) {
        (Err(error), expected) => {
            let is_typed = matches!(error, Error::Tokenizer(_) | Error::Json { .. } | Error::Io { .. });
            let is_named = error.to_string().contains(&case.wrong);
            let is_right = (expected.is_none() || case.refused) && is_typed && is_named;
            (!is_right).then(|| format!("refused, Python takes it: {}: {error}", expected.is_some()))
        }
        (Ok(_), None) => (!case.lenient).then(|| "taken, but Python refuses it".into()),
        (Ok(tokenizer), Some(expected)) => {
            let found: Vec<_> = texts.iter().map(|text| ids(&tokenizer, text)).collect();
            (found != *expected).then(|| format!("{found:?} for {expected:?}"))
        }
    }
}

#[test]
fn each_file_is_as_in_python_or_refused() {
    let Cases { texts, cases } = &cases();
    assert!(cases.len() > 1000);
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get());
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let check = |from: usize| {
            let found = cases.iter().enumerate().skip(from).step_by(threads).filter_map(|(place, case)| {
                let folder = folder(&place.to_string());
                let found = std::panic::catch_unwind(|| difference(case, texts, &folder));
                let found = found.unwrap_or_else(|panic| panic.downcast_ref::<String>().cloned());
                Some(format!("{}: {}", case.name, found?))
            });
            found.collect::<Vec<_>>()
        };
        let running: Vec<_> = (0..threads).map(|from| scope.spawn(move || check(from))).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// The bytes of a small vocabulary.
fn stored(path: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizers").join(path)).unwrap()
}

/// Loads a file as the classes do that read it, and encodes something with what comes of it.
fn tried(folder: &Path, file: &str, content: &[u8]) {
    fs::write(folder.join(file), content).unwrap();
    for class in ["PreTrainedTokenizerFast", "LlamaTokenizer", "T5Tokenizer", "BertTokenizer"] {
        fs::write(folder.join("tokenizer_config.json"), format!("{{\"tokenizer_class\":\"{class}\"}}")).unwrap();
        match load(folder) {
            Ok(tokenizer) => _ = ids(&tokenizer, "The quick ﬁne\u{3000}fox…"),
            Err(error) => assert!(error.to_string().contains(file) || class == "BertTokenizer", "{class}: {error}"),
        }
    }
}

#[test]
fn models_cut_anywhere_are_errors_or_harmless() {
    let folder = folder("cut");
    let small =
        cases().cases.into_iter().find(|case| case.name == "tokenizer.model: as it should be, generic").unwrap();
    let Some(Content::Bytes { base64 }) = small.files.get("tokenizer.model") else { panic!("no model") };
    let model = STANDARD.decode(base64).unwrap();
    assert!(model.len() > 100);
    for length in 0..model.len() {
        tried(&folder, "tokenizer.model", &model[..length]);
    }
}

fn tries(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// `bytes` with some of them changed and the end cut off.
fn changed(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, u8)], cut: Option<prop::sample::Index>) -> Vec<u8> {
    for (place, byte) in changes {
        let place = place.index(bytes.len());
        bytes[place] = *byte;
    }
    if let Some(cut) = cut {
        bytes.truncate(cut.index(bytes.len()));
    }
    bytes
}

fn changes() -> impl Strategy<Value = (Vec<(prop::sample::Index, u8)>, Option<prop::sample::Index>)> {
    (prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6), any::<Option<prop::sample::Index>>())
}

proptest! {
    #![proptest_config(tries(40))]

    #[test]
    fn models_with_changed_bytes((changes, cut) in changes(), which in 0usize..3) {
        let path = ["unigram-t5/spiece.model", "pairs-llama/tokenizer.model", "ranks/tokenizer.model"][which];
        tried(&folder("changed-model"), "tokenizer.model", &changed(stored(path), &changes, cut));
    }

    #[test]
    fn tokenizer_json_with_changed_bytes((changes, cut) in changes(), which in any::<prop::sample::Index>()) {
        let names = ["words: as it should be, generic", "pairs: as it should be, generic", "pieces: as it should be, generic"];
        let case = cases().cases.into_iter().find(|case| case.name == *which.get(&names)).unwrap();
        let Some(Content::Text(json)) = case.files.get("tokenizer.json") else { panic!("no tokenizer.json") };
        tried(&folder("changed-json"), "tokenizer.json", &changed(json.clone().into_bytes(), &changes, cut));
    }
}

#[cfg(unix)]
#[test]
fn links_out_of_the_folder_are_followed_and_endless_files_are_refused() {
    let folder = folder("links");
    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/tokenizers/word-pieces/vocab.txt");
    std::os::unix::fs::symlink(target, folder.join("vocab.txt")).unwrap();
    fs::write(folder.join("config.json"), "{\"model_type\":\"bert\"}").unwrap();
    assert!(load(&folder).is_ok());
    std::os::unix::fs::symlink("/dev/zero", folder.join("tokenizer.json")).unwrap();
    let error = load(&folder).err().unwrap().to_string();
    assert!(error.contains("tokenizer.json: has more than"), "{error}");
}
