//! The wheels libtorch is taken from, each pinned to its hash.

use std::fmt;

use anyhow::{Context, Result, bail};

/// The release that `tch` 0.24 is built for.
pub const VERSION: &str = "2.11.0";

/// Any CPython would do: libtorch itself is the same in all of them.
pub const PYTHON: &str = "3.11";

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Flavour {
    Cpu,
    Cuda,
}

impl fmt::Display for Flavour {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    pub name: String,
    pub version: String,
    pub sha256: String,
}

impl Pin {
    /// As pip spells a requirement.
    pub fn requirement(&self) -> String {
        format!("{}=={} --hash=sha256:{}", self.name, self.version, self.sha256)
    }

    /// Name and version, as one word.
    pub fn id(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }
}

const CPU: [&str; 3] = ["torch", "nvidia-cuda-runtime", "nvidia-cuda-cupti"];

/// The wheels of `flavour` for a Linux machine of architecture `arch` (as `std::env::consts::ARCH` names it).
pub fn pins(arch: &str, flavour: Flavour) -> Result<Vec<Pin>> {
    let text = match arch {
        "x86_64" => include_str!("../wheels/x86_64.txt"),
        "aarch64" => include_str!("../wheels/aarch64.txt"),
        _ => bail!("PyPI has no libtorch {VERSION} for {arch}; install it yourself and set LIBTORCH to its folder"),
    };
    let pins = parse(text)?;
    Ok(pins.into_iter().filter(|pin| flavour == Flavour::Cuda || CPU.contains(&pin.name.as_str())).collect())
}

fn parse(text: &str) -> Result<Vec<Pin>> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .map(|line| {
            let (requirement, sha256) = line.split_once(" --hash=sha256:").context("a pin without a hash")?;
            let (name, version) = requirement.split_once("==").context("a pin without a version")?;
            Ok(Pin { name: name.to_owned(), version: version.to_owned(), sha256: sha256.to_owned() })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_platform_is_pinned() {
        for arch in ["x86_64", "aarch64"] {
            let cpu = pins(arch, Flavour::Cpu).unwrap();
            let cuda = pins(arch, Flavour::Cuda).unwrap();
            assert_eq!(cpu.iter().map(|pin| pin.name.as_str()).collect::<Vec<_>>(), CPU);
            assert_eq!(cpu[0].version, VERSION);
            assert!(cuda.len() > cpu.len() && cpu.iter().all(|pin| cuda.contains(pin)));
            assert!(cuda.iter().all(|pin| pin.sha256.len() == 64));
        }
        assert!(pins("riscv64", Flavour::Cpu).unwrap_err().to_string().contains("LIBTORCH"));
    }

    #[test]
    fn requirement_is_the_line_of_the_file() {
        let line = "torch==2.11.0 --hash=sha256:00ff";
        assert_eq!(parse(line).unwrap()[0].requirement(), line);
        assert!(parse("torch==2.11.0").is_err());
    }
}
