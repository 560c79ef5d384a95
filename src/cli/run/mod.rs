//! `run`: a task on inputs of one's own. A file per group of tasks; [`session`] is what they share.

mod answer;
mod chat;
mod classify;
mod extract;
mod fill;
mod interrupt;
mod lines;
mod session;
mod source;
mod write;

use anyhow::Result;
use clap::{Args, Subcommand};
use tch_transformers::pipeline::{AnyText, InAnotherLanguage, Summary};

use super::PASSED;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Turn texts into vectors (sentence embeddings)
    ///
    /// A directory with modules.json (sentence-transformers) says itself how the vectors of a text's tokens become one:
    /// pooling, dense layers, normalisation. Without modules.json it is their mean (mean pooling over
    /// last_hidden_state).
    FeatureExtraction(extract::Arguments),
    /// Say what could stand in place of the mask in a text
    ///
    /// The mask is written as the tokenizer writes it, such as [MASK] or <mask>.
    FillMask(fill::Arguments),
    /// Classify texts by the labels of the model
    #[command(alias = "sentiment-analysis")]
    TextClassification(classify::TextArguments),
    /// Classify texts by labels of your own
    ZeroShotClassification(classify::ZeroShotArguments),
    /// Find entities in texts, such as persons and places
    #[command(alias = "ner")]
    TokenClassification(classify::TokenArguments),
    /// Find the part of a text that answers a question
    ///
    /// The texts are questions; all are about the one context.
    QuestionAnswering(answer::Arguments),
    /// Continue texts, or converse
    ///
    /// With --chat and a terminal as standard input, every line is answered with what was said before; /help lists the
    /// commands that a line may be.
    TextGeneration(write::GenerationArguments),
    /// Write a text for each text, with an encoder-decoder
    #[command(name = "text2text-generation")]
    Text2textGeneration(write::TextToTextArguments),
    /// Summarize texts
    Summarization(write::TextToTextArguments),
    /// Translate texts
    Translation(write::TextToTextArguments),
}

pub fn run(arguments: &Arguments) -> Result<u8> {
    match &arguments.task {
        Task::FeatureExtraction(arguments) => extract::run(arguments)?,
        Task::FillMask(arguments) => fill::run(arguments)?,
        Task::TextClassification(arguments) => classify::text(arguments)?,
        Task::ZeroShotClassification(arguments) => classify::zero_shot(arguments)?,
        Task::TokenClassification(arguments) => classify::tokens(arguments)?,
        Task::QuestionAnswering(arguments) => answer::run(arguments)?,
        Task::TextGeneration(arguments) => write::generation(arguments)?,
        Task::Text2textGeneration(arguments) => write::text_to_text::<AnyText>(arguments)?,
        Task::Summarization(arguments) => write::text_to_text::<Summary>(arguments)?,
        Task::Translation(arguments) => write::text_to_text::<InAnotherLanguage>(arguments)?,
    }
    Ok(PASSED)
}

/// The beginning of a text, on one line.
fn shortened(text: &str) -> String {
    const MOST: usize = 60;
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MOST + 1).collect();
    match line.chars().count() > MOST {
        true => line.chars().take(MOST - 1).chain(['…']).collect(),
        false => line,
    }
}
