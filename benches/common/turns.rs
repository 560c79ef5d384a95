//! What the benchmarks against Python share: their options, and the median of what turns measured.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

/// How Rust and Python take turns.
#[derive(Args)]
pub struct Turns {
    /// The Python interpreter that has the pinned packages.
    #[arg(long)]
    pub python: PathBuf,
    /// Threads of both; all cores when not given.
    #[arg(long)]
    threads: Option<i32>,
    /// How often they take turns.
    #[arg(long, default_value_t = 7)]
    pub rounds: usize,
    /// Where the figures go as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Passed by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Turns {
    /// Threads of both.
    pub fn threads(&self) -> i32 {
        self.threads.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, |n| n.get() as i32))
    }

    /// Writes the figures where they are wanted.
    pub fn write(&self, name: &str, figures: Vec<Value>) -> Result<()> {
        let Some(path) = &self.json else { return Ok(()) };
        let figures = json!({ "threads": self.threads(), name: figures });
        Ok(std::fs::write(path, serde_json::to_string_pretty(&figures)?)?)
    }
}

/// Whether Python is named. Plain `cargo bench` runs these targets too, with options for criterion: then this says that `run`
/// is the way.
pub fn is_asked_for(run: &str) -> bool {
    let is_named = std::env::args().any(|argument| argument.starts_with("--python"));
    if !is_named {
        println!("needs the pinned Python: run `{run}`");
    }
    is_named
}

pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
