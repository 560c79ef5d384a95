//! Small files, in memory.

use std::io::{self, ErrorKind, Read};
use std::path::Path;

use crate::{Error, Result};

/// The most bytes of a file beside weights. The largest `tokenizer.json` of the hub have 40 MB; some indices name every tensor
/// of a model.
const MOST_BYTES: u64 = 256 << 20;

/// The bytes of a file.
///
/// # Errors
/// [`Error::Io`], also for a file that is too large, which nothing may tell before it is read.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>> {
    let read = || {
        let mut bytes = Vec::new();
        std::fs::File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(io::Error::new(ErrorKind::FileTooLarge, format!("has more than {MOST_BYTES} bytes")));
        }
        Ok(bytes)
    };
    read().map_err(|error| Error::io(path, error))
}

/// The text of a file.
///
/// # Errors
/// As [`bytes`], and for one that is not UTF-8.
pub(crate) fn text(path: &Path) -> Result<String> {
    let wrong = |error: std::string::FromUtf8Error| {
        Error::io(path, io::Error::new(ErrorKind::InvalidData, format!("not UTF-8: {}", error.utf8_error())))
    };
    String::from_utf8(bytes(path)?).map_err(wrong)
}

/// The text of a file; `None` where there is no such file.
///
/// # Errors
/// As [`text`].
pub(crate) fn optional_text(path: &Path) -> Result<Option<String>> {
    match text(path) {
        Err(Error::Io { cause, .. }) if cause.kind() == ErrorKind::NotFound => Ok(None),
        text => text.map(Some),
    }
}
