//! Loading a checkpoint of 1 GB in Rust and in Python: time and memory, each in processes of its own, in turn.
//!
//! Run it with `cargo bench --bench loading -- --python .reference/bin/python`. The file is in the page cache.

#[path = "common/turns.rs"]
mod turns;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde::Deserialize;
use serde_json::json;
use tch::{Device, Kind, Tensor};
use tch_transformers::auto::{AutoConfig, AutoModelForCausalLM, from_directory};
use tch_transformers::verify;
use tch_transformers::weights::LoadOptions;
use turns::{Turns, median};

/// Loads a checkpoint of 1 GB in Rust and in Python, in turn.
#[derive(Parser)]
struct Args {
    #[command(flatten)]
    turns: Turns,
    /// Loads the checkpoint in this folder once: what the processes of Rust are started with.
    #[arg(long, hide = true)]
    once: Option<PathBuf>,
}

const CLASS: &str = "LlamaForCausalLM";

/// Who loads, and what the row is called.
const ROWS: &[(&str, &str)] = &[
    ("rust", "Rust, `auto::from_directory`"),
    ("safetensors", "Python, `safetensors.torch.load_file`"),
    ("transformers", "Python, `from_pretrained`"),
];

/// What one process says.
#[derive(Deserialize)]
struct Figures {
    /// Seconds of loading.
    load: f64,
    /// Seconds until every value was looked at: of Rust the same, since loading looks for what is not a number.
    seen: f64,
    /// Bytes by which the process grew at most.
    peak: f64,
}

fn main() -> Result<()> {
    if !turns::is_asked_for("cargo bench --bench loading -- --python .reference/bin/python") {
        return Ok(());
    }
    let args = Args::parse();
    let threads = args.turns.threads();
    if let Some(folder) = &args.once {
        return once(folder, threads);
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("loading");
    let bytes = checkpoint(&folder)?;
    println!("{:.2} GB in float32, {threads} threads, {} rounds, medians", bytes / 1e9, args.turns.rounds);
    println!("| | load ms | until every value was seen ms | peak memory / checkpoint |\n|---|---:|---:|---:|");
    let mut rounds: Vec<Vec<Figures>> = Vec::new();
    for round in 0..=args.turns.rounds {
        let figures =
            ROWS.iter().map(|(how, _)| measure(how, &args.turns.python, threads, &folder)).collect::<Result<_>>()?;
        // The first round brings the file into the page cache.
        if round > 0 {
            rounds.push(figures);
        }
    }
    let mut all = Vec::new();
    for (at, (how, name)) in ROWS.iter().enumerate() {
        let median = |of: fn(&Figures) -> f64| median(rounds.iter().map(|figures| of(&figures[at])));
        let (load, seen, peak) = (median(|f| f.load), median(|f| f.seen), median(|f| f.peak) / bytes);
        println!("| {name} | {:.1} | {:.1} | {peak:.2} |", load * 1e3, seen * 1e3);
        all.push(json!({ "row": how, "load_s": load, "seen_s": seen, "peak_by_checkpoint": peak }));
    }
    args.turns.write("rows", all)
}

/// Makes the checkpoint where it is not there yet, and says how large it is.
fn checkpoint(folder: &Path) -> Result<f64> {
    let file = folder.join("model.safetensors");
    if !file.exists() {
        let config = json!({
            "model_type": "llama",
            "architectures": [CLASS],
            "vocab_size": 32000,
            "hidden_size": 2048,
            "intermediate_size": 5632,
            "num_hidden_layers": 4,
            "num_attention_heads": 32,
            "num_key_value_heads": 4,
            "tie_word_embeddings": true,
        });
        AutoModelForCausalLM::from_config(&AutoConfig::from_json(config)?, LoadOptions::default())?.save(folder)?;
    }
    Ok(std::fs::metadata(file)?.len() as f64)
}

/// Starts a process that loads once.
fn measure(how: &str, python: &Path, threads: i32, folder: &Path) -> Result<Figures> {
    let mut command = if how == "rust" {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("--python").arg(python).arg("--threads").arg(threads.to_string()).arg("--once").arg(folder);
        command
    } else {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/loading.py");
        let mut command = Command::new(python);
        command.arg(script).arg(threads.to_string()).arg(how).arg(folder).arg(CLASS);
        command
    };
    let output = command.output().with_context(|| format!("starting {command:?}"))?;
    if !output.status.success() {
        bail!("{how}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Loads the checkpoint, and prints the figures.
fn once(folder: &Path, threads: i32) -> Result<()> {
    tch::set_num_threads(threads);
    // Starting libtorch's threads, which spin for a while until there is work, is not what loading takes.
    let _ = Tensor::ones([1 << 20], (Kind::Float, Device::Cpu)).sum(Kind::Float);
    std::thread::sleep(Duration::from_millis(200));
    let before = verify::Peak::start();
    let start = before.bytes().context("the system does not keep the peak of memory")?;
    let clock = Instant::now();
    let _model = from_directory(folder, CLASS, LoadOptions::default())?;
    let load = clock.elapsed().as_secs_f64();
    let peak = before.bytes().context("the system does not keep the peak of memory")?.saturating_sub(start);
    println!("{}", json!({ "load": load, "seen": load, "peak": peak }));
    Ok(())
}
