//! Where the texts come from: arguments, a file, or standard input.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;

use anyhow::{Context, Result};
use clap::Args;

#[derive(Debug, Args)]
pub struct Texts {
    /// The texts; where there are none, the lines of standard input
    #[arg(value_name = "TEXT")]
    pub texts: Vec<String>,
    /// Take the lines of this file
    #[arg(long, value_name = "FILE", conflicts_with = "texts")]
    pub file: Option<PathBuf>,
}

/// Texts that are there, or lines as they come.
pub enum Source {
    Given(Vec<String>),
    Lines(Receiver<Result<String>>),
}

impl Texts {
    /// Opens the source, and says how many texts it has where that is known.
    pub fn open(&self) -> Result<(Source, Option<u64>)> {
        if !self.texts.is_empty() {
            return Ok((Source::Given(self.texts.clone()), Some(self.texts.len() as u64)));
        }
        let Some(path) = &self.file else {
            return Ok((lines_of(|| Ok(BufReader::new(std::io::stdin())), "standard input".to_owned()), None));
        };
        let count = reader(path)?.lines().count() as u64;
        let path = path.clone();
        let name = path.display().to_string();
        Ok((lines_of(move || reader(&path), name), Some(count)))
    }
}

fn reader(path: &Path) -> Result<BufReader<File>> {
    File::open(path).map(BufReader::new).with_context(|| format!("cannot read {}", path.display()))
}

/// The lines that a thread reads ahead.
fn lines_of<R: BufRead>(open: impl FnOnce() -> Result<R> + Send + 'static, name: String) -> Source {
    let (sender, receiver) = sync_channel(4096);
    thread::spawn(move || {
        let lines = match open() {
            Ok(reader) => reader.lines(),
            Err(error) => return drop(sender.send(Err(error))),
        };
        for line in lines {
            let line = line.with_context(|| format!("cannot read {name}; expected lines of UTF-8"));
            let failed = line.is_err();
            if sender.send(line).is_err() || failed {
                return;
            }
        }
    });
    Source::Lines(receiver)
}

impl Source {
    /// The next texts: the first waits, then as many as are there already, but at most `most`. All of them at once
    /// where they are given. None at the end.
    pub fn next(&mut self, most: usize) -> Result<Vec<String>> {
        match self {
            Self::Given(texts) => Ok(std::mem::take(texts)),
            Self::Lines(lines) => {
                let first = lines.recv().into_iter();
                let more = std::iter::from_fn(|| lines.try_recv().ok());
                first.chain(more).take(most).collect()
            }
        }
    }

    /// All texts that are left.
    pub fn all(&mut self) -> Result<Vec<String>> {
        match self {
            Self::Given(texts) => Ok(std::mem::take(texts)),
            Self::Lines(lines) => lines.iter().collect(),
        }
    }

    /// Whether there is no end of texts in sight, so that results are printed as they come.
    pub fn streams(&self) -> bool {
        matches!(self, Self::Lines(_))
    }
}
