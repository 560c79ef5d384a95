//! A real checkpoint, sentence-transformers/all-MiniLM-L6-v2, gives the embeddings that Python gives.

mod support;

use std::fs;
use std::path::Path;

use support::minilm::checkpoint;
use tch::Tensor;
use tch_transformers::pipeline::{FeatureExtraction, cosine_similarity};
use tch_transformers::weights::LoadOptions;
use tch_transformers::weights::safetensors::SafetensorsFile;

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
