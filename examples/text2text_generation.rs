//! A text for each text: `cargo run --example text2text_generation -- MODEL TEXT ...`

use tch_transformers::pipeline::{Options, Text2TextGeneration};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("the model is missing")?;
    let texts: Vec<String> = arguments.collect();

    let pipeline = Text2TextGeneration::from_pretrained(model, &Options::default())?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for written in pipeline.generate(&texts, &Default::default())?.concat() {
        println!("{}", written.text);
    }
    Ok(())
}
