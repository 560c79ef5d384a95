//! The cost of a token against the length of the cache: both sides read a prompt once, and then every step of `generate` is
//! timed by itself.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use tch::Tensor;
use tch_transformers::generation::{GenerationConfig, Step};
use tch_transformers::{Inputs, Model};

use crate::python::Python;
use crate::turns::median;
use crate::{Args, common, write};

/// Tokens that are timed in one turn.
const STEPS: usize = 16;

/// Times the rows that have `lengths`, with each of their batches.
pub fn measure_all(args: &Args, python: &mut Python, folder: &Path, threads: i32) -> Result<()> {
    println!("{threads} threads, {} rounds of {STEPS} tokens each, medians of the time of a token", args.turns.rounds);
    println!("| row | batch | tokens in the cache | Rust ms | Python ms | Rust / Python | cache MB |");
    println!("|---|---:|---:|---:|---:|---:|---:|");
    let mut all = Vec::new();
    for row in common::rows()?.into_iter().filter(|row| !row.lengths.is_empty()) {
        if !args.rows.is_empty() && !args.rows.iter().any(|wanted| row.name.contains(wanted.as_str())) {
            continue;
        }
        let model = row.model()?;
        let inputs = row.inputs(&model)?;
        write(&row, &model, &inputs, folder)?;
        python.ask(&json!({ "load": folder, "class": row.class, "curve": true }))?;
        let text = inputs.get("input_ids").context("the row has no `input_ids`")?;
        for length in &row.lengths {
            let text = text.narrow(1, 0, *length);
            for batch in [1, 8] {
                let name = format!("{}, batch {batch}, {length} tokens", row.name);
                let figures = measure(&model, &text, batch, args.turns.rounds, python).context(name)?;
                let Figures { rust, python, bytes } = figures;
                let (ratio, megabytes) = (rust / python, bytes as f64 / 1e6);
                println!(
                    "| {} | {batch} | {length} | {:.2} | {:.2} | {ratio:.2} | {megabytes:.1} |",
                    row.name,
                    rust * 1e3,
                    python * 1e3
                );
                all.push(json!({
                    "row": row.name, "batch": batch, "length": length, "rust_s": rust, "python_s": python,
                    "bytes": bytes,
                }));
            }
        }
    }
    args.turns.write("curve", all)
}

struct Figures {
    rust: f64,
    python: f64,
    bytes: usize,
}

/// The time of a token after `text` (`[1, tokens]`) in each of `batch` rows.
fn measure(model: &Model, text: &Tensor, batch: i64, rounds: usize, python: &mut Python) -> Result<Figures> {
    let length = text.size()[1];
    let prefix = model.prefill(&Inputs::new().with("input_ids", text.narrow(1, 0, length - 1)))?;
    let whole = Inputs::new().with("input_ids", text.repeat([batch, 1]));
    // The first step moves the cache and is not counted.
    let config = GenerationConfig { max_new_tokens: Some(STEPS + 1), ..Default::default() };
    let question = json!({ "curve": { "rows": batch, "length": length, "new_tokens": STEPS + 1 } });
    let (mut rust, mut theirs, mut bytes) = (Vec::new(), Vec::new(), 0);
    // One turn more, to warm up.
    for round in 0..=rounds {
        let mut stamps = Vec::with_capacity(STEPS + 1);
        let mut stamp = |_: &Step| {
            stamps.push(Instant::now());
            ControlFlow::Continue(())
        };
        let found = model.generator(&config).prefix(&prefix).on_step(&mut stamp).run(&whole)?;
        bytes = found.prefix.bytes();
        let answer = python.ask(&question)?;
        let ids = Vec::<Vec<i64>>::try_from(found.ids.narrow(1, length, STEPS as i64 + 1))?;
        if answer["ids"] != json!(ids) {
            bail!("Rust generates {ids:?}, Python {}", answer["ids"]);
        }
        if round > 0 {
            rust.extend(stamps.windows(2).map(|pair| (pair[1] - pair[0]).as_secs_f64()));
            theirs.extend(answer["seconds"].as_array().into_iter().flatten().filter_map(Value::as_f64));
        }
    }
    Ok(Figures { rust: median(rust.into_iter()), python: median(theirs.into_iter()), bytes })
}
