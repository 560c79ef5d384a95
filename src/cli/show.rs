use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::{Value, json};
use tch_transformers::auto::{self, Class, Entry};
use tch_transformers::config;
use tch_transformers::verify;
use tch_transformers::weights::Weights;

use super::{PASSED, print, table::Table};

#[derive(Debug, Args)]
pub struct Arguments {
    /// The architecture (`model_type`)
    architecture: String,
    /// Only the tensors of this class
    #[arg(long)]
    class: Option<String>,
    /// Configuration whose shapes to show (`config.json`); the defaults where it is absent
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Every tensor on a line of its own, without folding layers
    #[arg(long)]
    all: bool,
    /// Print the suite that is generated for the architecture instead
    #[arg(long)]
    expand: bool,
}

pub fn run(arguments: &Arguments) -> Result<u8> {
    let entry = auto::entry(&arguments.architecture)?;
    if arguments.expand {
        anyhow::bail!("the suite of `{}` cannot be shown by this build", entry.model_type);
    }
    let config = match &arguments.config {
        Some(path) => config::read_json(path)?,
        None => json!({ "model_type": entry.of.unwrap_or(entry.model_type) }),
    };
    let mut text = describe(entry);
    text += "\nConfiguration\n";
    if let Value::Object(fields) = (entry.config.parse)(&config)? {
        let mut table = Table::new(["  field", "value"]);
        fields.iter().for_each(|(field, value)| table.row([format!("  {field}"), value.to_string()]));
        text += &table.render();
    }
    let classes: Vec<&Class> = match &arguments.class {
        Some(name) => vec![entry.class(name)?],
        None => entry.classes.iter().collect(),
    };
    for class in classes {
        let weights = Weights::nothing();
        (class.load)(&config, &weights).map_err(|error| anyhow!("{}: {error}", class.name))?;
        let expected = weights.expected();
        let parameters: i64 = expected.values().map(|shape| shape.iter().product::<i64>()).sum();
        let _ = writeln!(text, "\n{}: {} tensors, {parameters} parameters", class.name, expected.len());
        let mut table = Table::new(["  tensor", "shape", "times"]);
        let rows = if arguments.all {
            expected.into_iter().map(|(name, shape)| (name, shape, 1)).collect()
        } else {
            folded(&expected)
        };
        for (name, shape, times) in rows {
            let times = if times > 1 { times.to_string() } else { String::new() };
            table.row([format!("  {name}"), format!("{shape:?}"), times]);
        }
        text += &table.render();
    }
    print(&text)?;
    Ok(PASSED)
}

fn describe(entry: &Entry) -> String {
    let mut table = Table::new(["", ""]);
    let mut row = |name: &str, value: String| table.row([name.to_owned(), value]);
    row("architecture", entry.model_type.to_owned());
    row("summary", entry.summary.to_owned());
    let second = entry.alt_category.map(|second| format!(", {second}")).unwrap_or_default();
    row("category", format!("{}{second}", entry.category));
    row("checkpoint", entry.checkpoint.to_owned());
    row("transformers", entry.transformers.to_owned());
    if let Some(of) = entry.of {
        row("variant of", of.to_owned());
    }
    if !entry.derives_from.is_empty() {
        row("derives from", entry.derives_from.join(", "));
    }
    row("entry", entry.source.to_owned());
    for class in entry.classes {
        row("class", format!("{} ({})", class.name, class.tasks.join(", ")));
    }
    for part in entry.parts {
        row("part", format!("{} ({})", part.class.name, part.model_type));
    }
    let cases = verify::cases_of(entry, &verify::cases_directory());
    let names: Vec<_> = cases.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy()).collect();
    row("cases", if names.is_empty() { "none".to_owned() } else { names.join(", ") });
    for (check, reason) in entry.skip {
        row("skipped", format!("{check}: {reason}"));
    }
    for tolerance in entry.tolerances {
        row("loosened", format!("{} by {}: {}", tolerance.check, tolerance.factor, tolerance.reason));
    }
    table.render().trim_start_matches('\n').to_owned()
}

/// Tensors with the numbers of layers folded into `*`, where shapes agree.
fn folded(expected: &BTreeMap<String, Vec<i64>>) -> Vec<(String, Vec<i64>, usize)> {
    let mut rows: Vec<(String, Vec<i64>, usize)> = Vec::new();
    for (name, shape) in expected {
        let segments = name.split('.').map(|segment| if segment.parse::<u32>().is_ok() { "*" } else { segment });
        let pattern = segments.collect::<Vec<_>>().join(".");
        match rows.iter_mut().find(|(known, of, _)| *known == pattern && of == shape) {
            Some((_, _, times)) => *times += 1,
            None => rows.push((pattern, shape.clone(), 1)),
        }
    }
    rows
}
