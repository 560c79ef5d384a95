//! The report: how far the roster covers `transformers`, and a matrix of what was proven where.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{Environment, context};
use serde::Serialize;
use tch_transformers_registry::{Category, Scan, status as registry_status};

use crate::auto::{self, Entry};
use crate::verify::{Check, Row, Run, Status};
use crate::{Error, Result};

/// Coverage and compatibility, as they follow from the registry and one run.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Version of this library.
    pub version: String,
    /// Version of `transformers` that the cases come from.
    pub transformers: String,
    /// When the run began, as `2026-01-31 12:00 UTC`.
    pub date: String,
    /// Devices of the machine that ran it.
    pub devices: Vec<String>,
    /// Coverage by category.
    pub categories: Vec<Coverage>,
    /// One row per architecture, task, device and floating-point kind.
    pub matrix: Vec<Cell>,
    /// Checks that ended in each way.
    pub counts: BTreeMap<&'static str, usize>,
    /// What failed, with its detail.
    pub failures: Vec<Row>,
    /// Checks that do not apply: architecture, case, check, reason.
    pub skips: Vec<[String; 4]>,
}

/// How much of a category is covered, in four levels of which each includes the one before it.
#[derive(Debug, Clone, Serialize)]
pub struct Coverage {
    /// The category.
    pub category: &'static str,
    /// Architectures that the first milestone counts.
    pub target: Option<usize>,
    /// Architectures declared.
    pub implemented: usize,
    /// Of these, how many can be read.
    pub syntax: usize,
    /// How many of these are consistent with the rest of the registry.
    pub structure: usize,
    /// How many of these declare tasks and classes that the pinned `transformers` has.
    pub tasks: usize,
    /// How many of these passed `forward` on every case, and failed nothing else.
    pub functional: usize,
    /// `functional` relative to the target, in percent.
    pub percent: Option<f64>,
}

/// One cell of the compatibility matrix.
#[derive(Debug, Clone, Serialize)]
pub struct Cell {
    /// The architecture.
    pub model_type: String,
    /// Its category; empty where it is not covered.
    pub category: String,
    /// The task; the case where it stands for no task.
    pub task: String,
    /// The class that serves it.
    pub class: String,
    /// The device.
    pub device: String,
    /// The floating-point kind.
    pub dtype: String,
    /// How `forward` ended.
    pub status: &'static str,
    /// Largest error of an output, of the output that used most of its tolerance.
    pub error: Option<f64>,
    /// Its tolerance.
    pub tolerance: Option<f64>,
    /// That output.
    pub output: Option<String>,
    /// Seconds that loading, the pass and the comparison took.
    pub seconds: f64,
    /// Most memory that the process held meanwhile, in bytes.
    pub peak_memory: Option<u64>,
    /// Checks of this case on this device that passed.
    pub passed: usize,
    /// Those that failed.
    pub failed: usize,
    /// Those that do not apply.
    pub skipped: usize,
}

impl Report {
    /// The report on `run`, with the coverage of the registry this was built from.
    pub fn of(run: &Run) -> Self {
        let rows = &run.rows;
        let failed = |row: &&Row| row.outcome.status == Status::Failed;
        let skips = rows
            .iter()
            .filter(|row| row.outcome.status == Status::Skipped)
            .map(|row| [row.model_type.clone(), row.case.clone(), row.check.clone(), row.outcome.detail.clone()]);
        Self {
            version: run.version.clone(),
            transformers: auto::roster().first().map_or("", |entry| entry.transformers).to_owned(),
            date: date(run.started),
            devices: run.devices.clone(),
            categories: coverage(rows),
            matrix: matrix(rows),
            counts: Status::ALL.into_iter().map(|status| (status.label(), run.count(status))).collect(),
            failures: rows.iter().filter(failed).cloned().collect(),
            skips: skips.collect(),
        }
    }

    /// Writes `index.html`, `matrix.md` and `matrix.json` into `directory`, each complete or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] when the directory cannot be written to.
    pub fn write(&self, directory: &Path) -> Result<()> {
        std::fs::create_dir_all(directory).map_err(|error| Error::io(directory, error))?;
        let json = serde_json::to_string_pretty(self)
            .map_err(|error| Error::Json { path: directory.join("matrix.json"), message: error.to_string() })?;
        write_file(&directory.join("matrix.json"), &(json + "\n"))?;
        write_file(&directory.join("matrix.md"), &self.render("matrix.md", directory)?)?;
        write_file(&directory.join("index.html"), &self.render("index.html", directory)?)
    }

    fn render(&self, name: &str, directory: &Path) -> Result<String> {
        let unrendered =
            |error: minijinja::Error| Error::Io { path: directory.join(name), cause: std::io::Error::other(error) };
        let mut templates = Environment::new();
        templates
            .set_syntax(SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(unrendered)?);
        templates
            .add_filter("short", |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |x| format!("{x:.1e}")));
        templates.add_filter("fixed", |value: f64| format!("{value:.2}"));
        templates
            .add_filter("percent", |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |x| format!("{x:.1} %")));
        templates.add_filter("mib", |bytes: Option<f64>| {
            bytes.map_or_else(|| "–".to_owned(), |bytes| format!("{:.0}", bytes / f64::from(1 << 20)))
        });
        let rendered = (|| {
            templates.add_template("index.html", include_str!("index.html.j2"))?;
            templates.add_template("matrix.md", include_str!("matrix.md.j2"))?;
            templates.get_template(name)?.render(context! { report => Serde(self) })
        })();
        rendered.map_err(unrendered)
    }
}

/// Writes a file under a temporary name beside it and renames it, so that readers see the old file or the new one.
///
/// # Errors
/// [`Error::Io`] naming the file.
pub fn write_file(path: &Path, text: &str) -> Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.partial"));
    let written = std::fs::write(&temporary, text).and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| {
        // What is left of a full disk's attempt helps nobody.
        let _ = std::fs::remove_file(&temporary);
        Error::io(path, error)
    })
}

/// Coverage by category. Without the registry's sources beside it, what was built in has passed the build's three levels.
fn coverage(rows: &[Row]) -> Vec<Coverage> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("registry");
    let scanned = sources.is_dir().then(|| registry_status(&Scan::new(&sources, None)));
    let of = |category: Category| auto::roster().iter().filter(move |entry| entry.category == category.name());
    let row = |category: Category| {
        let built = of(category).count();
        let read = scanned.iter().flatten().find(|status| status.category == category);
        let functional = of(category).filter(|entry| is_functional(entry, rows)).count();
        Coverage {
            category: category.name(),
            target: category.target(),
            implemented: read.map_or(built, |status| status.declared),
            syntax: read.map_or(built, |status| status.syntax),
            structure: read.map_or(built, |status| status.structure),
            tasks: read.map_or(built, |status| status.tasks),
            functional,
            percent: category.target().map(|target| 100.0 * functional as f64 / target as f64),
        }
    };
    Category::ALL.into_iter().map(row).collect()
}

/// Whether every class and part of the architecture passed `forward` in float32 on some device, and nothing failed.
fn is_functional(entry: &Entry, rows: &[Row]) -> bool {
    let own = || rows.iter().filter(|row| row.model_type == entry.model_type);
    let forward = own().filter(|row| row.check == Check::Forward.name() && row.dtype == "float32");
    let passed: BTreeSet<&str> =
        forward.filter(|row| row.outcome.status == Status::Passed).filter_map(|row| row.class.as_deref()).collect();
    entry.all_classes().all(|class| passed.contains(class.name))
        && own().all(|row| row.outcome.status != Status::Failed)
}

fn matrix(rows: &[Row]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for row in rows.iter().filter(|row| row.check == Check::Forward.name()) {
        let same = |other: &&Row| {
            (&other.model_type, &other.case, &other.device, &other.dtype)
                == (&row.model_type, &row.case, &row.device, &row.dtype)
        };
        let count = |status| rows.iter().filter(same).filter(|row| row.outcome.status == status).count();
        let worst = row.outcome.worst.as_ref();
        let cell = Cell {
            model_type: row.model_type.clone(),
            category: row.category.clone().unwrap_or_default(),
            task: row.case.clone(),
            class: row.class.clone().unwrap_or_default(),
            device: row.device.clone(),
            dtype: row.dtype.clone(),
            status: row.outcome.status.label(),
            error: worst.map(|worst| worst.error),
            tolerance: worst.map(|worst| worst.tolerance),
            output: worst.map(|worst| worst.output.clone()),
            seconds: row.seconds,
            peak_memory: row.peak_memory,
            passed: count(Status::Passed),
            failed: count(Status::Failed),
            skipped: count(Status::Skipped),
        };
        match row.tasks.contains(&row.case) {
            true => cells.extend(row.tasks.iter().map(|task| Cell { task: task.clone(), ..cell.clone() })),
            false => cells.push(cell),
        }
    }
    cells.sort_by(|left, right| {
        let key = |cell: &Cell| (cell.model_type.clone(), cell.task.clone(), cell.device.clone(), cell.dtype.clone());
        key(left).cmp(&key(right))
    });
    cells
}

/// Seconds since 1970 as a date (Howard Hinnant's `civil_from_days`).
fn date(seconds: u64) -> String {
    let (days, rest) = ((seconds / 86400) as i64 + 719_468, seconds % 86400);
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", rest / 3600, rest % 3600 / 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_399), "2000-02-28 23:59 UTC");
        assert_eq!(date(951_782_400), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_735_689_599), "2024-12-31 23:59 UTC");
    }
}
