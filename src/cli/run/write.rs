//! Tasks whose result is a text that the model writes.

use std::io::{IsTerminal, Write};
use std::ops::ControlFlow;

use anyhow::{Context, Result};
use clap::Args;
use serde_json::{Map, Value, json};
use tch_transformers::GenerationConfig;
use tch_transformers::pipeline::{
    Continued, Prompt, TextGeneration, TextGenerationSettings, TextToText, TextToTextSettings, Wording, WrittenText,
};
use tch_transformers::text::Message;

use super::chat;
use super::session::{Common, Session};

/// How tokens are chosen; what is not said here, the checkpoint's generation_config.json says.
#[derive(Debug, Args)]
struct Generation {
    /// Tokens to write at most
    #[arg(long, value_name = "N")]
    max_new_tokens: Option<usize>,
    /// Draw tokens by their probability
    #[arg(long, conflicts_with = "greedy")]
    sample: bool,
    /// Take the likeliest token each time
    #[arg(long)]
    greedy: bool,
    /// Divides scores before a token is drawn: below 1 the likely ones become likelier
    #[arg(long, requires = "sample")]
    temperature: Option<f64>,
    /// Draw from so many tokens
    #[arg(long, value_name = "N", requires = "sample")]
    top_k: Option<u32>,
    /// Draw from the likeliest tokens that have this probability together
    #[arg(long, value_name = "P", requires = "sample")]
    top_p: Option<f64>,
    /// Search with so many beams
    #[arg(long, value_name = "N")]
    num_beams: Option<usize>,
    /// Texts to write for each input
    #[arg(long, value_name = "N")]
    num_return_sequences: Option<usize>,
    /// End where the text contains this; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// Any other setting of a generation, its value as JSON; may be given several times
    #[arg(long, value_name = "NAME=JSON", value_parser = setting)]
    set: Vec<(String, Value)>,
    /// Where what is drawn begins: the same number gives the same text
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
}

impl Generation {
    fn settings(&self) -> Map<String, Value> {
        let sampling = (self.sample || self.greedy).then(|| json!(self.sample));
        let named = [
            ("max_new_tokens", self.max_new_tokens.map(Value::from)),
            ("do_sample", sampling),
            ("temperature", self.temperature.map(Value::from)),
            ("top_k", self.top_k.map(Value::from)),
            ("top_p", self.top_p.map(Value::from)),
            ("num_beams", self.num_beams.map(Value::from)),
            ("num_return_sequences", self.num_return_sequences.map(Value::from)),
            ("stop_strings", (!self.stop.is_empty()).then(|| json!(self.stop))),
        ];
        let named = named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
        named.chain(self.set.iter().cloned()).collect()
    }
}

/// `NAME=JSON`, where NAME is a setting of a generation.
fn setting(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=JSON, such as repetition_penalty=1.2")?;
    if !GenerationConfig::has(name) {
        return Err(format!("a generation has no setting `{name}`"));
    }
    let value = serde_json::from_str(value).map_err(|error| format!("the value of `{name}` is no JSON: {error}"))?;
    Ok((name.to_owned(), value))
}

#[derive(Debug, Args)]
pub struct GenerationArguments {
    #[command(flatten)]
    pub common: Common,
    #[command(flatten)]
    generation: Generation,
    /// Print only what is written, without the prompt before it
    #[arg(long)]
    new_text: bool,
    /// Take each text as what a user says, and print the model's answer
    ///
    /// Without texts, on a terminal, this is a conversation, as with --interactive.
    #[arg(long)]
    chat: bool,
    /// Converse: answer every line of standard input with what was said before
    ///
    /// With --json an object a turn: the answer, how many tokens the conversation had, how many of them were remembered
    /// from the turn before, how many the answer has, and why it is over.
    #[arg(long, requires = "chat", conflicts_with_all = ["texts", "file", "num_beams", "num_return_sequences"])]
    interactive: bool,
    /// What the model is told to be, with --chat
    #[arg(long, value_name = "TEXT", requires = "chat")]
    system: Option<String>,
    /// Print words as they are written; so it is on a terminal for one prompt
    #[arg(long, conflicts_with_all = ["json", "num_beams", "num_return_sequences"])]
    stream: bool,
}

#[derive(Debug, Args)]
pub struct TextToTextArguments {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    generation: Generation,
    /// Put before every text, in place of what config.json says
    #[arg(long, value_name = "TEXT")]
    prefix: Option<String>,
    /// Language of the texts, as the tokenizer or config.json names it
    #[arg(long, value_name = "LANGUAGE")]
    src_lang: Option<String>,
    /// Language to write in
    #[arg(long, value_name = "LANGUAGE")]
    tgt_lang: Option<String>,
}

pub fn generation(arguments: &GenerationArguments) -> Result<()> {
    if arguments.converses() {
        return chat::run(arguments);
    }
    let session = Session::begin(&arguments.common)?;
    let pipeline =
        session.load(|model, options| TextGeneration::from_pretrained(model, options), TextGeneration::text)?;
    let settings = arguments.settings();
    if arguments.stream || session.is_one_text() && streams(arguments) {
        return session.run(|texts| {
            texts.iter().try_for_each(|text| streamed(&pipeline, text, &settings, arguments))?;
            Ok(vec![String::new(); texts.len()])
        });
    }
    session.call(
        &pipeline,
        &settings,
        |text| arguments.prompt(text),
        |_, written| written.iter().map(|written| shown(written) + "\n").collect(),
    )
}

/// The text of a result; of a conversation, the answer.
fn shown(written: &Continued) -> String {
    match written {
        Continued::Text(written) => written.generated_text.clone(),
        Continued::Chat { generated_text } => {
            generated_text.last().and_then(Message::text).unwrap_or_default().to_owned()
        }
    }
}

impl GenerationArguments {
    /// What is continued for `text`.
    fn prompt(&self, text: &str) -> Prompt {
        if self.chat { Prompt::Chat(self.messages(text)) } else { Prompt::Text(text.to_owned()) }
    }

    fn messages(&self, text: &str) -> Vec<Message> {
        self.told().into_iter().chain([Message::user(text)]).collect()
    }

    /// What the model is told before anything else.
    pub fn told(&self) -> Vec<Message> {
        self.system.iter().map(|text| Message::system(text.as_str())).collect()
    }

    pub fn settings(&self) -> TextGenerationSettings {
        TextGenerationSettings {
            return_full_text: Some(!self.new_text),
            seed: self.generation.seed,
            generation: self.generation.settings(),
            ..TextGenerationSettings::default()
        }
    }

    /// Whether lines are answered one after the other, each with what was said before.
    fn converses(&self) -> bool {
        let texts = &self.common.texts;
        let from_terminal = texts.texts.is_empty() && texts.file.is_none() && std::io::stdin().is_terminal();
        self.interactive || self.chat && from_terminal
    }
}

/// Whether one prompt is answered word by word without being asked to.
fn streams(arguments: &GenerationArguments) -> bool {
    let several = arguments.generation.num_beams.is_some() || arguments.generation.num_return_sequences.is_some();
    std::io::stdout().is_terminal() && !arguments.common.json && !several && arguments.generation.set.is_empty()
}

/// Prints the continuation of `prompt` as it comes.
fn streamed(
    pipeline: &TextGeneration,
    text: &str,
    settings: &TextGenerationSettings,
    arguments: &GenerationArguments,
) -> Result<()> {
    let mut output = std::io::stdout().lock();
    let mut print = |piece: &str| {
        // A reader that has gone away ends the generation.
        let printed = output.write_all(piece.as_bytes()).and_then(|()| output.flush());
        if printed.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    };
    if !arguments.new_text && !arguments.chat && print(text).is_break() {
        return Ok(());
    }
    match arguments.prompt(text) {
        Prompt::Text(text) => pipeline.stream(&text, settings, &mut print),
        Prompt::Chat(messages) => pipeline.stream_chat(&messages, settings, &mut print),
    }
    .context("the text cannot be continued")?;
    let _ = print("\n");
    Ok(())
}

pub fn text_to_text<W: Wording>(arguments: &TextToTextArguments) -> Result<()> {
    let session = Session::begin(&arguments.common)?;
    let pipeline = session.load(|model, options| TextToText::<W>::from_pretrained(model, options), TextToText::text)?;
    let settings = TextToTextSettings {
        prefix: arguments.prefix.clone(),
        src_lang: arguments.src_lang.clone(),
        tgt_lang: arguments.tgt_lang.clone(),
        truncation: false,
        seed: arguments.generation.seed,
        generation: arguments.generation.settings(),
    };
    session.call(&pipeline, &settings, str::to_owned, |_, written: &Vec<WrittenText>| {
        written.iter().map(|written| written.text.clone() + "\n").collect()
    })
}
