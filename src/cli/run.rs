//! `run`: a task on inputs of one's own.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use tch::{Device, Kind};
use tch_transformers::pipeline::{FeatureExtraction, cosine_similarity};
use tch_transformers::weights::LoadOptions;

use super::selection::{device, kind};
use super::{PASSED, print};

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
    FeatureExtraction(Texts),
}

#[derive(Debug, Args)]
struct Texts {
    /// Directory of the model: config.json, model.safetensors, tokenizer.json
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The texts
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
    /// Print how similar the texts are (cosine) instead of their vectors
    #[arg(long)]
    similarity: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Texts per pass
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// cpu, cuda, cuda:N or mps
    #[arg(long, default_value = "cpu", value_parser = device)]
    device: Device,
    /// Floating-point kind of the model
    #[arg(long, default_value = "float32", value_parser = kind)]
    dtype: Kind,
    /// Tell the model's class and which tensors of the checkpoint it does not use
    #[arg(long, short)]
    verbose: bool,
}

/// What `--json` prints.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    texts: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    embeddings: Option<&'a [Vec<f32>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<&'a [Vec<f32>]>,
}

pub fn run(arguments: &Arguments) -> Result<u8> {
    match &arguments.task {
        Task::FeatureExtraction(texts) => feature_extraction(texts)?,
    }
    Ok(PASSED)
}

fn feature_extraction(arguments: &Texts) -> Result<()> {
    let directory = &arguments.model;
    if !directory.is_dir() {
        let wanted = "config.json, model.safetensors and tokenizer.json";
        bail!("{}: not a directory; expected one with {wanted}", directory.display());
    }
    let options = LoadOptions { device: arguments.device, kind: Some(arguments.dtype), ..LoadOptions::default() };
    let pipeline = FeatureExtraction::from_directory(directory, options)
        .with_context(|| format!("cannot load {}", directory.display()))?;
    if arguments.verbose {
        let (class, max_length) = (pipeline.model().class(), pipeline.tokenizer().max_length());
        eprintln!("{class}, at most {max_length} tokens per text");
        pipeline.unused().iter().for_each(|name| eprintln!("unused: {name}"));
    }
    let texts: Vec<&str> = arguments.texts.iter().map(String::as_str).collect();
    let vectors = pipeline.embed(&texts, usize::try_from(arguments.batch_size)?)?;
    let values = if arguments.similarity { cosine_similarity(&vectors) } else { vectors };
    let rows = Vec::<Vec<f32>>::try_from(&values)?;
    print(&match (arguments.json, arguments.similarity) {
        (true, similar) => {
            let (embeddings, similarity) = if similar { (None, Some(&rows[..])) } else { (Some(&rows[..]), None) };
            serde_json::to_string(&Printed { texts: &texts, embeddings, similarity })? + "\n"
        }
        (false, true) => table(&texts, &rows),
        (false, false) => rows.iter().map(|row| line(row)).collect(),
    })
}

/// One vector, with spaces between its values.
fn line(row: &[f32]) -> String {
    row.iter().map(f32::to_string).collect::<Vec<_>>().join(" ") + "\n"
}

/// The matrix with numbered rows and columns, each row with its text.
fn table(texts: &[&str], rows: &[Vec<f32>]) -> String {
    let width = texts.len().to_string().len();
    let numbers: String = (1..=texts.len()).map(|number| format!("  {number:>6}")).collect();
    let mut table = format!("{:width$}{numbers}\n", "");
    for (number, (text, row)) in std::iter::zip(texts, rows).enumerate() {
        let values: String = row.iter().map(|value| format!("  {value:>6.3}")).collect();
        table += format!("{:>width$}{values}  {}", number + 1, shortened(text)).trim_end();
        table += "\n";
    }
    table
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
