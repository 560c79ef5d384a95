//! Files of tokenizers, in memory.

use std::io::Read;
use std::path::Path;

use crate::{Error, Result};

/// The most bytes of a file. The largest `tokenizer.json` of the hub have 40 MB, the largest models 5 MB.
const MOST_BYTES: u64 = 256 << 20;

/// The largest id of a token: embeddings take signed numbers.
pub(super) const LARGEST_ID: u32 = i32::MAX as u32;

/// The bytes of a file that is there.
///
/// # Errors
/// [`Error::Io`], and [`Error::Tokenizer`] for a file that is too large, also one whose size nothing tells.
pub(super) fn bytes(path: &Path) -> Result<Vec<u8>> {
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes).map(|_| bytes)
    };
    let bytes = read().map_err(|error| Error::io(path, error))?;
    match bytes.len() as u64 > MOST_BYTES {
        true => Err(wrong(path, format!("has more than {MOST_BYTES} bytes, which no file of a tokenizer has"))),
        false => Ok(bytes),
    }
}

/// The text of a file that is there.
///
/// # Errors
/// As [`bytes`], and [`Error::Tokenizer`] for one that is not UTF-8.
pub(super) fn text(path: &Path) -> Result<String> {
    String::from_utf8(bytes(path)?).map_err(|error| wrong(path, format!("not UTF-8: {}", error.utf8_error())))
}

/// What is wrong with a file.
pub(super) fn wrong(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::Tokenizer(format!("{}: {error}", path.display()))
}
