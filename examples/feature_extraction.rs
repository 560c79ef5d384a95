//! Which of some sentences is nearest to the first: `cargo run --example feature_extraction -- MODEL SENTENCE ...`

use tch_transformers::pipeline::{FeatureExtraction, Options, cosine_similarity};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("the model is missing")?;
    let sentences: Vec<String> = arguments.collect();
    let sentences: Vec<&str> = sentences.iter().map(String::as_str).collect();

    let pipeline = FeatureExtraction::from_pretrained(model, &Options::default())?;
    let vectors = pipeline.embed(&sentences, 32)?; // [sentences, width]
    let similarity = Vec::<Vec<f32>>::try_from(&cosine_similarity(&vectors))?;
    for (sentence, similarity) in sentences.iter().zip(&similarity[0]) {
        println!("{similarity:.3}  {sentence}");
    }
    Ok(())
}
