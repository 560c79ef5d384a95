//! How well labels fit a text: `cargo run --example zero_shot_classification -- MODEL TEXT LABEL ...`

use tch_transformers::pipeline::{Options, ZeroShotClassification, ZeroShotSettings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (model, text) = arguments.next().zip(arguments.next()).ok_or("the model or the text is missing")?;

    let pipeline = ZeroShotClassification::from_pretrained(model, &Options::default())?;
    for result in pipeline.classify(&[&text], &ZeroShotSettings::labels(arguments))? {
        for (label, score) in result.labels.iter().zip(result.scores) {
            println!("{score:.3}  {label}");
        }
    }
    Ok(())
}
