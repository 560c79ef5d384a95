//! The entities in a text: `cargo run --example token_classification -- MODEL TEXT`

use tch_transformers::pipeline::{Options, Strategy, TokenClassification, TokenClassificationSettings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (model, text) = arguments.next().zip(arguments.next()).ok_or("the model or the text is missing")?;

    let pipeline = TokenClassification::from_pretrained(model, &Options::default())?;
    let settings = TokenClassificationSettings { aggregation_strategy: Strategy::Simple, ..Default::default() };
    for entity in pipeline.classify(&[text.as_str().into()], &settings)?.concat() {
        println!("{} {}-{}  {}", entity.label, entity.start, entity.end, entity.word);
    }
    Ok(())
}
