//! Small wheels and libraries for the tests.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use crate::toolchain;

/// A wheel with `files`; RECORD claims the contents in `forged` where there are some.
pub fn wheel(path: &Path, files: &[(&str, &[u8])], forged: &[(&str, &[u8])]) {
    let mut archive = ZipWriter::new(File::create(path).unwrap());
    let mut record = String::new();
    for (name, content) in files {
        archive.start_file(*name, SimpleFileOptions::default()).unwrap();
        archive.write_all(content).unwrap();
        let claimed = forged.iter().find(|(forged, _)| forged == name).map_or(*content, |(_, content)| *content);
        let digest = URL_SAFE_NO_PAD.encode(Sha256::digest(claimed));
        record.push_str(&format!("{name},sha256={digest},{}\n", claimed.len()));
    }
    let stem = path.file_stem().unwrap().to_str().unwrap();
    let package = stem.split('-').take(2).collect::<Vec<_>>().join("-");
    let tag = stem.split('-').skip(2).collect::<Vec<_>>().join("-");
    let name = package.split('-').next().unwrap();
    for (file, content) in [
        (
            "METADATA",
            format!("Metadata-Version: 2.1\nName: {name}\nVersion: {}\n", &package[name.len()..].trim_matches('-')),
        ),
        ("WHEEL", format!("Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {tag}\n")),
        ("RECORD", format!("{record}{package}.dist-info/RECORD,,\n")),
    ] {
        archive.start_file(format!("{package}.dist-info/{file}"), SimpleFileOptions::default()).unwrap();
        archive.write_all(content.as_bytes()).unwrap();
    }
    archive.finish().unwrap();
}

/// A library without code that is linked to `needed`, which lie beside it.
pub fn shared_library(path: &Path, needed: &[&str]) {
    let folder = path.parent().unwrap();
    let mut command = toolchain::cc();
    command
        .args(["-shared", "-x", "c", "/dev/null", "-x", "none", "-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN", "-o"])
        .arg(path);
    command.arg(format!("-Wl,-soname,{}", path.file_name().unwrap().to_str().unwrap()));
    command.arg("-L").arg(folder).args(needed.iter().map(|name| format!("-l:{name}")));
    assert!(command.status().unwrap().success());
}
