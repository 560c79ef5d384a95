//! The report: what it holds, that it cannot be half written, and that its table sorts in a browser.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tch_transformers::report::Report;
use tch_transformers::verify::{Check, Run, Setting, cases_directory, jobs_of_entry};
use tch_transformers::{Error, auto};

/// A run of `forward` on BERT.
fn run() -> Run {
    let entry = auto::entry("bert").unwrap();
    let mut run = Run::begin();
    let jobs = jobs_of_entry(entry, &cases_directory(), &[Check::Forward], Setting::default());
    run.rows = jobs.iter().map(tch_transformers::verify::Job::run).collect();
    run
}

#[test]
fn three_files_that_agree() {
    let (run, folder) = (run(), tempfile::tempdir().unwrap());
    let report = Report::of(&run);
    report.write(folder.path()).unwrap();
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let json = std::fs::read_to_string(folder.path().join("matrix.json")).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["matrix"].as_array().unwrap().len(), report.matrix.len());
    let (html, markdown) =
        ["index.html", "matrix.md"].map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap()).into();
    for cell in &report.matrix {
        let row = format!(
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td>",
            cell.model_type, cell.category, cell.task, cell.class
        );
        assert!(html.contains(&row), "{row}");
        assert!(markdown.contains(&format!("| {} | {} | {} |", cell.model_type, cell.task, cell.class)));
    }
    assert!(!html.contains("http"), "the page must not load anything");
    let encoders = &report.categories[0];
    assert_eq!((encoders.category, encoders.target), ("encoder-only", Some(63)));
}

#[test]
fn a_place_that_cannot_be_written_to_is_an_error() {
    let (run, folder) = (run(), tempfile::tempdir().unwrap());
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(Report::of(&run).write(&file), Err(Error::Io { path, .. }) if path == file));
    // A folder where a file should be: what stands there stays.
    let blocked = folder.path().join("report");
    std::fs::create_dir_all(blocked.join("matrix.json/inside")).unwrap();
    assert!(matches!(Report::of(&run).write(&blocked), Err(Error::Io { path, .. }) if path.ends_with("matrix.json")));
    assert_eq!(std::fs::read_dir(&blocked).unwrap().count(), 1);
}

fn chromium() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome", "chrome"];
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).flat_map(|folder| names.map(|name| folder.join(name))).find(|path| path.is_file())
}

/// The page after its script ran, as Chromium sees it.
fn rendered(chromium: &Path, page: &Path) -> String {
    let output = Command::new(chromium)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--dump-dom"])
        .arg(format!("file://{}", page.display()))
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The texts of the `column`th cell of every row of the matrix.
fn column(page: &str, column: usize) -> Vec<String> {
    let table = page.split("<table id=\"matrix\">").nth(1).and_then(|rest| rest.split("</table>").next()).unwrap();
    let body = table.split("<tbody>").nth(1).unwrap();
    let text = |cell: &str| cell.split('>').nth(1).unwrap().split('<').next().unwrap().to_owned();
    let rows = body.split("<tr").skip(1).map(|row| row.replace("<th", "<td"));
    rows.map(|row| text(row.split("<td").nth(column + 1).unwrap())).collect()
}

#[test]
#[ignore = "needs Chromium on the PATH; run with --ignored"]
fn rows_sort_when_a_header_is_clicked() {
    let chromium = chromium().expect("no Chromium on the PATH");
    let folder = tempfile::tempdir().unwrap();
    Report::of(&run()).write(folder.path()).unwrap();
    let page = folder.path().join("index.html");
    let html = std::fs::read_to_string(&page).unwrap();
    let tolerance = 8;
    let click = |times: usize| {
        let click = format!("document.querySelectorAll('#matrix thead button')[{tolerance}].click();").repeat(times);
        std::fs::write(&page, html.replace("</body>", &format!("<script>{click}</script></body>"))).unwrap();
        column(&rendered(&chromium, &page), tolerance).iter().map(|text| text.parse().unwrap()).collect::<Vec<f64>>()
    };
    let (before, ascending, descending) = (click(0), click(1), click(2));
    let mut sorted = before.clone();
    sorted.sort_by(f64::total_cmp);
    assert_ne!(before, sorted, "the rows stand in order without a click");
    assert_eq!(ascending, sorted);
    sorted.reverse();
    assert_eq!(descending, sorted);
}
