//! A conversation, each line of standard input answered as it comes: `cargo run --example conversation -- MODEL`

use std::io::{Write, stdin, stdout};
use std::ops::ControlFlow;

use tch_transformers::pipeline::{Options, TextGeneration, TextGenerationSettings};
use tch_transformers::text::Message;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let model = std::env::args().nth(1).ok_or("the model is missing")?;

    let pipeline = TextGeneration::from_pretrained(model, &Options::default())?;
    let mut conversation = pipeline.conversation(vec![Message::system("Answer in one sentence.")]);
    for line in stdin().lines() {
        let turn = conversation.say(Message::user(line?), &TextGenerationSettings::greedy(12), |piece| {
            print!("{piece}");
            if stdout().flush().is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        println!("  ({} of {} tokens remembered)", turn.remembered_tokens, turn.prompt_tokens);
    }
    Ok(())
}
