//! A text continued, word by word: `cargo run --example text_generation -- MODEL "Once upon a time"`

use std::io::Write;
use std::ops::ControlFlow;

use tch_transformers::pipeline::{Options, TextGeneration, TextGenerationSettings};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (model, prompt) = arguments.next().zip(arguments.next()).ok_or("the model or the prompt is missing")?;

    let pipeline = TextGeneration::from_pretrained(model, &Options::default())?;
    print!("{prompt}");
    pipeline.stream(&prompt, &TextGenerationSettings::greedy(12), |piece| {
        print!("{piece}");
        if std::io::stdout().flush().is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    })?;
    println!();
    Ok(())
}
