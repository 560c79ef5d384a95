//! Every row against Python: the same weights, inputs, libtorch version and threads, the two in turn in one run.
//!
//! Run it with `cargo xtask bench --against python`, which has the pinned Python ready; with `--curve` behind that for the
//! cost of a token against the length of the cache.

#[path = "../common/mod.rs"]
mod common;
mod curve;
mod python;
#[path = "../common/turns.rs"]
mod turns;

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use python::Python;
use serde_json::json;
use tch::{Kind, Tensor};
use tch_transformers::weights::safetensors::{self, SafetensorsFile};
use tch_transformers::{GenerationOptions, Inputs, Model};
use turns::{Turns, median};

/// Times every row in Rust and in Python, in turn.
#[derive(Parser)]
struct Args {
    /// Only rows whose name contains one of these.
    rows: Vec<String>,
    #[command(flatten)]
    turns: Turns,
    /// Seconds that one turn lasts at least.
    #[arg(long, default_value_t = 0.5)]
    turn: f64,
    /// The cost of a token against the length of the cache, for the rows that have `lengths`.
    #[arg(long)]
    curve: bool,
}

/// The median figures of one row.
struct Figures {
    rust: f64,
    python: f64,
    ratio: f64,
    difference: f64,
}

fn main() -> Result<()> {
    if !turns::is_asked_for("cargo xtask bench --against python") {
        return Ok(());
    }
    let args = Args::parse();
    let threads = args.turns.threads();
    tch::set_num_threads(threads);
    let mut python = Python::start(&args.turns.python, threads)?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("versus");
    if args.curve {
        return curve::measure_all(&args, &mut python, &folder, threads);
    }
    println!("{threads} threads, {} rounds of at least {} s each, medians", args.turns.rounds, args.turn);
    println!("| row | Rust ms | Python ms | Rust / Python | largest difference |\n|---|---:|---:|---:|---:|");
    let mut all = Vec::new();
    for row in common::rows()?.into_iter().filter(|row| row.lengths.is_empty()) {
        if !args.rows.is_empty() && !args.rows.iter().any(|wanted| row.name.contains(wanted.as_str())) {
            continue;
        }
        let figures = measure(&row, &mut python, &folder, &args).with_context(|| row.name.clone())?;
        let Figures { rust, python, ratio, difference } = figures;
        println!("| {} | {:.3} | {:.3} | {ratio:.2} | {difference:.1e} |", row.name, rust * 1e3, python * 1e3);
        all.push(
            json!({ "row": row.name, "rust_s": rust, "python_s": python, "ratio": ratio, "difference": difference }),
        );
    }
    args.turns.write("rows", all)
}

fn measure(row: &common::Row, python: &mut Python, folder: &Path, args: &Args) -> Result<Figures> {
    let model = row.model()?;
    let inputs = row.inputs(&model)?;
    write(row, &model, &inputs, folder)?;
    let loaded = json!({ "load": folder, "class": row.class, "new_tokens": row.new_tokens });
    let name = python.ask(&loaded)?["output"].as_str().context("Python names no output")?.to_owned();

    let expected = SafetensorsFile::open(&folder.join("output.safetensors"))?.tensor("output")?;
    let got = run(&model, &inputs, row.new_tokens, &name)?;
    if got.size() != expected.size() {
        bail!("`{name}` has shape {:?} in Rust and {:?} in Python", got.size(), expected.size());
    }
    let difference = (got.to_kind(Kind::Double) - expected.to_kind(Kind::Double)).abs().max().double_value(&[]);

    let once = time(1, || run(&model, &inputs, row.new_tokens, &name))?;
    let iterations = (args.turn / once.as_secs_f64()).ceil().max(1.0) as usize;
    python.time(iterations.min(3))?;
    let mut turns = Vec::new();
    for _ in 0..args.turns.rounds {
        let rust = time(iterations, || run(&model, &inputs, row.new_tokens, &name))?.as_secs_f64();
        turns.push((rust / iterations as f64, python.time(iterations)?));
    }
    Ok(Figures {
        rust: median(turns.iter().map(|(rust, _)| *rust)),
        python: median(turns.iter().map(|(_, python)| *python)),
        ratio: median(turns.iter().map(|(rust, python)| rust / python)),
        difference,
    })
}

/// Writes the checkpoint and the inputs of `row` for Python.
fn write(row: &common::Row, model: &Model, inputs: &Inputs, folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    model.save(folder)?;
    std::fs::write(folder.join("config.json"), row.config_json().to_string())?;
    let tensors = inputs.iter().map(|(name, tensor)| (name.to_owned(), tensor.shallow_clone())).collect();
    Ok(safetensors::write(&folder.join("inputs.safetensors"), &tensors)?)
}

fn run(model: &Model, inputs: &Inputs, new_tokens: Option<usize>, output: &str) -> Result<Tensor> {
    if let Some(max_new_tokens) = new_tokens {
        return Ok(model.generate(inputs, &GenerationOptions { max_new_tokens, ..Default::default() })?);
    }
    model.forward(inputs)?.take(output).with_context(|| format!("no output `{output}`"))
}

fn time(iterations: usize, mut once: impl FnMut() -> Result<Tensor>) -> Result<Duration> {
    let start = Instant::now();
    for _ in 0..iterations {
        let _ = std::hint::black_box(once()?);
    }
    Ok(start.elapsed())
}
