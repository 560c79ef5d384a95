//! An answer to what a user says: `cargo run --example chat -- MODEL "What is the capital of France?"`

use tch_transformers::pipeline::{Options, TextGeneration, TextGenerationSettings};
use tch_transformers::text::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (model, question) = arguments.next().zip(arguments.next()).ok_or("the model or the question is missing")?;

    let pipeline = TextGeneration::from_pretrained(model, &Options::default())?;
    let messages = [Message::system("Answer in one sentence."), Message::user(question)];
    for answer in pipeline.chat(&messages, &TextGenerationSettings::greedy(12))? {
        println!("{answer}");
    }
    Ok(())
}
