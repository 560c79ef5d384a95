use anyhow::Result;
use clap::Args;
use serde::Serialize;
use tch_transformers::pipeline::{FeatureExtraction, FeatureExtractionSettings, TypedPipeline, cosine_similarity};

use super::session::{Common, Session, document};
use super::shortened;

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Print how similar the texts are (cosine) instead of their vectors
    #[arg(long, conflicts_with = "tokens")]
    similarity: bool,
    /// Print the vectors of all tokens instead of one per text: what Python's pipeline returns
    #[arg(long)]
    tokens: bool,
}

/// What `--json` prints of texts that are arguments.
#[derive(Debug, Serialize)]
struct Printed<'a> {
    texts: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    embeddings: Option<&'a [Vec<f32>]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    similarity: Option<&'a [Vec<f32>]>,
}

/// What `--json` prints of a line.
#[derive(Debug, Serialize)]
struct PrintedLine<'a> {
    text: &'a str,
    embedding: &'a [f32],
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let mut session = Session::begin(&arguments.common)?;
    let pipeline = session.load(|model, options| FeatureExtraction::from_pretrained(model, options), |p| p.text())?;
    let (json, batch_size) = (arguments.common.json, pipeline.text().batch_size());
    if arguments.tokens {
        let settings = FeatureExtractionSettings::default();
        return session.call(
            &pipeline,
            &settings,
            str::to_owned,
            |_, [tokens]: &<FeatureExtraction as TypedPipeline>::Output| {
                tokens.iter().map(|row| line(row)).collect::<String>() + "\n"
            },
        );
    }
    let embed = |texts: &[String]| -> Result<Vec<Vec<f32>>> {
        let vectors = pipeline.embed(&texts.iter().map(String::as_str).collect::<Vec<_>>(), batch_size)?;
        Ok(Vec::try_from(&vectors)?)
    };
    if session.source.streams() && !arguments.similarity {
        return session.run(|texts| {
            let rows = embed(texts)?;
            let shown = |(text, row): (&String, &Vec<f32>)| match json {
                true => document(&PrintedLine { text, embedding: row }),
                false => Ok(line(row)),
            };
            std::iter::zip(texts, &rows).map(shown).collect()
        });
    }
    let texts = session.source.all()?;
    let vectors = pipeline.embed(&texts.iter().map(String::as_str).collect::<Vec<_>>(), batch_size)?;
    let rows = Vec::<Vec<f32>>::try_from(&if arguments.similarity { cosine_similarity(&vectors) } else { vectors })?;
    session.print(&match (json, arguments.similarity) {
        (true, similar) => {
            let (embeddings, similarity) = if similar { (None, Some(&rows[..])) } else { (Some(&rows[..]), None) };
            document(&Printed { texts: &texts, embeddings, similarity })? + "\n"
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
fn table(texts: &[String], rows: &[Vec<f32>]) -> String {
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
