//! What an installed libtorch consists of; written last, so that its presence says that all the rest is there.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::hash;
use crate::pins::{Flavour, Pin, VERSION};

pub const FILE: &str = "stamp.json";

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileStamp {
    /// In bytes.
    pub size: u64,
    pub sha256: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    pub version: String,
    pub flavour: Flavour,
    pub arch: String,
    /// Name and version of each wheel, and its SHA-256.
    pub wheels: BTreeMap<String, String>,
    pub files: BTreeMap<String, FileStamp>,
}

impl Stamp {
    pub fn new(flavour: Flavour, arch: &str, pins: &[Pin]) -> Self {
        Self {
            version: VERSION.to_owned(),
            flavour,
            arch: arch.to_owned(),
            wheels: pins.iter().map(|pin| (pin.id(), pin.sha256.clone())).collect(),
            files: BTreeMap::new(),
        }
    }

    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let bytes = fs::read(&path).with_context(|| format!("{} is missing", path.display()))?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} is not whole", path.display()))
    }

    pub fn write(&self, folder: &Path) -> Result<()> {
        let path = folder.join(FILE);
        let write = || -> Result<()> {
            let mut file = File::create(&path)?;
            file.write_all(&serde_json::to_vec(self)?)?;
            Ok(file.sync_all()?)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// Fails unless `folder` holds every file at its size.
    pub fn check_sizes(&self, folder: &Path) -> Result<()> {
        for (name, file) in &self.files {
            let size = fs::metadata(folder.join(name)).with_context(|| format!("{name} is missing"))?.len();
            ensure!(size == file.size, "{name} has {size} bytes instead of {}", file.size);
        }
        Ok(())
    }

    /// Fails unless `folder` holds every file with its content.
    pub fn check_contents(&self, folder: &Path) -> Result<()> {
        self.check_sizes(folder)?;
        for (name, file) in &self.files {
            ensure!(hash::of_file(&folder.join(name))? == file.sha256, "{name} was changed");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamped(folder: &Path) -> Stamp {
        fs::write(folder.join("a"), "abc").unwrap();
        let pin = Pin { name: "torch".to_owned(), version: VERSION.to_owned(), sha256: "00".to_owned() };
        let mut stamp = Stamp::new(Flavour::Cpu, "x86_64", &[pin]);
        stamp.files.insert("a".to_owned(), FileStamp { size: 3, sha256: hash::of_bytes(b"abc") });
        stamp.write(folder).unwrap();
        stamp
    }

    #[test]
    fn reads_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Stamp::read(folder.path()).is_err());
        let stamp = stamped(folder.path());
        assert_eq!(Stamp::read(folder.path()).unwrap(), stamp);
        let path = folder.path().join(FILE);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
        assert!(Stamp::read(folder.path()).unwrap_err().to_string().contains("not whole"));
    }

    #[test]
    fn notices_missing_cut_and_changed_files() {
        let folder = tempfile::tempdir().unwrap();
        let stamp = stamped(folder.path());
        stamp.check_contents(folder.path()).unwrap();
        fs::write(folder.path().join("a"), "abd").unwrap();
        stamp.check_sizes(folder.path()).unwrap();
        assert!(stamp.check_contents(folder.path()).is_err());
        fs::write(folder.path().join("a"), "ab").unwrap();
        assert!(stamp.check_sizes(folder.path()).is_err());
        fs::remove_file(folder.path().join("a")).unwrap();
        assert!(stamp.check_sizes(folder.path()).is_err());
    }
}
