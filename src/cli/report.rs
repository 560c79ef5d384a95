use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use tch_transformers::report::Report;
use tch_transformers::verify::Run;

use super::selection::Selection;
use super::verify::run_jobs;
use super::{PASSED, print};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    selection: Selection,
    /// Report on a run that `verify --json` wrote, instead of running now
    #[arg(long, value_name = "FILE")]
    from: Option<PathBuf>,
    /// Folder to write into
    #[arg(long, value_name = "DIR", default_value = "report")]
    out: PathBuf,
}

pub fn run(arguments: &Arguments) -> Result<u8> {
    let run = match &arguments.from {
        Some(path) => Run::read(path)?,
        None => run_jobs(&arguments.selection.jobs()?, false, false),
    };
    let report = Report::of(&run);
    report.write(&arguments.out)?;
    print(&format!("{} rows in {}\n", report.matrix.len(), arguments.out.join("index.html").display()))?;
    Ok(PASSED)
}
