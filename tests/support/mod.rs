//! What the tests of verification share.
#![allow(dead_code, reason = "each test target uses its own part")]

use std::path::{Path, PathBuf};

use tch_transformers::verify::cases_directory;

/// A copy of a committed case in a folder of its own, to be damaged.
pub fn copy_of(case: &str, to: &Path) -> PathBuf {
    let (from, to) = (cases_directory().join(case), to.join(case.replace('/', "-")));
    std::fs::create_dir_all(&to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
    to
}

/// Replaces `from` by `to` in a text file, where it must stand.
pub fn edit(path: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{} lacks {from}", path.display());
    std::fs::write(path, text.replacen(from, to, 1)).unwrap();
}
