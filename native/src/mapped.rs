use std::fs::File;
use std::io;
use std::path::Path;

use memmap2::Mmap;

/// A file mapped into memory for reading.
#[derive(Debug)]
pub struct MappedFile(Mmap);

impl MappedFile {
    /// Maps `path`.
    ///
    /// # Errors
    /// When the file cannot be opened or mapped.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: the mapping is read-only and private to this process. Another process that truncates the file
        // while it is mapped could still fault us; checkpoints are not edited in place, and every loader of
        // memory-mapped weights takes this risk.
        Ok(Self(unsafe { Mmap::map(&file) }?))
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}
