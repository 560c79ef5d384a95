use std::time::Duration;

use anyhow::Result;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};
use tch_transformers::verify::{Row, Run, Status};

/// The run as JUnit XML: a suite per architecture, a test per row.
pub fn render(run: &Run) -> Result<String> {
    let mut report = Report::new("tch-transformers verify");
    let mut suites: Vec<(&str, TestSuite)> = Vec::new();
    for row in &run.rows {
        let suite = match suites.iter().position(|(name, _)| *name == row.model_type) {
            Some(at) => &mut suites[at].1,
            None => {
                suites.push((&row.model_type, TestSuite::new(&row.model_type)));
                &mut suites.last_mut().ok_or_else(|| anyhow::anyhow!("a suite was just added"))?.1
            }
        };
        suite.add_test_case(test_case(row));
    }
    report.add_test_suites(suites.into_iter().map(|(_, suite)| suite));
    Ok(report.to_string()?)
}

fn test_case(row: &Row) -> TestCase {
    let status = match row.outcome.status {
        Status::Passed => TestCaseStatus::success(),
        Status::Failed => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(row.outcome.detail.clone());
            status
        }
        Status::Skipped | Status::NotRun | Status::Uncovered => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(format!("{}: {}", row.outcome.status.label(), row.outcome.detail));
            status
        }
    };
    let name = format!("{} {} {} {}", row.case, row.check, row.device, row.dtype);
    let mut case = TestCase::new(name, status);
    case.set_classname(row.model_type.clone());
    case.set_time(Duration::from_secs_f64(row.seconds.max(0.0)));
    case
}
