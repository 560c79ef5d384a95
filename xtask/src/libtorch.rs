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
        Flavour::Cuda => 9_000_000_000,
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
