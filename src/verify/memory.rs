//! How much memory a check took.

use std::fs;

/// The process's peak of resident memory from a moment on, where the system keeps it (Linux).
#[derive(Debug)]
pub struct Peak(bool);

impl Peak {
    /// Resets the peak.
    pub fn start() -> Self {
        Self(fs::write("/proc/self/clear_refs", "5").is_ok())
    }

    /// The peak since [`Peak::start`].
    pub fn bytes(&self) -> Option<u64> {
        let status = fs::read_to_string("/proc/self/status").ok().filter(|_| self.0)?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some(kibibytes * 1024)
    }
}
