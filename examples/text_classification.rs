//! Labels of texts: `cargo run --example text_classification -- MODEL TEXT ...`

use tch_transformers::pipeline::{Options, TextClassification, TextInput};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("the model is missing")?;
    let texts: Vec<TextInput> = arguments.map(TextInput::Text).collect();

    let pipeline = TextClassification::from_pretrained(model, &Options::default())?;
    for labels in pipeline.classify(&texts, &Default::default())? {
        println!("{} {:.3}", labels[0].label, labels[0].score);
    }
    Ok(())
}
