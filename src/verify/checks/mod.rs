//! The checks: one function each, from a case to an outcome.

mod bad_input;
mod cached;
mod configuration;
mod forward;
mod gradients;
mod ladder;
mod mutation;
mod padding;
mod stored;
mod switches;

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use tch::Device;

use super::{Outcome, Subject};
use crate::Result;
use crate::auto::Entry;

/// A property that a suite asserts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Check {
    /// Defaults equal Python's, field by field.
    Config,
    /// Every field of the configuration takes several values among the cases.
    Switches,
    /// Missing, unused and mis-shaped tensors are none, and noticed where there are some.
    Weights,
    /// Every output equals Python's.
    Forward,
    /// Every recorded intermediate equals Python's.
    Trace,
    /// Real tokens do not see padding.
    Padding,
    /// A row alone equals the row in its batch.
    Batch,
    /// Greedy decoding gives Python's ids.
    Generate,
    /// Tokens in chunks through a cache equal one pass.
    Cache,
    /// Gradients of every parameter equal Python's.
    Gradients,
    /// Saving and loading changes no bit.
    Save,
    /// Half precisions stay near the reference.
    Dtype,
    /// Another device stays near the CPU.
    Device,
    /// Bad input gets a typed error.
    BadInput,
    /// Damaged weights make `forward` fail.
    Mutation,
}

impl Check {
    /// All, in the order in which they run.
    pub const ALL: [Self; 15] = [
        Self::Config,
        Self::Switches,
        Self::Weights,
        Self::Forward,
        Self::Trace,
        Self::Padding,
        Self::Batch,
        Self::Generate,
        Self::Cache,
        Self::Gradients,
        Self::Save,
        Self::Dtype,
        Self::Device,
        Self::BadInput,
        Self::Mutation,
    ];

    /// Whether suites run it on `device`: most properties are proven once, on the CPU.
    pub fn runs_on(self, device: Device) -> bool {
        match device {
            Device::Cpu => self != Self::Device,
            _ => matches!(self, Self::Forward | Self::Dtype | Self::Device),
        }
    }

    /// Whether it looks at an architecture as a whole instead of at one case.
    pub fn is_of_architecture(self) -> bool {
        matches!(self, Self::Config | Self::Switches)
    }

    /// The name that entries and the command line use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Switches => "switches",
            Self::Weights => "weights",
            Self::Forward => "forward",
            Self::Trace => "trace",
            Self::Padding => "padding",
            Self::Batch => "batch",
            Self::Generate => "generate",
            Self::Cache => "cache",
            Self::Gradients => "gradients",
            Self::Save => "save",
            Self::Dtype => "dtype",
            Self::Device => "device",
            Self::BadInput => "bad_input",
            Self::Mutation => "mutation",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Check {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|check| check.name() == name)
            .ok_or_else(|| format!("no check `{name}`; there are {}", Self::ALL.map(Self::name).join(", ")))
    }
}

/// Runs a check on an architecture, whose cases lie in `home`.
pub(super) fn on_architecture(check: Check, entry: &'static Entry, home: &Path) -> Result<Outcome> {
    match check {
        Check::Config => configuration::config(entry, &home.join("defaults.json")),
        Check::Switches => switches::switches(entry, home),
        _ => Outcome::skipped("looks at a case, not at an architecture"),
    }
}

/// Runs a check on a case.
pub(super) fn on_case(check: Check, subject: &Subject) -> Result<Outcome> {
    match check {
        Check::Config | Check::Switches => Outcome::skipped("looks at an architecture, not at a case"),
        Check::Weights => stored::weights(subject),
        Check::Forward => forward::forward(subject),
        Check::Trace => forward::trace(subject),
        Check::Padding => padding::padding(subject),
        Check::Batch => padding::batch(subject),
        Check::Generate => cached::generate(subject),
        Check::Cache => cached::cache(subject),
        Check::Gradients => gradients::gradients(subject),
        Check::Save => stored::save(subject),
        Check::Dtype => ladder::dtype(subject),
        Check::Device => ladder::device(subject),
        Check::BadInput => bad_input::bad_input(subject),
        Check::Mutation => mutation::mutation(subject),
    }
}
