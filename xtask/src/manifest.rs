//! `cases/MANIFEST.sha256`: the hash of every committed file of a reference case, as `sha256sum` writes it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result};

use crate::hash;
use crate::process::amiss;

const FILE: &str = "MANIFEST.sha256";

/// How many differences an error lists.
const SHOWN: usize = 20;

pub fn run(root: &Path, check: bool) -> Result<ExitCode> {
    let cases = root.join("cases");
    let path = cases.join(FILE);
    let mut files = BTreeMap::new();
    if cases.exists() {
        collect(&cases, "", &mut files)?;
    }
    files.remove(FILE);
    if check {
        let listed = if path.exists() { parse(&fs::read_to_string(&path)?)? } else { BTreeMap::new() };
        let mut differences = differences(&listed, &files);
        if !differences.is_empty() {
            let more = differences.len().saturating_sub(SHOWN);
            differences.truncate(SHOWN);
            if more > 0 {
                differences.push(format!("and {more} more"));
            }
            return Err(amiss(
                format!("{} is not fresh:\n    {}", path.display(), differences.join("\n    ")),
                "cargo xtask manifest",
            ));
        }
        println!("{}: {} files, fresh", path.display(), files.len());
    } else {
        fs::write(&path, render(&files)).with_context(|| format!("cannot write {}", path.display()))?;
        println!("{}: {} files", path.display(), files.len());
    }
    Ok(ExitCode::SUCCESS)
}

/// Adds the hash of every file below `folder`, by its path with `/`.
fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, String>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), &format!("{name}/"), files)?;
        } else {
            files.insert(name, hash::of_file(&entry.path())?);
        }
    }
    Ok(())
}

fn render(files: &BTreeMap<String, String>) -> String {
    files.iter().map(|(name, hash)| format!("{hash}  {name}\n")).collect()
}

fn parse(text: &str) -> Result<BTreeMap<String, String>> {
    text.lines()
        .map(|line| {
            let (hash, name) = line.split_once("  ").with_context(|| format!("a line of {FILE} is cut: {line:?}"))?;
            Ok((name.to_owned(), hash.to_owned()))
        })
        .collect()
}

fn differences(listed: &BTreeMap<String, String>, files: &BTreeMap<String, String>) -> Vec<String> {
    let gone = listed.keys().filter(|name| !files.contains_key(*name)).map(|name| format!("gone: {name}"));
    let rest = files.iter().filter_map(|(name, hash)| match listed.get(name) {
        None => Some(format!("not listed: {name}")),
        Some(listed) if listed != hash => Some(format!("changed: {name}")),
        Some(_) => None,
    });
    gone.chain(rest).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fresh_until_a_file_changes() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        run(root, true).unwrap();
        fs::create_dir_all(root.join("cases/bert/base")).unwrap();
        fs::write(root.join("cases/bert/base/config.json"), "{}").unwrap();
        assert!(run(root, true).unwrap_err().to_string().contains("not listed: bert/base/config.json"));
        run(root, false).unwrap();
        run(root, true).unwrap();
        fs::write(root.join("cases/bert/base/config.json"), "{ }").unwrap();
        assert!(run(root, true).unwrap_err().to_string().contains("changed: bert/base/config.json"));
        fs::remove_file(root.join("cases/bert/base/config.json")).unwrap();
        assert!(run(root, true).unwrap_err().to_string().contains("gone: bert/base/config.json"));
    }

    #[test]
    fn a_long_list_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("cases")).unwrap();
        for i in 0..SHOWN + 3 {
            fs::write(folder.path().join(format!("cases/{i}")), "").unwrap();
        }
        let error = run(folder.path(), true).unwrap_err().to_string();
        assert!(error.contains("and 3 more") && error.matches("not listed").count() == SHOWN, "{error}");
    }

    #[test]
    fn written_as_sha256sum_writes() {
        let files = BTreeMap::from([("a b".to_owned(), "00".to_owned())]);
        assert_eq!(render(&files), "00  a b\n");
        assert_eq!(parse(&render(&files)).unwrap(), files);
        assert!(parse("00").is_err());
    }
}
