use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tch::{Device, Kind};

use super::checks::{self, Check};
use super::compare::{Comparison, Difference, Tolerance};
use super::{Case, discover};
use crate::auto::{self, Entry};
use crate::error::catch;
use crate::weights::{LoadOptions, TensorSource};
use crate::{Error, Model, Result};

/// Where and how a check runs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Setting {
    /// The device that holds the model.
    pub device: Device,
    /// The floating-point kind of the model.
    pub kind: Kind,
    /// Tolerance relative to each output's largest magnitude, in place of the calibrated one.
    pub tolerance: Option<f64>,
}

impl Default for Setting {
    fn default() -> Self {
        Self { device: Device::Cpu, kind: Kind::Float, tolerance: None }
    }
}

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// What it asserts holds.
    Passed,
    /// What it asserts does not hold.
    Failed,
    /// It does not apply, for a stated reason.
    Skipped,
    /// The machine lacks what it takes.
    NotRun,
    /// The architecture or class is not implemented.
    Uncovered,
}

impl Status {
    /// All, in the order in which they are counted.
    pub const ALL: [Self; 5] = [Self::Passed, Self::Failed, Self::Skipped, Self::NotRun, Self::Uncovered];

    /// As tables show it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::NotRun => "not run",
            Self::Uncovered => "uncovered",
        }
    }
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub status: Status,
    /// What is wrong, why it did not run, or what else is worth knowing; may be empty.
    pub detail: String,
    /// The comparison that used most of its tolerance.
    pub worst: Option<Difference>,
    /// The first recorded intermediate that diverged.
    pub diverges_at: Option<String>,
}

impl Outcome {
    /// An outcome without numbers.
    pub fn of(status: Status, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), worst: None, diverges_at: None }
    }

    /// A check that does not apply.
    pub(super) fn skipped(reason: impl Into<String>) -> Result<Self> {
        Ok(Self::of(Status::Skipped, reason))
    }

    fn failure(error: &Error) -> Self {
        match error {
            Error::UnknownModelType { .. } | Error::UnknownClass { .. } => {
                Self::of(Status::Uncovered, error.to_string())
            }
            _ => Self::of(Status::Failed, error.to_string()),
        }
    }
}

impl From<Comparison> for Outcome {
    fn from(comparison: Comparison) -> Self {
        Self {
            status: if comparison.passed() { Status::Passed } else { Status::Failed },
            detail: comparison.failures.join("\n"),
            diverges_at: comparison.first_divergence().map(str::to_owned),
            worst: comparison.worst,
        }
    }
}

/// A case of an architecture on its way through the checks.
#[derive(Debug)]
pub struct Subject {
    /// The entry whose checks these are.
    pub entry: &'static Entry,
    /// The case.
    pub case: Case,
    /// Where and how it runs.
    pub setting: Setting,
}

impl Subject {
    /// Opens the case in `directory` and finds its architecture.
    ///
    /// # Errors
    /// [`Error::Case`] for a damaged case, [`Error::UnknownModelType`] or [`Error::UnknownClass`] for one that is not
    /// covered.
    pub fn open(directory: &Path, setting: Setting) -> Result<Self> {
        let case = Case::open(directory)?;
        let entry = auto::entry(case.model_type()?)?;
        entry.class(&case.about.class)?;
        Ok(Self { entry, case, setting })
    }

    /// The model with the case's weights.
    pub(super) fn model(&self) -> Result<Model> {
        self.model_from(self.case.source()?, self.options())
    }

    /// The model with other weights or options.
    pub(super) fn model_from(&self, source: TensorSource, options: LoadOptions) -> Result<Model> {
        auto::load(self.case.config.clone(), &self.case.about.class, source, options)
    }

    pub(super) fn options(&self) -> LoadOptions {
        LoadOptions { device: self.setting.device, kind: Some(self.setting.kind), ..LoadOptions::default() }
    }

    /// What `output` may be off in `check`.
    pub(super) fn tolerance(&self, check: Check, output: &str) -> Tolerance {
        Tolerance {
            noise: self.case.about.noise.get(output).copied(),
            relative: self.setting.tolerance,
            factor: self.factor(check, output),
        }
    }

    /// By how much the entry loosens `check` for `output`.
    pub(super) fn factor(&self, check: Check, output: &str) -> f64 {
        let named = |name: &str| name == check.name() || name.strip_prefix(check.name()) == Some(&format!(".{output}"));
        self.entry.tolerances.iter().filter(|loosened| named(loosened.check)).map(|loosened| loosened.factor).product()
    }
}

/// Runs `check` on the case in `directory`. Never panics; whatever goes wrong is an outcome.
pub fn run(check: Check, directory: &Path, setting: Setting) -> Outcome {
    catch(|| {
        let subject = Subject::open(directory, setting)?;
        let case = directory.file_name().unwrap_or_default().to_string_lossy();
        let of_case = format!("{}.{case}", check.name());
        match subject.entry.skip.iter().find(|(skipped, _)| *skipped == check.name() || *skipped == of_case) {
            Some((_, reason)) => Outcome::skipped(*reason),
            None => checks::on_case(check, &subject),
        }
    })
    .unwrap_or_else(|error| Outcome::failure(&error))
}

/// Runs a `check` that looks at an architecture instead of at a case. `directory` is the one of its cases.
pub fn run_on_architecture(check: Check, entry: &'static Entry, directory: &Path) -> Outcome {
    match entry.skip.iter().find(|(skipped, _)| *skipped == check.name()) {
        Some((_, reason)) => Outcome::of(Status::Skipped, *reason),
        None => {
            catch(|| checks::on_architecture(check, entry, directory)).unwrap_or_else(|error| Outcome::failure(&error))
        }
    }
}

/// The reference cases of the roster: `TCH_TRANSFORMERS_CASES`, else `cases` in the source tree this was built from,
/// else `cases` beside the executable.
pub fn cases_directory() -> PathBuf {
    if let Some(directory) = std::env::var_os("TCH_TRANSFORMERS_CASES") {
        return directory.into();
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let beside = || Some(std::env::current_exe().ok()?.parent()?.join("cases"));
    if sources.is_dir() { sources } else { beside().unwrap_or(sources) }
}

/// The folders of the cases of `entry` below `root`, sorted; a variant without cases of its own has none.
pub fn cases_of(entry: &Entry, root: &Path) -> Vec<PathBuf> {
    discover(&root.join(entry.model_type)).unwrap_or_default()
}

/// The case that stands for `name` (a task, a part or an extra case) among `cases`.
fn case_named<'a>(entry: &Entry, cases: &'a [PathBuf], name: &str) -> Option<&'a PathBuf> {
    let in_folder = |name: &str| cases.iter().find(|path| path.file_name().is_some_and(|folder| folder == name));
    in_folder(name).or_else(|| entry.class_for(name)?.tasks.iter().find_map(|task| in_folder(task)))
}

/// The body of the generated tests: panics with a report when `check` fails on a case of `model_type`.
///
/// `case` is a task, a part or an extra case; without it, the check runs on every case.
#[track_caller]
pub fn assert_check(model_type: &str, check: &str, case: Option<&str>, device: &str) {
    if let Err(report) = try_check(model_type, check, case, device) {
        panic!("{model_type}: {check} on {device}\n{report}");
    }
}

fn try_check(model_type: &str, check: &str, case: Option<&str>, device: &str) -> Result<(), String> {
    let check: Check = check.parse()?;
    let entry = auto::entry(model_type).map_err(|error| error.to_string())?;
    let device = match device {
        "cpu" => Device::Cpu,
        "cuda" if tch::Cuda::is_available() => Device::Cuda(0),
        other => return Err(format!("this machine has no device `{other}`")),
    };
    let root = cases_directory();
    if check.is_of_architecture() {
        return judge(&[(String::new(), run_on_architecture(check, entry, &root.join(model_type)))]);
    }
    // Tests run side by side, and their cases are too small to share among threads.
    tch::set_num_threads(1);
    let cases = cases_of(entry, &root);
    let chosen = match case {
        Some(name) => vec![case_named(entry, &cases, name).ok_or_else(|| format!("no case `{name}` of {model_type}"))?],
        None => cases.iter().collect(),
    };
    if chosen.is_empty() {
        return Err(format!("no cases in {}", root.join(model_type).display()));
    }
    let setting = Setting { device, ..Setting::default() };
    let name = |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    judge(&chosen.iter().map(|path| (name(path), run(check, path, setting))).collect::<Vec<_>>())
}

/// Fails unless every outcome is passed or skipped for a reason.
fn judge(outcomes: &[(String, Outcome)]) -> Result<(), String> {
    let lines = outcomes.iter().map(|(case, outcome)| {
        let Outcome { status, detail, worst, diverges_at } = outcome;
        let mut line = format!("{case}: {}: {}", status.label(), detail.replace('\n', "\n    "));
        if let Some(Difference { output, error, tolerance }) = worst {
            line += &format!("\n    worst: {output}, off by {error:.3e} of {tolerance:.3e}");
        }
        if let Some(intermediate) = diverges_at {
            line += &format!("\n    diverges first at: {intermediate}");
        }
        line
    });
    let report = lines.collect::<Vec<_>>().join("\n");
    if outcomes.iter().all(|(_, outcome)| matches!(outcome.status, Status::Passed | Status::Skipped)) {
        println!("{report}");
        return Ok(());
    }
    Err(report)
}
