//! libtorch for `tch`: the user's own, or one put together from PyPI's wheels in `.libtorch`.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::fetch::{self, Fetch, Pip};
use crate::files::{remove, size_of_tree};
use crate::lock::Lock;
use crate::pins::{self, Flavour, Pin, VERSION};
use crate::process::{amiss, first_line, output};
use crate::python::Python;
use crate::stamp::{FileStamp, Stamp};
use crate::wheel::Wheel;
use crate::{elf, hash, toolchain};

/// The folder of the installed libtorch, as `.cargo/config.toml` has it.
pub const FOLDER: &str = ".libtorch";

/// Where libtorch comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `.libtorch`
    Installed,
    /// The user's LIBTORCH
    Variable(PathBuf),
    /// The user's LIBTORCH_USE_PYTORCH
    PyTorch,
}

impl Source {
    pub fn of_environment(root: &Path) -> Self {
        Self::choose(root, env::var_os("LIBTORCH").map(PathBuf::from), env::var_os("LIBTORCH_USE_PYTORCH").is_some())
    }

    /// As torch-sys chooses; cargo itself sets LIBTORCH to `.libtorch` when the user did not.
    fn choose(root: &Path, libtorch: Option<PathBuf>, use_pytorch: bool) -> Self {
        match libtorch {
            _ if use_pytorch => Self::PyTorch,
            Some(path) if path != root.join(FOLDER) => Self::Variable(path),
            _ => Self::Installed,
        }
    }
}

/// A usable libtorch.
pub struct Found {
    /// As the folder says it; libtorch's own archive and PyTorch's package do.
    pub version: Option<String>,
    pub lib: PathBuf,
    pub origin: String,
}

impl Found {
    pub fn has_cuda(&self) -> bool {
        self.lib.join("libtorch_cuda.so").exists()
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "libtorch {} from {}", self.version.as_deref().unwrap_or("of unknown version"), self.origin)
    }
}

/// The libtorch of `source`, or why it cannot be used.
pub fn find(root: &Path, source: &Source) -> Result<Found> {
    let found = match source {
        Source::Installed => {
            let folder = root.join(FOLDER);
            let stamp = installed(&folder, env::consts::ARCH, None)
                .map_err(|why| amiss(format!("no libtorch {VERSION}: {why:#}"), "cargo xtask setup"))?;
            return Ok(Found {
                origin: format!("{} ({})", folder.display(), stamp.flavour),
                version: Some(stamp.version),
                lib: folder.join("lib"),
            });
        }
        Source::Variable(folder) => of_variable(folder)?,
        Source::PyTorch => of_pytorch()?,
    };
    let other = found.version.as_deref().filter(|version| version.split('+').next() != Some(VERSION));
    if let (Some(other), None) = (other, env::var_os("LIBTORCH_BYPASS_VERSION_CHECK")) {
        return Err(amiss(
            format!("{} is libtorch {other}, but {VERSION} is needed", found.origin),
            "unset LIBTORCH LIBTORCH_USE_PYTORCH; cargo xtask setup",
        ));
    }
    Ok(found)
}

fn of_variable(folder: &Path) -> Result<Found> {
    let base = |variable| env::var_os(variable).map_or_else(|| folder.to_owned(), PathBuf::from);
    let lib = base("LIBTORCH_LIB").join("lib");
    let header = base("LIBTORCH_INCLUDE").join("include/torch/csrc/api/include/torch/torch.h");
    for needed in [&lib.join("libtorch_cpu.so"), &header] {
        if !needed.exists() {
            return Err(amiss(
                format!("LIBTORCH is {}, but {} does not exist", folder.display(), needed.display()),
                "unset LIBTORCH; cargo xtask setup",
            ));
        }
    }
    // libtorch's archive has build-version, PyTorch's package has version.py.
    let version = fs::read_to_string(folder.join("build-version")).ok().or_else(|| {
        let text = fs::read_to_string(folder.join("version.py")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix("__version__ = "))?;
        Some(line.trim_matches(['\'', '"']).to_owned())
    });
    Ok(Found {
        version: version.map(|version| version.trim().to_owned()),
        lib,
        origin: format!("LIBTORCH={}", folder.display()),
    })
}

fn of_pytorch() -> Result<Found> {
    let program = if env::var_os("VIRTUAL_ENV").is_some() { "python" } else { "python3" };
    let script = "import os, torch; print(torch.__version__); print(os.path.dirname(torch.__file__))";
    let text = output(Command::new(program).args(["-c", script])).ok_or_else(|| {
        amiss(
            format!("LIBTORCH_USE_PYTORCH is set, but {program} cannot import torch"),
            "unset LIBTORCH_USE_PYTORCH; cargo xtask setup",
        )
    })?;
    let mut lines = text.lines();
    let (Some(version), Some(folder)) = (lines.next(), lines.next()) else {
        bail!("{program} gave no version of torch")
    };
    Ok(Found {
        version: Some(version.to_owned()),
        lib: Path::new(folder).join("lib"),
        origin: format!("LIBTORCH_USE_PYTORCH, {folder}"),
    })
}

/// As [`find`], and every byte of an installed one checked.
pub fn find_whole(root: &Path, source: &Source) -> Result<Found> {
    let found = find(root, source)?;
    if *source == Source::Installed {
        let folder = root.join(FOLDER);
        Stamp::read(&folder)?.check_contents(&folder).map_err(|why| {
            amiss(format!("{} is damaged: {why:#}", folder.display()), format!("rm -r {FOLDER} && cargo xtask setup"))
        })?;
    }
    Ok(found)
}

/// Makes sure that there is a libtorch to build with, installing one where the user named none.
pub fn ensure(root: &Path, wanted: Option<Flavour>) -> Result<()> {
    toolchain::require()?;
    let source = Source::of_environment(root);
    if source == Source::Installed {
        let _lock = Lock::acquire(&root.join(format!("{FOLDER}.lock")))?;
        if installed(&root.join(FOLDER), env::consts::ARCH, wanted).is_err() {
            ensure!(env::consts::OS == "linux", "libtorch is installed on Linux only; set LIBTORCH to yours");
            let arch = env::consts::ARCH;
            let flavour = wanted.unwrap_or(Flavour::Cpu);
            let pins = pins::pins(arch, flavour)?;
            let pip = Pip::new(Python::find()?, arch);
            Installation { root, flavour, arch, pins: &pins, needs: needs(flavour) }.run(&pip).map_err(disk_full)?;
        }
    }
    let found = find(root, &source)?;
    if wanted == Some(Flavour::Cuda) && !found.has_cuda() {
        return Err(amiss(format!("{} has no CUDA", found.origin), "unset LIBTORCH LIBTORCH_USE_PYTORCH"));
    }
    eprintln!("{found}");
    Ok(())
}

/// The stamp of what is installed, if it is whole and what `wanted` asks for.
fn installed(folder: &Path, arch: &str, wanted: Option<Flavour>) -> Result<Stamp> {
    let stamp = Stamp::read(folder)?;
    ensure!(wanted.is_none_or(|wanted| wanted == stamp.flavour), "it is the {} build", stamp.flavour);
    let expected = Stamp::new(stamp.flavour, arch, &pins::pins(arch, stamp.flavour)?);
    let described = Stamp { files: BTreeMap::new(), ..stamp.clone() };
    ensure!(described == expected, "it is from other wheels than the pinned ones");
    stamp.check_sizes(folder)?;
    Ok(stamp)
}

/// Free disk space needed for wheels and unpacked files together, in bytes.
fn needs(flavour: Flavour) -> u64 {
    match flavour {
        Flavour::Cpu => 1_200_000_000,
        Flavour::Cuda => 6_500_000_000,
    }
}

fn disk_full(error: anyhow::Error) -> anyhow::Error {
    let full = error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded));
    if full {
        amiss(format!("the disk is full: {error:#}"), "free some space, then run the same command again")
    } else {
        error
    }
}

/// Puts libtorch together in `.libtorch.partial`, then moves it to `.libtorch`.
struct Installation<'a> {
    root: &'a Path,
    flavour: Flavour,
    arch: &'a str,
    pins: &'a [Pin],
    /// Free disk space, in bytes
    needs: u64,
}

impl Installation<'_> {
    fn run(&self, fetch: &dyn Fetch) -> Result<()> {
        let staging = self.root.join(format!("{FOLDER}.partial"));
        let (wheels, scratch, tree) = (staging.join("wheels"), staging.join("scratch"), staging.join("tree"));
        // Wheels of an earlier run are kept and their hashes checked; everything else starts afresh.
        for folder in [&scratch, &tree, &staging.join("replaced")] {
            remove(folder)?;
        }
        for folder in [&wheels, &scratch, &tree] {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        self.check_space(&staging)?;
        let mut open = Vec::new();
        for (i, pin) in self.pins.iter().enumerate() {
            eprintln!("[{}/{}] {} {}", i + 1, self.pins.len(), pin.name, pin.version);
            open.push(Wheel::open(&fetch::wheel(fetch, pin, &wheels, &scratch)?)?);
        }
        let mut stamp = Stamp::new(self.flavour, self.arch, self.pins);
        self.unpack(open, &tree, &mut stamp)?;
        self.add_stub(&tree, &mut stamp)?;
        probe(&tree.join("lib"), &scratch)?;
        stamp.write(&tree)?;
        let folder = self.root.join(FOLDER);
        if folder.symlink_metadata().is_ok() {
            fs::rename(&folder, staging.join("replaced"))
                .with_context(|| format!("cannot move {}", folder.display()))?;
        }
        fs::rename(&tree, &folder).with_context(|| format!("cannot move {} into place", tree.display()))?;
        remove(&staging)
    }

    fn check_space(&self, staging: &Path) -> Result<()> {
        let disk = rustix::fs::statvfs(staging).with_context(|| format!("cannot examine {}", staging.display()))?;
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        let needs = self.needs.saturating_sub(size_of_tree(staging));
        ensure_space(staging, free, needs)
    }

    fn unpack(&self, mut wheels: Vec<Wheel>, tree: &Path, stamp: &mut Stamp) -> Result<()> {
        let mut headers = BTreeMap::new();
        let mut libraries = BTreeMap::new();
        for (i, wheel) in wheels.iter().enumerate() {
            for (name, size) in wheel.files() {
                if let Some(to) = header(name, self.flavour) {
                    headers.entry(to).or_insert((i, name.to_owned(), size));
                } else if let Some(library) = library(name) {
                    libraries.entry(library.to_owned()).or_insert((i, name.to_owned(), size));
                }
            }
        }
        let bar = ProgressBar::new(headers.values().map(|(_, _, size)| size).sum());
        bar.set_style(ProgressStyle::with_template("unpacking {bar:40} {bytes}/{total_bytes}")?);
        let mut extract = |i: usize, name: &str, to: String| -> Result<PathBuf> {
            let path = tree.join(&to);
            let file = wheels[i].extract(name, &path, |n| bar.inc(n))?;
            stamp.files.insert(to, file);
            Ok(path)
        };
        for (to, (i, name, _)) in headers {
            extract(i, &name, to)?;
        }
        let mut seen = BTreeSet::new();
        let mut queue = match self.flavour {
            Flavour::Cpu => vec!["libtorch_cpu.so".to_owned()],
            // cuDNN, NVRTC and others are opened by name at run time, which no library's list of needs shows.
            Flavour::Cuda => libraries.keys().cloned().collect(),
        };
        ensure!(libraries.contains_key("libtorch_cpu.so"), "the wheels hold no libtorch_cpu.so");
        while let Some(library) = queue.pop() {
            // What the wheels do not hold is the system's, such as libc.
            let Some((i, name, size)) = libraries.get(&library) else { continue };
            if seen.insert(library.clone()) {
                bar.inc_length(*size);
                queue.extend(elf::needed(&extract(*i, name, format!("lib/{library}"))?)?);
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    /// Adds what the linker and torch-sys look for: libtorch.so without CUDA, and the version.
    fn add_stub(&self, tree: &Path, stamp: &mut Stamp) -> Result<()> {
        let local = match self.flavour {
            Flavour::Cpu => "cpu",
            Flavour::Cuda => "cu130",
        };
        let version = tree.join("build-version");
        fs::write(&version, format!("{VERSION}+{local}\n"))
            .with_context(|| format!("cannot write {}", version.display()))?;
        let mut added = vec!["build-version"];
        if self.flavour == Flavour::Cpu {
            let lib = tree.join("lib");
            let mut command = toolchain::cc();
            command
                .args([
                    "-shared",
                    "-x",
                    "c",
                    "/dev/null",
                    "-x",
                    "none",
                    "-Wl,-soname,libtorch.so",
                    "-Wl,-rpath,$ORIGIN",
                ])
                .args(["-Wl,--no-as-needed", "-ltorch_cpu", "-L"])
                .arg(&lib)
                .arg("-o")
                .arg(lib.join("libtorch.so"));
            compile(&mut command, "libtorch.so")?;
            added.push("lib/libtorch.so");
        }
        for name in added {
            let path = tree.join(name);
            let size = fs::metadata(&path).with_context(|| format!("{name} was not written"))?.len();
            stamp.files.insert(name.to_owned(), FileStamp { size, sha256: hash::of_file(&path)? });
        }
        Ok(())
    }
}

fn ensure_space(folder: &Path, free: u64, needs: u64) -> Result<()> {
    if free >= needs {
        return Ok(());
    }
    let problem = format!("{} has {} free, {} are needed", folder.display(), HumanBytes(free), HumanBytes(needs));
    Err(amiss(problem, "free some space, then run the same command again"))
}

/// Where a header goes; `None` for any other file.
fn header(name: &str, flavour: Flavour) -> Option<String> {
    let rest = name.strip_prefix("torch/include/").or_else(|| {
        let (_, rest) = name.strip_prefix("nvidia/")?.split_once("/include/")?;
        (flavour == Flavour::Cuda).then_some(rest)
    })?;
    let plain = Path::new(rest).components().all(|component| matches!(component, Component::Normal(_)));
    plain.then(|| format!("include/{rest}"))
}

/// The name of a library that libtorch may need; `None` for any other file and for those that only Python needs.
fn library(name: &str) -> Option<&str> {
    let (folder, file) = name.rsplit_once('/')?;
    let ours =
        folder == "torch/lib" || folder == "torch.libs" || (folder.starts_with("nvidia/") && folder.ends_with("/lib"));
    let python = ["libtorch_python.so", "libshm.so", "libtorch_global_deps.so"].contains(&file);
    (ours && !python && (file.ends_with(".so") || file.contains(".so."))).then_some(file)
}

fn compile(command: &mut Command, what: &str) -> Result<()> {
    let output = command.output().with_context(|| format!("cannot run {}", command.get_program().to_string_lossy()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(anyhow!("cannot link {what}:\n{}", String::from_utf8_lossy(&output.stderr).trim_end()))
}

/// Links and starts an empty program, so that a library that this machine cannot load shows here.
fn probe(lib: &Path, scratch: &Path) -> Result<()> {
    let (source, program) = (scratch.join("probe.c"), scratch.join("probe"));
    fs::write(&source, "int main(void) { return 0; }\n")?;
    let mut command = toolchain::cc();
    command.arg(&source).args(["-Wl,--no-as-needed", "-ltorch", "-ltorch_cpu"]);
    command.arg("-L").arg(lib).arg(format!("-Wl,-rpath,{}", lib.display())).arg("-o").arg(&program);
    compile(&mut command, "a program to libtorch")?;
    let output = Command::new(&program).output().context("cannot run a program linked to libtorch")?;
    if output.status.success() {
        return Ok(());
    }
    let glibc = first_line(Command::new("ldd").arg("--version")).unwrap_or_default();
    bail!(
        "libtorch does not load on this machine (glibc 2.28 or newer is needed, this is {glibc}):\n{}",
        String::from_utf8_lossy(&output.stderr).trim_end()
    )
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tempfile::TempDir;

    use super::*;
    use crate::testing;

    const ARCH: &str = env::consts::ARCH;

    /// A repository without libtorch, and beside it wheels of a small one.
    struct Fixture {
        folder: TempDir,
        pins: Vec<Pin>,
    }

    impl Fixture {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["root", "wheels", "libraries"] {
                fs::create_dir(folder.path().join(name)).unwrap();
            }
            let library = |name: &str, needed: &[&str]| {
                let path = folder.path().join("libraries").join(name);
                testing::shared_library(&path, needed);
                fs::read(path).unwrap()
            };
            let cudart = library("libcudart.so.13", &[]);
            let c10 = library("libc10.so", &[]);
            let cpu = library("libtorch_cpu.so", &["libc10.so", "libcudart.so.13"]);
            let mut fixture = Self { folder, pins: Vec::new() };
            fixture.add(
                "torch-2.11.0-cp311-cp311-manylinux_2_28",
                &[
                    ("torch/include/torch/torch.h", b"#pragma once\n"),
                    ("torch/lib/libc10.so", &c10),
                    ("torch/lib/libtorch_cpu.so", &cpu),
                    ("torch/lib/libtorch.so", b"needs CUDA"),
                    ("torch/lib/libtorch_cuda.so", b"not needed"),
                    ("torch/nn/functional.py", b"pass\n"),
                ],
            );
            fixture.add(
                "nvidia_cuda_runtime-13.0.96-py3-none-manylinux_2_17",
                &[("nvidia/cu13/lib/libcudart.so.13", &cudart), ("nvidia/cu13/include/cuda.h", b"\n")],
            );
            fixture
        }

        fn add(&mut self, stem: &str, files: &[(&str, &[u8])]) {
            let path = self.folder.path().join(format!("wheels/{stem}_{ARCH}.whl"));
            testing::wheel(&path, files, &[]);
            let mut words = stem.split('-');
            self.pins.push(Pin {
                name: words.next().unwrap().replace('_', "-"),
                version: words.next().unwrap().to_owned(),
                sha256: hash::of_file(&path).unwrap(),
            });
        }

        fn root(&self) -> PathBuf {
            self.folder.path().join("root")
        }

        fn run(&self, fetch: &dyn Fetch) -> Result<()> {
            Installation { root: &self.root(), flavour: Flavour::Cpu, arch: ARCH, pins: &self.pins, needs: 0 }
                .run(fetch)
        }

        fn pip(&self) -> Pip {
            let find_links = [
                "--quiet".into(),
                "--no-index".into(),
                "--find-links".into(),
                self.folder.path().join("wheels").into_os_string(),
            ];
            Pip::new(Python::find().unwrap(), ARCH).with_options(find_links)
        }

        fn assert_whole(&self) {
            let folder = self.root().join(FOLDER);
            let stamp = Stamp::read(&folder).unwrap();
            stamp.check_contents(&folder).unwrap();
            let files: Vec<_> = stamp.files.keys().map(String::as_str).collect();
            assert_eq!(
                files,
                [
                    "build-version",
                    "include/torch/torch.h",
                    "lib/libc10.so",
                    "lib/libcudart.so.13",
                    "lib/libtorch.so",
                    "lib/libtorch_cpu.so",
                ]
            );
            assert!(elf::needed(&folder.join("lib/libtorch.so")).unwrap().contains(&"libtorch_cpu.so".to_owned()));
            let beside: Vec<_> = fs::read_dir(self.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(beside, [FOLDER]);
        }
    }

    /// Copies from a folder; fails at the wheel named `fails`, having written half of it.
    struct Folder<'a> {
        fixture: &'a Fixture,
        fails: Option<&'a str>,
        fetched: RefCell<Vec<String>>,
    }

    impl<'a> Folder<'a> {
        fn new(fixture: &'a Fixture, fails: Option<&'a str>) -> Self {
            Self { fixture, fails, fetched: RefCell::default() }
        }
    }

    impl Fetch for Folder<'_> {
        fn fetch(&self, pin: &Pin, to: &Path, _scratch: &Path) -> Result<()> {
            self.fetched.borrow_mut().push(pin.name.clone());
            for entry in fs::read_dir(self.fixture.folder.path().join("wheels"))? {
                let path = entry?.path();
                if hash::of_file(&path)? == pin.sha256 {
                    let bytes = fs::read(&path)?;
                    let cut = self.fails == Some(pin.name.as_str());
                    fs::write(to.join(path.file_name().unwrap()), &bytes[..bytes.len() / if cut { 2 } else { 1 }])?;
                    ensure!(!cut, "interrupted");
                }
            }
            Ok(())
        }
    }

    #[test]
    fn installs_what_libtorch_cpu_needs() {
        let fixture = Fixture::new();
        fixture.run(&fixture.pip()).unwrap();
        fixture.assert_whole();
    }

    #[test]
    fn an_interrupted_download_is_resumed() {
        let fixture = Fixture::new();
        assert!(fixture.run(&Folder::new(&fixture, Some("nvidia-cuda-runtime"))).is_err());
        assert!(!fixture.root().join(FOLDER).exists());
        let again = Folder::new(&fixture, None);
        fixture.run(&again).unwrap();
        fixture.assert_whole();
        assert_eq!(*again.fetched.borrow(), ["nvidia-cuda-runtime"]);
    }

    #[test]
    fn a_cut_wheel_and_a_half_unpacked_tree_are_repaired() {
        let fixture = Fixture::new();
        let staging = fixture.root().join(".libtorch.partial");
        for (path, content) in [
            ("wheels/torch-2.11.0/torch-2.11.0-cp311-cp311-manylinux_2_28_x86_64.whl", "half"),
            ("tree/lib/libtorch_cpu.so", "half"),
            ("tree/lib/libforeign.so", "from another release"),
            ("scratch/pip-unpack/torch.whl", "half"),
            ("replaced/stamp.json", "{}"),
            ("../.libtorch/lib/libtorch_cpu.so", "without a stamp"),
        ] {
            let path = staging.join(path);
            fs::create_dir_all(staging.join("x")).unwrap();
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        fixture.run(&fixture.pip()).unwrap();
        fixture.assert_whole();
    }

    #[test]
    fn killed_between_the_two_moves() {
        let fixture = Fixture::new();
        fixture.run(&Folder::new(&fixture, None)).unwrap();
        let staging = fixture.root().join(".libtorch.partial");
        fs::create_dir(&staging).unwrap();
        fs::rename(fixture.root().join(FOLDER), staging.join("replaced")).unwrap();
        fixture.run(&Folder::new(&fixture, None)).unwrap();
        fixture.assert_whole();
    }

    #[test]
    fn what_pip_cannot_find_is_an_error() {
        let mut fixture = Fixture::new();
        fixture.pins[0].version = "2.12.0".to_owned();
        let error = fixture.run(&fixture.pip()).unwrap_err().to_string();
        assert!(error.contains("torch-2.12.0 was not downloaded"), "{error}");
        assert!(!fixture.root().join(FOLDER).exists());
    }

    #[test]
    fn the_users_libtorch_wins() {
        let root = Path::new("/project");
        let choose = |libtorch: Option<&str>, pytorch| Source::choose(root, libtorch.map(PathBuf::from), pytorch);
        assert_eq!(choose(None, false), Source::Installed);
        assert_eq!(choose(Some("/project/.libtorch"), false), Source::Installed);
        assert_eq!(choose(Some("/opt/libtorch"), false), Source::Variable("/opt/libtorch".into()));
        assert_eq!(choose(Some("/project/.libtorch"), true), Source::PyTorch);
    }

    #[test]
    fn a_libtorch_of_the_user_is_checked() {
        let folder = tempfile::tempdir().unwrap();
        let source = Source::Variable(folder.path().to_owned());
        assert!(find(folder.path(), &source).is_err());
        for name in ["lib/libtorch_cpu.so", "include/torch/csrc/api/include/torch/torch.h"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        assert_eq!(find(folder.path(), &source).unwrap().version, None);
        fs::write(folder.path().join("version.py"), "__version__ = '2.11.0+cu130'\n").unwrap();
        assert_eq!(find(folder.path(), &source).unwrap().version.unwrap(), "2.11.0+cu130");
        fs::write(folder.path().join("build-version"), "2.10.0+cpu\n").unwrap();
        let error = find(folder.path(), &source).err().unwrap().to_string();
        assert!(error.contains("is libtorch 2.10.0+cpu, but 2.11.0 is needed"), "{error}");
    }

    #[test]
    fn places_of_files() {
        assert_eq!(header("torch/include/ATen/ATen.h", Flavour::Cpu).unwrap(), "include/ATen/ATen.h");
        assert_eq!(header("nvidia/cu13/include/cuda.h", Flavour::Cuda).unwrap(), "include/cuda.h");
        assert_eq!(header("nvidia/cu13/include/cuda.h", Flavour::Cpu), None);
        assert_eq!(header("torch/include/../../../outside.h", Flavour::Cpu), None);
        assert_eq!(library("torch/lib/libgomp.so.1"), Some("libgomp.so.1"));
        assert_eq!(library("torch.libs/libgomp-a34b3233.so.1.0.0"), Some("libgomp-a34b3233.so.1.0.0"));
        assert_eq!(library("nvidia/cudnn/lib/libcudnn.so.9"), Some("libcudnn.so.9"));
        for other in ["torch/lib/libtorch_python.so", "torch/_C.so", "torch/lib/sub/a.so", "nvidia/nccl/lib/a.txt"] {
            assert_eq!(library(other), None);
        }
    }

    #[test]
    fn too_little_space_is_an_error() {
        let error = ensure_space(Path::new("/disk"), 1 << 30, 2 << 30).unwrap_err().to_string();
        assert!(error.contains("1.00 GiB free, 2.00 GiB are needed"), "{error}");
        ensure_space(Path::new("/disk"), 2 << 30, 2 << 30).unwrap();
    }

    #[test]
    fn a_full_disk_is_named() {
        let error = anyhow::Error::from(io::Error::from(io::ErrorKind::StorageFull)).context("cannot write a");
        assert!(disk_full(error).to_string().starts_with("the disk is full: cannot write a"));
        assert_eq!(disk_full(anyhow!("other")).to_string(), "other");
    }
}
