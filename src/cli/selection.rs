//! Which architectures, checks, devices and kinds the command line means.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::Args;
use tch::{Device, Kind};
use tch_transformers::auto::{self, Entry};
use tch_transformers::tasks::TAGS;
use tch_transformers::verify::{self, Check, Job, Setting};
use tch_transformers::weights::kind_of;
use tch_transformers_registry::Category;

#[derive(Debug, Args)]
pub struct Selection {
    /// Architectures (`model_type`); all where none is named
    architectures: Vec<String>,
    /// Only this category
    #[arg(long, value_parser = category)]
    category: Option<Category>,
    /// Only classes that serve this task
    #[arg(long, value_parser = task)]
    task: Option<String>,
    /// Only this check (may be repeated)
    #[arg(long = "check", value_name = "CHECK", value_parser = str::parse::<Check>)]
    checks: Vec<Check>,
    /// Folder of reference cases, made from any checkpoint, at any depth; the cases of the roster where it is absent
    #[arg(long, value_name = "DIR")]
    cases: Option<PathBuf>,
    /// cpu, cuda, cuda:N, mps, or all
    #[arg(long, default_value = "cpu", value_parser = devices)]
    device: Devices,
    /// Floating-point kind of the models
    #[arg(long, default_value = "float32", value_parser = kind)]
    dtype: Kind,
    /// Tolerance relative to each output's largest magnitude, in place of the calibrated one
    #[arg(long, value_name = "X", value_parser = tolerance)]
    tolerance: Option<f64>,
}

#[derive(Debug, Clone)]
pub struct Devices(Vec<Device>);

fn category(name: &str) -> Result<Category, String> {
    Category::parse(name)
}

fn task(name: &str) -> Result<String, String> {
    if TAGS.contains(&name) {
        return Ok(name.to_owned());
    }
    Err(format!("no task `{name}`; there are {}", TAGS.join(", ")))
}

pub fn kind(name: &str) -> Result<Kind, String> {
    match name {
        "float32" | "bfloat16" | "float16" => kind_of(name).ok_or_else(|| name.to_owned()),
        _ => Err(format!("no kind `{name}`; there are float32, bfloat16, float16")),
    }
}

fn tolerance(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value >= 0.0 && value.is_finite() => Ok(value),
        _ => Err("must be a number, 0 or more".to_owned()),
    }
}

fn devices(name: &str) -> Result<Devices, String> {
    match name {
        "all" => Ok(Devices(verify::all_devices())),
        _ => device(name).map(|device| Devices(vec![device])).map_err(|error| error + ", all"),
    }
}

/// One device by its name in PyTorch.
pub fn device(name: &str) -> Result<Device, String> {
    match name.split_once(':') {
        None if name == "cpu" => Ok(Device::Cpu),
        None if name == "cuda" => Ok(Device::Cuda(0)),
        None if name == "mps" => Ok(Device::Mps),
        Some(("cuda", index)) if index.parse::<usize>().is_ok() => Ok(Device::Cuda(index.parse().unwrap_or_default())),
        _ => Err(format!("no device `{name}`; there are cpu, cuda, cuda:N, mps")),
    }
}

impl Selection {
    /// What to run.
    ///
    /// # Errors
    /// For an architecture that is not in the roster, and for a folder without cases.
    pub fn jobs(&self) -> Result<Vec<Job>> {
        for name in &self.architectures {
            // Foreign cases may be of architectures that are not covered.
            if self.cases.is_none() {
                auto::entry(name)?;
            }
        }
        let mut jobs = Vec::new();
        for device in &self.device.0 {
            let setting = Setting { device: *device, kind: self.dtype, tolerance: self.tolerance };
            match &self.cases {
                Some(root) => jobs.extend(verify::jobs_below(root, &self.checks, setting)?),
                None => {
                    // The cases of the roster are too small to share among threads.
                    tch::set_num_threads(1);
                    let root = verify::cases_directory();
                    let entries = auto::roster().iter().filter(|entry| self.wants_entry(entry));
                    jobs.extend(entries.flat_map(|entry| verify::jobs_of_entry(entry, &root, &self.checks, setting)));
                }
            }
        }
        if jobs.is_empty() {
            let place = self.cases.clone().unwrap_or_else(verify::cases_directory);
            bail!("no reference case to verify in {}", place.display());
        }
        let narrowed = self.category.is_some() || self.task.is_some() || !self.architectures.is_empty();
        if narrowed && (self.cases.is_some() || self.task.is_some()) {
            jobs.retain(|job| self.wants_job(job));
        }
        if jobs.is_empty() {
            bail!("nothing left to verify: no case fits the architectures, category and task that were asked for");
        }
        Ok(jobs)
    }

    fn wants_entry(&self, entry: &Entry) -> bool {
        let named =
            |name: &String| name == entry.model_type || entry.parts.iter().any(|part| part.model_type == name.as_str());
        (self.architectures.is_empty() || self.architectures.iter().any(named))
            && self.category.is_none_or(|category| in_category(entry, category))
            && self.task.as_ref().is_none_or(|task| entry.class_for(task).is_some())
    }

    fn wants_job(&self, job: &Job) -> bool {
        let case = verify::Case::open(&job.directory).ok();
        let model_type = || case.as_ref().and_then(|case| case.model_type().ok().map(str::to_owned));
        let named = |name: &String| {
            job.entry.is_some_and(|entry| entry.model_type == name) || model_type().as_ref() == Some(name)
        };
        let serves = |task: &String| {
            let class = job.entry.zip(case.as_ref()).and_then(|(entry, case)| entry.class(&case.about.class).ok());
            class.is_some_and(|class| class.tasks.contains(&task.as_str()))
        };
        (self.architectures.is_empty() || self.architectures.iter().any(named))
            && self.category.is_none_or(|category| job.entry.is_some_and(|entry| in_category(entry, category)))
            && self.task.as_ref().is_none_or(serves)
    }

    /// Whether the cases are somebody else's.
    pub fn foreign(&self) -> Option<&Path> {
        self.cases.as_deref()
    }
}

/// Whether `entry` is of `category`, be it the second one.
pub fn in_category(entry: &Entry, category: Category) -> bool {
    entry.category == category.name() || entry.alt_category == Some(category.name())
}
