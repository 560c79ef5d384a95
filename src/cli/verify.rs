use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use tch_transformers::report::{Report, write_file};
use tch_transformers::verify::{Difference, Job, Row, Run, Status};

use super::selection::Selection;
use super::{FAILED, PASSED, junit, print, progress, table::Table};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Write every result as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write every result as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Write the report into this folder
    #[arg(long, value_name = "DIR")]
    report: Option<PathBuf>,
    /// Stop at the first failure
    #[arg(long)]
    fail_fast: bool,
    /// Print failures and the count only
    #[arg(long, short)]
    quiet: bool,
}

pub fn run(arguments: &Arguments) -> Result<u8> {
    let jobs = arguments.selection.jobs()?;
    let run = run_jobs(&jobs, arguments.fail_fast, arguments.quiet);
    let foreign = arguments.selection.foreign().is_some();
    let mut text = String::new();
    if !arguments.quiet {
        text += &if foreign { by_case(&run.rows) } else { by_architecture(&run.rows) };
    }
    text += &failures(&run.rows);
    text += &counts(&run);
    print(&text)?;
    if let Some(path) = &arguments.json {
        write_json(path, &run)?;
    }
    if let Some(path) = &arguments.junit {
        write_file(path, &junit::render(&run).context("JUnit")?)?;
    }
    if let Some(directory) = &arguments.report {
        Report::of(&run).write(directory)?;
    }
    Ok(if run.count(Status::Failed) > 0 { FAILED } else { PASSED })
}

pub fn write_json(path: &Path, run: &Run) -> Result<()> {
    Ok(write_file(path, &(serde_json::to_string_pretty(run)? + "\n"))?)
}

/// Runs the jobs one after the other, with a progress bar on a terminal.
pub fn run_jobs(jobs: &[Job], fail_fast: bool, quiet: bool) -> Run {
    let bar = progress::bar(Some(jobs.len() as u64), !quiet);
    let mut run = Run::begin();
    for job in jobs {
        let architecture = job.entry.map_or("", |entry| entry.model_type);
        bar.set_message(format!("{architecture} {} {}", job.name, job.check));
        let row = job.run();
        let failed = row.outcome.status == Status::Failed;
        run.rows.push(row);
        bar.inc(1);
        if failed && fail_fast {
            break;
        }
    }
    bar.finish_and_clear();
    run
}

/// A line per case and check.
fn by_case(rows: &[Row]) -> String {
    let mut table = Table::new([
        "case",
        "architecture",
        "class",
        "check",
        "device",
        "dtype",
        "result",
        "worst output",
        "error",
        "tolerance",
        "seconds",
    ]);
    for row in rows {
        let worst = row.outcome.worst.as_ref();
        table.row([
            row.case.clone(),
            row.model_type.clone(),
            row.class.clone().unwrap_or_default(),
            row.check.clone(),
            row.device.clone(),
            row.dtype.clone(),
            row.outcome.status.label().to_owned(),
            worst.map(|worst| worst.output.clone()).unwrap_or_default(),
            worst.map(|worst| format!("{:.2e}", worst.error)).unwrap_or_default(),
            worst.map(|worst| format!("{:.2e}", worst.tolerance)).unwrap_or_default(),
            format!("{:.2}", row.seconds),
        ]);
    }
    table.render()
}

/// A line per architecture, device and kind.
fn by_architecture(rows: &[Row]) -> String {
    let mut table = Table::new([
        "architecture",
        "category",
        "device",
        "dtype",
        "passed",
        "failed",
        "skipped",
        "not run",
        "tightest",
        "seconds",
    ]);
    let mut groups: Vec<(String, Vec<&Row>)> = Vec::new();
    for row in rows {
        let key = format!("{} {} {}", row.model_type, row.device, row.dtype);
        match groups.iter_mut().find(|(known, _)| *known == key) {
            Some((_, members)) => members.push(row),
            None => groups.push((key, vec![row])),
        }
    }
    for (_, members) in &groups {
        let count = |status| members.iter().filter(|row| row.outcome.status == status).count().to_string();
        let worst = members.iter().filter_map(|row| Some((row, row.outcome.worst.as_ref()?)));
        let tightest = worst.max_by(|left, right| left.1.used().total_cmp(&right.1.used()));
        let Some(first) = members.first() else { continue };
        table.row([
            first.model_type.clone(),
            first.category.clone().unwrap_or_default(),
            first.device.clone(),
            first.dtype.clone(),
            count(Status::Passed),
            count(Status::Failed),
            count(Status::Skipped),
            count(Status::NotRun),
            tightest
                .map(|(row, worst)| format!("{} {}: {:.0} % of tolerance", row.case, row.check, 100.0 * worst.used()))
                .unwrap_or_default(),
            format!("{:.1}", members.iter().map(|row| row.seconds).sum::<f64>()),
        ]);
    }
    table.render()
}

/// What failed, each with its detail; checks of a case that fail alike are told once.
fn failures(rows: &[Row]) -> String {
    let failed: Vec<_> = rows.iter().filter(|row| row.outcome.status == Status::Failed).collect();
    let alike = |left: &&Row, right: &&Row| {
        (&left.model_type, &left.case, &left.device, &left.dtype, &left.outcome)
            == (&right.model_type, &right.case, &right.device, &right.dtype, &right.outcome)
    };
    let mut text = String::new();
    for group in failed.chunk_by(alike) {
        let checks: Vec<_> = group.iter().map(|row| row.check.as_str()).collect();
        let Row { model_type, case, device, dtype, outcome, .. } = group[0];
        let _ = writeln!(text, "\nFAILED {model_type} {case}: {} on {device} in {dtype}", checks.join(", "));
        for line in outcome.detail.lines() {
            let _ = writeln!(text, "  {line}");
        }
        if let Some(Difference { output, error, tolerance }) = &outcome.worst {
            let _ = writeln!(text, "  worst output: {output}, off by {error:.3e}, tolerance {tolerance:.3e}");
        }
        if let Some(name) = &outcome.diverges_at {
            let _ = writeln!(text, "  diverges first at: {name}");
        }
    }
    text
}

fn counts(run: &Run) -> String {
    let counts = Status::ALL.into_iter().map(|status| (run.count(status), status));
    let shown: Vec<_> = counts
        .filter(|(count, status)| *count > 0 || matches!(status, Status::Passed | Status::Failed))
        .map(|(count, status)| format!("{count} {}", status.label()))
        .collect();
    format!("\n{}\n", shown.join(", "))
}
