//! `run`: a task on inputs of one's own.

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};
use serde::Serialize;
use tch::{Cuda, Device};
use tch_transformers::pipeline::{FeatureExtraction, cosine_similarity};
use tch_transformers::weights::LoadOptions;

/// Run a model on inputs of your own.
#[derive(Debug, Args)]
pub struct RunArgs {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    FeatureExtraction(FeatureExtractionArgs),
}

/// Turn texts into vectors (sentence embeddings).
///
/// A directory with modules.json (sentence-transformers) says itself how the vectors of a text's tokens become one:
/// pooling, dense layers, normalisation. Without modules.json it is their mean (mean pooling over last_hidden_state).
#[derive(Debug, Args)]
struct FeatureExtractionArgs {
    /// Directory of the model: config.json, model.safetensors, tokenizer.json.
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The texts.
    #[arg(required = true, value_name = "TEXT")]
    texts: Vec<String>,
    /// Print how similar the texts are (cosine) instead of their vectors.
    #[arg(long)]
    similarity: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
    /// Texts per pass.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..))]
    batch_size: u64,
    /// Where to run: cpu, cuda or cuda:N.
    #[arg(long, default_value = "cpu", value_parser = device)]
    device: Device,
    /// Tell which tensors of the checkpoint the model does not use.
    #[arg(long, short)]
    verbose: bool,
}

fn device(name: &str) -> Result<Device, String> {
    let index = match name {
        "cpu" => return Ok(Device::Cpu),
        "cuda" => 0,
        _ => name
            .strip_prefix("cuda:")
            .and_then(|index| index.parse().ok())
            .ok_or_else(|| format!("no device `{name}`; expected cpu, cuda or cuda:N"))?,
    };
    match Cuda::device_count() {
        count if index < usize::try_from(count).unwrap_or(0) => Ok(Device::Cuda(index)),
        count => Err(format!("this machine has {count} CUDA devices that libtorch can use")),
    }
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

/// Runs `args.task`.
pub fn run(args: RunArgs) -> anyhow::Result<()> {
    match args.task {
        Task::FeatureExtraction(args) => feature_extraction(&args),
    }
}

fn feature_extraction(args: &FeatureExtractionArgs) -> anyhow::Result<()> {
    if !args.model.is_dir() {
        bail!(
            "{}: not a directory; expected one with config.json, model.safetensors and tokenizer.json",
            args.model.display()
        );
    }
    let options = LoadOptions { device: args.device, ..LoadOptions::default() };
    let pipeline = FeatureExtraction::from_directory(&args.model, options)
        .with_context(|| format!("cannot load {}", args.model.display()))?;
    if args.verbose {
        let (class, max_length) = (pipeline.model().class(), pipeline.tokenizer().max_length());
        eprintln!("{class}, at most {max_length} tokens per text");
        pipeline.unused().iter().for_each(|name| eprintln!("unused: {name}"));
    }
    let texts: Vec<&str> = args.texts.iter().map(String::as_str).collect();
    let vectors = pipeline.embed(&texts, usize::try_from(args.batch_size)?)?;
    let values = if args.similarity { cosine_similarity(&vectors) } else { vectors };
    let rows = Vec::<Vec<f32>>::try_from(&values)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let printed = match (args.json, args.similarity) {
        (true, similarity) => {
            let (embeddings, similarity) = if similarity { (None, Some(&rows[..])) } else { (Some(&rows[..]), None) };
            writeln!(out, "{}", serde_json::to_string(&Printed { texts: &texts, embeddings, similarity })?)
        }
        (false, true) => table(&mut out, &texts, &rows),
        (false, false) => rows
            .iter()
            .try_for_each(|row| writeln!(out, "{}", row.iter().map(f32::to_string).collect::<Vec<_>>().join(" "))),
    };
    match printed.and_then(|()| out.flush()) {
        // Whoever reads the output has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        printed => Ok(printed?),
    }
}

/// The matrix with numbered rows and columns, each row with its text.
fn table(out: &mut impl Write, texts: &[&str], rows: &[Vec<f32>]) -> io::Result<()> {
    let width = texts.len().to_string().len();
    write!(out, "{:width$}", "")?;
    (1..=texts.len()).try_for_each(|number| write!(out, "  {number:>6}"))?;
    writeln!(out)?;
    for (number, (text, row)) in std::iter::zip(texts, rows).enumerate() {
        write!(out, "{:>width$}", number + 1)?;
        row.iter().try_for_each(|value| write!(out, "  {value:>6.3}"))?;
        writeln!(out, "  {}", shortened(text))?;
    }
    Ok(())
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
