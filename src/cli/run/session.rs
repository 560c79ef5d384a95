//! What all tasks share: the model, the texts, and printing results as they come.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use clap::Args;
use indicatif::ProgressBar;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tch::Device;
use tch_transformers::Error;
use tch_transformers::auto::AutoConfig;
use tch_transformers::pipeline::{Options, Progress, Text, TypedPipeline};
use tch_transformers::weights::{Dtype, LoadOptions};

use super::source::{Source, Texts};
use crate::cli::hub::HubArguments;
use crate::cli::progress;
use crate::cli::selection::device;

/// Texts that are read ahead and cut into passes by length.
const PASSES: usize = 8;

#[derive(Debug, Args)]
pub struct Common {
    #[command(flatten)]
    pub hub: HubArguments,
    #[command(flatten)]
    pub texts: Texts,
    /// Print JSON, as Python's pipelines return it
    ///
    /// Of texts that are arguments one document: the result, or a list of the results of several texts. Of the lines of
    /// a file or of standard input one document a line.
    #[arg(long)]
    pub json: bool,
    /// Texts per pass
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    /// cpu, cuda, cuda:N or mps
    #[arg(long, default_value = "cpu", value_parser = device)]
    device: Device,
    /// Floating-point kind of the model: float32, bfloat16, float16, float64, or auto for the checkpoint's own
    #[arg(long, default_value = "auto", value_parser = str::parse::<Dtype>)]
    dtype: Dtype,
    /// Tell the model's class and which tensors of the checkpoint it does not use
    #[arg(long, short)]
    pub verbose: bool,
}

/// A run of a task.
pub struct Session<'a> {
    pub common: &'a Common,
    pub source: Source,
    bar: ProgressBar,
    done: Arc<Done>,
}

/// How many texts are done, and how many are being worked on.
#[derive(Debug, Default)]
struct Done {
    before: AtomicU64,
    current: AtomicU64,
}

impl<'a> Session<'a> {
    pub fn begin(common: &'a Common) -> Result<Self> {
        let (source, total) = common.texts.open()?;
        let bar = progress::bar(total, total != Some(1));
        Ok(Self { common, source, bar, done: Arc::default() })
    }

    /// One that reads no texts.
    pub fn without_texts(common: &'a Common) -> Self {
        Self { common, source: Source::Given(Vec::new()), bar: progress::bar(None, false), done: Arc::default() }
    }

    /// Loads a pipeline.
    pub fn load<P>(
        &self,
        load: impl FnOnce(&Path, &Options) -> tch_transformers::Result<P>,
        text: impl FnOnce(&P) -> &Text,
    ) -> Result<P> {
        let model = &self.common.hub.model;
        let directory = self.common.hub.checkpoint().directory().with_context(|| format!("cannot load {model}"))?;
        let pipeline = load(&directory, &self.options()?).map_err(|error| {
            let hint = match (&error, AutoConfig::from_pretrained(&directory)) {
                (Error::Weights(_), Ok(config)) => made_for(&config),
                _ => String::new(),
            };
            anyhow::Error::new(error).context(format!("cannot load {model}{hint}"))
        })?;
        if self.common.verbose {
            let text = text(&pipeline);
            eprintln!("{}, at most {} tokens per text", text.model().class(), text.tokenizer().max_length());
            text.unused().iter().for_each(|name| eprintln!("unused: {name}"));
        }
        Ok(pipeline)
    }

    /// Whether there is one text, given as an argument.
    pub fn is_one_text(&self) -> bool {
        !self.source.streams() && self.bar.length() == Some(1)
    }

    fn options(&self) -> Result<Options> {
        let (bar, done) = (self.bar.clone(), self.done.clone());
        let progress = Progress::new(move |passed, all| {
            let current = done.current.load(Ordering::Relaxed) * passed as u64 / all.max(1) as u64;
            bar.set_position(done.before.load(Ordering::Relaxed) + current);
        });
        let load = LoadOptions { device: self.common.device, kind: self.common.dtype.kind(), ..LoadOptions::default() };
        Ok(Options { load, batch_size: self.common.batch_size.try_into()?, progress: Some(progress) })
    }

    /// Prints what `step` makes of the texts: a document each with `--json`, and text otherwise.
    pub fn run(mut self, mut step: impl FnMut(&[String]) -> Result<Vec<String>>) -> Result<()> {
        let most = PASSES * usize::try_from(self.common.batch_size)?;
        let streams = self.source.streams();
        loop {
            let texts = self.source.next(most)?;
            if texts.is_empty() {
                break;
            }
            self.done.current.store(texts.len() as u64, Ordering::Relaxed);
            let first = self.done.before.load(Ordering::Relaxed) + 1;
            let results = step(&texts).with_context(|| match (streams, texts.len() as u64) {
                (false, _) => "the texts cannot be processed".to_owned(),
                (true, 1) => format!("line {first} cannot be processed"),
                (true, count) => format!("lines {first} to {} cannot be processed", first + count - 1),
            })?;
            let text = match (self.common.json, streams, &results[..]) {
                (false, ..) => results.concat(),
                (true, true, _) => results.iter().map(|document| document.clone() + "\n").collect(),
                (true, false, [document]) => document.clone() + "\n",
                (true, false, documents) => format!("[{}]\n", documents.join(",")),
            };
            self.print(&text)?;
            self.done.before.fetch_add(texts.len() as u64, Ordering::Relaxed);
        }
        self.bar.finish_and_clear();
        Ok(())
    }

    /// Calls the pipeline, and prints its results as JSON or as `shown` shows them.
    pub fn call<P: TypedPipeline>(
        self,
        pipeline: &P,
        settings: &P::Settings,
        input: impl Fn(&str) -> P::Input,
        shown: impl Fn(&str, &P::Output) -> String,
    ) -> Result<()> {
        let json = self.common.json;
        self.run(|texts| {
            let inputs: Vec<P::Input> = texts.iter().map(|text| input(text)).collect();
            let results = pipeline.call(&inputs, settings)?;
            std::iter::zip(texts, &results)
                .map(|(text, result)| if json { document(result) } else { Ok(shown(text, result)) })
                .collect()
        })
    }

    /// Prints with the progress bar out of the way.
    pub fn print(&self, text: &str) -> Result<()> {
        self.bar.suspend(|| crate::cli::print(text))
    }
}

/// What a checkpoint was made for, where it says so and the weights of another class are missing.
fn made_for(config: &AutoConfig) -> String {
    match config.architectures().collect::<Vec<_>>().as_slice() {
        [] => String::new(),
        classes => format!(", which was made for {}; a checkpoint made for the task is needed", classes.join(", ")),
    }
}

/// The value as one line of JSON.
pub fn document(value: &impl Serialize) -> Result<String> {
    Ok(serde_json::to_string(value)?)
}

/// A value that the library knows by name, such as a strategy.
pub fn named<T: DeserializeOwned>(name: &str) -> Result<T, String> {
    serde_json::from_value(name.into()).map_err(|error| error.to_string())
}
