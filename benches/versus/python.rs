//! The Python that rows are timed against.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

/// The Python process, asked by lines of JSON.
pub struct Python {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Python {
    /// Starts `reference/bench.py` with so many threads.
    pub fn start(python: &Path, threads: i32) -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("reference/bench.py");
        let mut child = Command::new(python)
            .arg(script)
            .arg(threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {}", python.display()))?;
        let input = child.stdin.take().context("no standard input")?;
        let output = BufReader::new(child.stdout.take().context("no standard output")?);
        Ok(Self { child, input, output })
    }

    /// The answer to `question`.
    pub fn ask(&mut self, question: &Value) -> Result<Value> {
        writeln!(self.input, "{question}")?;
        let mut answer = String::new();
        if self.output.read_line(&mut answer)? == 0 {
            bail!("Python ended: {}", self.child.wait()?);
        }
        Ok(serde_json::from_str(&answer)?)
    }

    /// Seconds of one of `iterations` runs.
    pub fn time(&mut self, iterations: usize) -> Result<f64> {
        self.ask(&json!({ "time": iterations }))?["seconds"].as_f64().context("Python gives no time")
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
