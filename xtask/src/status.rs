//! The status table of README.md: the coverage that the last report computed, between two markers.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::process::amiss;

const START: &str = "<!-- status -->\n";
const END: &str = "<!-- /status -->";

pub fn run(root: &Path, check: bool) -> Result<ExitCode> {
    let report = root.join("target/report/matrix.md");
    let readme = root.join("README.md");
    let matrix = fs::read_to_string(&report)
        .map_err(|error| amiss(format!("{}: {error}", report.display()), "cargo xtask verify"))?;
    let text = fs::read_to_string(&readme).with_context(|| format!("cannot read {}", readme.display()))?;
    let fresh = with_status(&text, &coverage(&matrix)?)?;
    if check {
        if fresh != text {
            return Err(amiss(
                "the status table of README.md is not fresh",
                "cargo xtask verify && cargo xtask status",
            ));
        }
        println!("README.md: status fresh");
    } else {
        fs::write(&readme, fresh).with_context(|| format!("cannot write {}", readme.display()))?;
        println!("README.md: status written");
    }
    Ok(ExitCode::SUCCESS)
}

/// The table below the heading `Coverage` of a report.
fn coverage(matrix: &str) -> Result<String> {
    let (_, section) = matrix.split_once("## Coverage\n").context("the report has no section `Coverage`")?;
    let rows = section.lines().skip_while(|line| line.is_empty()).take_while(|line| line.starts_with('|'));
    let table: String = rows.map(|row| format!("{row}\n")).collect();
    if table.is_empty() {
        bail!("the section `Coverage` of the report has no table");
    }
    Ok(table)
}

fn with_status(readme: &str, table: &str) -> Result<String> {
    let (before, rest) = readme.split_once(START).context("README.md lacks the line <!-- status -->")?;
    let (_, after) = rest.split_once(END).context("README.md lacks the line <!-- /status -->")?;
    Ok(format!("{before}{START}{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_takes_the_place_of_the_old_one() {
        let matrix = "# Compatibility\n\n## Coverage\n\n| a |\n|---|\n| 1 |\n\n## Matrix\n| b |\n";
        let readme = "text\n<!-- status -->\n| old |\n<!-- /status -->\nmore\n";
        let fresh = with_status(readme, &coverage(matrix).unwrap()).unwrap();
        assert_eq!(fresh, "text\n<!-- status -->\n| a |\n|---|\n| 1 |\n<!-- /status -->\nmore\n");
        assert!(coverage("nothing").is_err());
        assert!(with_status("no markers", "| a |\n").is_err());
    }
}
