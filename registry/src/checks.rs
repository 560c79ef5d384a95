//! The checks of a suite, and which of them an architecture needs.

use crate::{Category, nearest, pinned};

/// When a check applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Applies {
    /// To every architecture.
    Always,
    /// Where a class takes `attention_mask`.
    Masked,
    /// Where a class generates.
    Generating,
}

/// A device that a suite runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    /// Always there.
    Cpu,
    /// Where the machine has one.
    Cuda,
}

impl Device {
    /// `cpu` or `cuda`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Cuda => "cuda",
        }
    }
}

/// One property that a suite asserts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Check {
    /// Its name, an identifier.
    pub name: &'static str,
    /// When it applies.
    pub applies: Applies,
    /// Whether it is asserted case by case, each a test of its own.
    pub per_case: bool,
    /// The devices it is asserted on.
    pub devices: &'static [Device],
}

const CPU: &[Device] = &[Device::Cpu];
const CUDA: &[Device] = &[Device::Cuda];
const BOTH: &[Device] = &[Device::Cpu, Device::Cuda];

const fn check(name: &'static str, applies: Applies, per_case: bool, devices: &'static [Device]) -> Check {
    Check { name, applies, per_case, devices }
}

/// All checks, in the order in which they are reported.
pub const CHECKS: &[Check] = &[
    check("config", Applies::Always, false, CPU),
    check("switches", Applies::Always, false, CPU),
    check("weights", Applies::Always, false, CPU),
    check("forward", Applies::Always, true, BOTH),
    check("trace", Applies::Always, false, CPU),
    check("padding", Applies::Masked, false, CPU),
    check("batch", Applies::Always, false, CPU),
    check("generate", Applies::Generating, false, CPU),
    check("cache", Applies::Generating, false, CPU),
    check("gradients", Applies::Always, false, CPU),
    check("save", Applies::Always, false, CPU),
    check("dtype", Applies::Always, false, BOTH),
    check("device", Applies::Always, false, CUDA),
    check("bad_input", Applies::Always, false, CPU),
    check("mutation", Applies::Always, false, CPU),
];

impl Check {
    /// The check of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        CHECKS.iter().find(|check| check.name == name)
    }

    /// The check of that name, or what to say about it.
    pub fn parse(name: &str) -> Result<&'static Self, String> {
        Self::find(name).ok_or_else(|| {
            format!("unknown check `{name}`{}", nearest::hint(name, CHECKS.iter().map(|check| check.name)))
        })
    }

    /// Whether the check applies to an architecture with these classes.
    ///
    /// Encoders that can be turned into decoders (`BertLMHeadModel`) do not count as generating.
    pub fn applies_to<'a>(&self, category: Category, classes: impl IntoIterator<Item = &'a str>) -> bool {
        let mut classes = classes.into_iter().map(|name| pinned::facts(name, category));
        match self.applies {
            Applies::Always => true,
            Applies::Masked => classes.any(|class| class.mask),
            Applies::Generating => category != Category::EncoderOnly && classes.any(|class| class.generate),
        }
    }
}
