//! What a project that depends on this one has to tell cargo.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::libtorch::{self, FOLDER, Found, Source};

/// The `.cargo/config.toml` of a project elsewhere: where libtorch is when it is built, and when it runs.
///
/// A package cannot pass either on to those that depend on it.
pub fn text(root: &Path) -> Result<String> {
    let source = Source::of_environment(root);
    let found = libtorch::find(root, &source)?;
    write(root, &source, &found)
}

fn write(root: &Path, source: &Source, found: &Found) -> Result<String> {
    let absolute = |path: &Path| -> Result<PathBuf> {
        std::path::absolute(path).with_context(|| format!("no absolute path of {}", path.display()))
    };
    let variable = match source {
        Source::Installed => format!("LIBTORCH = {:?}", absolute(&root.join(FOLDER))?),
        Source::Variable(folder) => format!("LIBTORCH = {:?}", absolute(folder)?),
        Source::PyTorch => "LIBTORCH_USE_PYTORCH = \"1\"".to_owned(),
    };
    let lib = absolute(&found.lib)?;
    let mut link = vec![format!("-Wl,-rpath,{}", lib.display())];
    if found.has_cuda() {
        // CUDA is loaded through libtorch.so, which no symbol asks for.
        link.extend([format!("-L{}", lib.display()), "-Wl,--no-as-needed".to_owned(), "-ltorch".to_owned()]);
    }
    let flags: Vec<String> = link.iter().map(|argument| format!("\"-Clink-arg={argument}\"")).collect();
    Ok(format!("[env]\n{variable}\n\n[build]\nrustflags = [{}]\n", flags.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(source: &Source, lib: &Path) -> String {
        let found = Found { version: None, lib: lib.into(), origin: String::new() };
        write(Path::new("/project"), source, &found).unwrap()
    }

    #[test]
    fn names_the_libtorch_that_is_used() {
        let own = written(&Source::Installed, Path::new("/project/.libtorch/lib"));
        let expected = "[env]\nLIBTORCH = \"/project/.libtorch\"\n\n[build]\nrustflags = [\"-Clink-arg=-Wl,-rpath,/project/.libtorch/lib\"]\n";
        assert_eq!(own, expected);
        let other = written(&Source::Variable("/opt/libtorch".into()), Path::new("/opt/libtorch/lib"));
        assert!(other.contains("LIBTORCH = \"/opt/libtorch\"") && other.contains("rpath,/opt/libtorch/lib"), "{other}");
        let python = written(&Source::PyTorch, Path::new("/venv/torch/lib"));
        assert!(python.contains("LIBTORCH_USE_PYTORCH = \"1\""), "{python}");
    }

    #[test]
    fn keeps_cuda_linked() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("libtorch_cuda.so"), "").unwrap();
        let text = written(&Source::Installed, folder.path());
        assert!(text.contains("--no-as-needed") && text.contains("-ltorch"), "{text}");
    }
}
