use anyhow::Result;
use clap::Args;
use tch_transformers::pipeline::{
    Entity, Function, Label, Labelled, Strategy, TextClassification, TextClassificationSettings, TextInput,
    TokenClassification, TokenClassificationSettings, TopK, Words, ZeroShotClassification, ZeroShotSettings,
};

use super::session::{Common, Session, named};
use super::shortened;

#[derive(Debug, Args)]
pub struct TextArguments {
    #[command(flatten)]
    common: Common,
    /// Labels per text: a number, or all
    #[arg(long, value_name = "N", value_parser = top_k)]
    top_k: Option<TopK>,
    /// What makes scores of logits: sigmoid, softmax or none [default: what config.json asks for]
    #[arg(long, value_name = "FUNCTION", value_parser = named::<Function>)]
    function: Option<Function>,
    /// A second text that each text is looked at together with
    #[arg(long, value_name = "TEXT")]
    text_pair: Option<String>,
    /// Cut texts to this many tokens [default: as many as the model takes]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,
}

#[derive(Debug, Args)]
pub struct ZeroShotArguments {
    #[command(flatten)]
    common: Common,
    /// The labels, with commas between them
    #[arg(long, value_name = "LABELS", value_delimiter = ',', required = true)]
    labels: Vec<String>,
    /// The sentence that a text of the label entails, with {} for the label
    #[arg(long, value_name = "TEXT", default_value = "This example is {}.")]
    template: String,
    /// Several labels can hold for a text: probabilities do not add up to 1
    #[arg(long)]
    multi_label: bool,
}

#[derive(Debug, Args)]
pub struct TokenArguments {
    #[command(flatten)]
    common: Common,
    /// How tokens become entities: none (they do not), simple, first, average or max
    #[arg(long, value_name = "STRATEGY", default_value = "none", value_parser = named::<Strategy>)]
    aggregation: Strategy,
    /// Labels that are left out, with commas between them
    #[arg(long, value_name = "LABELS", default_value = "O", value_delimiter = ',')]
    ignore_labels: Vec<String>,
    /// Read long texts in pieces that share this many tokens, instead of cutting them
    #[arg(long, value_name = "N")]
    stride: Option<usize>,
    /// Texts are words with spaces between them, and no token is of two words
    #[arg(long)]
    words: bool,
}

fn top_k(text: &str) -> Result<TopK, String> {
    match (text, text.parse::<usize>()) {
        ("all", _) => Ok(TopK::All),
        (_, Ok(count @ 1..)) => Ok(TopK::Count(count)),
        _ => Err("must be a number, 1 or more, or `all`".to_owned()),
    }
}

pub fn text(arguments: &TextArguments) -> Result<()> {
    let session = Session::begin(&arguments.common)?;
    let pipeline =
        session.load(|model, options| TextClassification::from_pretrained(model, options), TextClassification::text)?;
    let settings = TextClassificationSettings {
        top_k: arguments.top_k.unwrap_or_default(),
        function_to_apply: arguments.function,
        max_length: arguments.max_length,
        truncation: false,
    };
    let input = |text: &str| match &arguments.text_pair {
        Some(second) => TextInput::from((text, second.as_str())),
        None => TextInput::from(text),
    };
    session.call(&pipeline, &settings, input, |text, labels| {
        let labels = match labels {
            Labelled::Best(label) => std::slice::from_ref(label),
            Labelled::List(labels) => labels,
        };
        ranked(labels.iter().map(|Label { label, score }| (label.as_str(), *score)), text)
    })
}

pub fn zero_shot(arguments: &ZeroShotArguments) -> Result<()> {
    let session = Session::begin(&arguments.common)?;
    let pipeline = session
        .load(|model, options| ZeroShotClassification::from_pretrained(model, options), ZeroShotClassification::text)?;
    let labels = arguments.labels.iter().map(|label| label.trim()).filter(|label| !label.is_empty());
    let settings = ZeroShotSettings {
        hypothesis_template: arguments.template.clone(),
        multi_label: arguments.multi_label,
        ..ZeroShotSettings::labels(labels)
    };
    session.call(&pipeline, &settings, str::to_owned, |text, result| {
        ranked(std::iter::zip(&result.labels, &result.scores).map(|(label, score)| (label.as_str(), *score)), text)
    })
}

pub fn tokens(arguments: &TokenArguments) -> Result<()> {
    let session = Session::begin(&arguments.common)?;
    let pipeline = session
        .load(|model, options| TokenClassification::from_pretrained(model, options), TokenClassification::text)?;
    let settings = TokenClassificationSettings {
        aggregation_strategy: arguments.aggregation,
        ignore_labels: arguments.ignore_labels.clone(),
        stride: arguments.stride,
        ..TokenClassificationSettings::default()
    };
    let input = |text: &str| match arguments.words {
        true => Words::Split(text.split_whitespace().map(str::to_owned).collect()),
        false => Words::from(text),
    };
    session.call(&pipeline, &settings, input, |text, entities| {
        let line = |Entity { label, score, word, start, end, .. }: &Entity| {
            format!("{:>11}  {label:<12}  {score:.4}  {word}\n", format!("{start}-{end}"))
        };
        format!("{}\n{}\n", shortened(text), entities.iter().map(line).collect::<String>())
    })
}

/// A line with labels and scores, the best first, and the text.
fn ranked<'a>(labels: impl Iterator<Item = (&'a str, f64)>, text: &str) -> String {
    let labels: String = labels.map(|(label, score)| format!("{label} {score:.4}  ")).collect();
    format!("{labels}{}\n", shortened(text))
}
