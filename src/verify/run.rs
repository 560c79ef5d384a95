//! A whole run: which checks on which cases, devices and kinds, and what they found.

use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use super::{Case, Check, Outcome, Setting, Status, cases_of, discover, memory, run, run_on_architecture};
use crate::auto::{self, Entry};
use crate::{Error, Result};

/// One check of one case, done or to do.
#[derive(Debug, Clone)]
pub struct Job {
    /// The entry, where the architecture is covered.
    pub entry: Option<&'static Entry>,
    /// The check.
    pub check: Check,
    /// Folder of the case; of all cases of the architecture for checks of the whole.
    pub directory: PathBuf,
    /// How the case is called in tables: its folder below the one that was searched.
    pub name: String,
    /// Where and how it runs.
    pub setting: Setting,
}

/// What a job found.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    /// The architecture, or `?` where a damaged case does not say.
    pub model_type: String,
    /// Its category, where it is covered.
    pub category: Option<String>,
    /// The Hugging Face class of the case.
    pub class: Option<String>,
    /// The tasks that the class serves.
    pub tasks: Vec<String>,
    /// The case.
    pub case: String,
    /// The check.
    pub check: String,
    /// The device.
    pub device: String,
    /// The floating-point kind, as Python calls it.
    pub dtype: String,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// Wall-clock time, loading included.
    pub seconds: f64,
    /// Most memory that the process held, in bytes, where the system says.
    pub peak_memory: Option<u64>,
}

/// All rows of a run, and what it ran with.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Run {
    /// Version of this library.
    pub version: String,
    /// Seconds since 1970 at which the run began.
    pub started: u64,
    /// Devices of the machine.
    pub devices: Vec<String>,
    /// One row per job.
    pub rows: Vec<Row>,
}

impl Run {
    /// A run without rows yet, beginning now.
    pub fn begin() -> Self {
        let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs();
        let devices = all_devices().into_iter().filter(|device| is_there(*device)).map(device_name).collect();
        Self { version: env!("CARGO_PKG_VERSION").to_owned(), started, devices, rows: Vec::new() }
    }

    /// Rows that ended in `status`.
    pub fn count(&self, status: Status) -> usize {
        self.rows.iter().filter(|row| row.outcome.status == status).count()
    }
}

/// The devices that libtorch can have: the CPU, every CUDA device and at least the first, and Apple's.
pub fn all_devices() -> Vec<Device> {
    let cuda = 0..usize::try_from(tch::Cuda::device_count()).unwrap_or(0).max(1);
    [Device::Cpu].into_iter().chain(cuda.map(Device::Cuda)).chain([Device::Mps]).collect()
}

/// Whether the machine has `device`.
pub fn is_there(device: Device) -> bool {
    match device {
        Device::Cpu => true,
        Device::Cuda(index) => tch::Cuda::is_available() && (index as i64) < tch::Cuda::device_count(),
        Device::Mps => tch::utils::has_mps(),
        Device::Vulkan => false,
    }
}

/// `cpu`, `cuda:0`, `mps`.
pub fn device_name(device: Device) -> String {
    match device {
        Device::Cpu => "cpu".to_owned(),
        Device::Cuda(index) => format!("cuda:{index}"),
        Device::Mps => "mps".to_owned(),
        Device::Vulkan => "vulkan".to_owned(),
    }
}

/// The name that Python has for a floating-point kind.
pub fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Half => "float16",
        Kind::BFloat16 => "bfloat16",
        Kind::Double => "float64",
        _ => "float32",
    }
}

/// The jobs of one architecture of the roster. `checks` narrows them down; without it, all that make sense in `setting`.
pub fn jobs_of_entry(entry: &'static Entry, root: &Path, checks: &[Check], setting: Setting) -> Vec<Job> {
    let home = root.join(entry.model_type);
    let wanted = |check: Check| match checks {
        [] => check.runs_on(setting.device) && (setting.kind == Kind::Float || check == Check::Forward),
        checks => checks.contains(&check),
    };
    let job = |check, directory: &Path, name: String| Job {
        entry: Some(entry),
        check,
        directory: directory.to_owned(),
        name,
        setting,
    };
    let mut jobs = Vec::new();
    let (whole, rest): (Vec<_>, Vec<_>) =
        Check::ALL.into_iter().filter(|check| wanted(*check)).partition(|check| check.is_of_architecture());
    jobs.extend(whole.into_iter().map(|check| job(check, &home, "defaults".to_owned())));
    for directory in cases_of(entry, root) {
        let name = below(&home, &directory);
        jobs.extend(rest.iter().map(|check| job(*check, &directory, name.clone())));
    }
    jobs
}

/// The jobs of all cases below `root`, wherever they come from: `forward`, and `generate` where a case decodes.
///
/// # Errors
/// [`Error::Io`] when `root` cannot be read.
pub fn jobs_below(root: &Path, checks: &[Check], setting: Setting) -> Result<Vec<Job>> {
    let mut jobs = Vec::new();
    for directory in discover(root)? {
        let case = Case::open(&directory);
        let entry = case.as_ref().ok().and_then(|case| auto::entry(case.model_type().ok()?).ok());
        let decodes = case.as_ref().is_ok_and(|case| case.decoding.is_some());
        let compares = case.as_ref().map_or(true, |case| !case.outputs.is_empty());
        let mut own: Vec<Check> = checks.to_vec();
        if own.is_empty() {
            own.extend(compares.then_some(Check::Forward));
            own.extend((decodes && setting.kind == Kind::Float).then_some(Check::Generate));
        }
        let name = below(root, &directory);
        jobs.extend(own.into_iter().map(|check| Job {
            entry,
            check,
            directory: directory.clone(),
            name: name.clone(),
            setting,
        }));
    }
    Ok(jobs)
}

fn below(root: &Path, directory: &Path) -> String {
    let name = directory.strip_prefix(root).unwrap_or(directory).display().to_string();
    if name.is_empty() { root.file_name().unwrap_or(root.as_os_str()).to_string_lossy().into_owned() } else { name }
}

impl Job {
    /// Runs it. Never panics; a device that is not there makes it *not run*.
    pub fn run(&self) -> Row {
        let about = Case::open(&self.directory).ok();
        let class = about.as_ref().map(|case| case.about.class.clone());
        let said = about.as_ref().and_then(|case| case.model_type().ok()).map(str::to_owned);
        let model_type = self.entry.map(|entry| entry.model_type.to_owned()).or(said);
        let served = self.entry.zip(class.as_ref()).and_then(|(entry, class)| entry.class(class).ok());
        let (start, peak) = (Instant::now(), memory::Peak::start());
        let outcome = match (self.check, self.entry) {
            _ if !is_there(self.setting.device) => {
                let why = format!("this machine has no {}", device_name(self.setting.device));
                Outcome::of(Status::NotRun, why)
            }
            (check, Some(entry)) if check.is_of_architecture() => run_on_architecture(check, entry, &self.directory),
            (check, _) => run(check, &self.directory, self.setting),
        };
        Row {
            model_type: model_type.unwrap_or_else(|| "?".to_owned()),
            category: self.entry.map(|entry| entry.category.to_owned()),
            class,
            tasks: served.map(|class| class.tasks.iter().map(|task| (*task).to_owned()).collect()).unwrap_or_default(),
            case: self.name.clone(),
            check: self.check.name().to_owned(),
            device: device_name(self.setting.device),
            dtype: kind_name(self.setting.kind).to_owned(),
            outcome,
            seconds: start.elapsed().as_secs_f64(),
            peak_memory: peak.bytes(),
        }
    }
}

impl Run {
    /// Reads a run that was written as JSON.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Json`].
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|error| Error::io(path, error))?;
        serde_json::from_str(&text).map_err(|error| Error::Json { path: path.into(), message: error.to_string() })
    }
}
