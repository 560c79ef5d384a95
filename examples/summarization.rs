//! Texts summarized: `cargo run --example summarization -- MODEL TEXT ...`

use tch_transformers::pipeline::{Options, Summarization};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("the model is missing")?;
    let texts: Vec<String> = arguments.collect();

    let pipeline = Summarization::from_pretrained(model, &Options::default())?;
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for summary in pipeline.generate(&texts, &Default::default())?.concat() {
        println!("{}", summary.text);
    }
    Ok(())
}
