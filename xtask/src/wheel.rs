//! Taking files out of a wheel, each checked against the wheel's RECORD.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zip::ZipArchive;

use crate::hash;
use crate::stamp::FileStamp;

pub struct Wheel {
    path: PathBuf,
    archive: ZipArchive<BufReader<File>>,
    record: HashMap<String, FileStamp>,
}

impl Wheel {
    pub fn open(path: &Path) -> Result<Self> {
        let open = || -> Result<Self> {
            let mut archive = ZipArchive::new(BufReader::new(File::open(path)?))?;
            let record = archive
                .file_names()
                .filter_map(Result::ok)
                .find(|name| name.ends_with(".dist-info/RECORD"))
                .context("it has no RECORD")?
                .into_owned();
            let mut text = String::new();
            archive.by_name(&record)?.read_to_string(&mut text)?;
            Ok(Self { path: path.to_owned(), archive, record: parse_record(&text)? })
        };
        open().with_context(|| format!("{} is no wheel", path.display()))
    }

    /// Every file with a hash in RECORD, and its size in bytes.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64)> {
        self.record.iter().map(|(name, file)| (name.as_str(), file.size))
    }

    /// Writes the file `name` to `to`, folders included.
    pub fn extract(&mut self, name: &str, to: &Path, progress: impl FnMut(u64)) -> Result<FileStamp> {
        let expected = self.record.get(name).with_context(|| format!("{name} is not in RECORD"))?;
        let mut entry =
            self.archive.by_name(name).with_context(|| format!("{name} is missing from {}", self.path.display()))?;
        let mode = entry.unix_mode().unwrap_or(0o644) & 0o777;
        let write = || -> Result<FileStamp> {
            fs::create_dir_all(to.parent().context("no folder")?)?;
            let mut file = BufWriter::new(File::create(to)?);
            let copied = hash::copy(&mut entry, &mut file, progress)?;
            file.flush()?;
            fs::set_permissions(to, fs::Permissions::from_mode(mode))?;
            Ok(FileStamp { size: copied.size, sha256: hash::hex(&copied.digest) })
        };
        let written = write().with_context(|| format!("cannot write {}", to.display()))?;
        ensure!(written == *expected, "{name} in {} does not match its RECORD", self.path.display());
        Ok(written)
    }
}

/// `path,sha256=<urlsafe base64>,size`; RECORD's own line has neither hash nor size.
fn parse_record(text: &str) -> Result<HashMap<String, FileStamp>> {
    let mut record = HashMap::new();
    for line in text.lines() {
        let mut fields = line.rsplitn(3, ',');
        let (Some(size), Some(hash), Some(name)) = (fields.next(), fields.next(), fields.next()) else {
            bail!("a line of RECORD is cut: {line:?}");
        };
        let Some(hash) = hash.strip_prefix("sha256=") else { continue };
        let size = size.parse().with_context(|| format!("a size in RECORD is no number: {line:?}"))?;
        let digest = URL_SAFE_NO_PAD.decode(hash).with_context(|| format!("a hash in RECORD is none: {line:?}"))?;
        record.insert(name.trim_matches('"').to_owned(), FileStamp { size, sha256: hash::hex(&digest) });
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[test]
    fn record_lines() {
        let record = parse_record("a/b.h,sha256=ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0,3\nx/RECORD,,\n").unwrap();
        assert_eq!(record.len(), 1);
        assert_eq!(record["a/b.h"], FileStamp { size: 3, sha256: hash::of_bytes(b"abc") });
        assert!(parse_record("a/b.h").is_err());
        assert!(parse_record("a/b.h,sha256=abc,many").is_err());
    }

    #[test]
    fn extracts_what_record_promises() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.whl");
        testing::wheel(&path, &[("a/one.h", b"one"), ("a/two.h", b"two")], &[("a/two.h", b"forged")]);
        let mut wheel = Wheel::open(&path).unwrap();
        assert_eq!(wheel.files().count(), 2);
        let to = folder.path().join("out/one.h");
        wheel.extract("a/one.h", &to, |_| {}).unwrap();
        assert_eq!(fs::read(&to).unwrap(), b"one");
        let error = wheel.extract("a/two.h", &to, |_| {}).unwrap_err();
        assert!(error.to_string().contains("does not match its RECORD"), "{error}");
        assert!(wheel.extract("a/three.h", &to, |_| {}).is_err());
    }

    #[test]
    fn half_a_wheel_is_no_wheel() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.whl");
        testing::wheel(&path, &[("a/one.h", b"one")], &[]);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(Wheel::open(&path).is_err());
    }
}
