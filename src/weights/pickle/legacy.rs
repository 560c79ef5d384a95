//! The layout that torch wrote before version 1.6, and writes where it is told to: five pickles and the storages, one after
//! the other in one file.

use std::collections::HashMap;
use std::ops::Range;

use super::object::{Description, Object};

/// The number that files of this layout begin with, pickled: an integer of ten bytes.
const MAGIC: &[u8] = b"\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19.";

/// The version of the layout, which has never changed.
const VERSION: i64 = 1001;

/// The length of the pickle that holds the magic number, where `file` begins with it.
pub(super) fn magic(file: &[u8]) -> Option<usize> {
    let rest = match file {
        [0x80, 2 | 3, rest @ ..] => rest,
        // From protocol 4 on, a frame says how long the rest is.
        [0x80, 4 | 5, 0x95, 13, 0, 0, 0, 0, 0, 0, 0, rest @ ..] => rest,
        _ => return None,
    };
    rest.starts_with(MAGIC).then(|| file.len() - rest.len() + MAGIC.len())
}

/// What the file describes, and where the bytes of each storage stand in it; the magic number ends at `at`.
pub(super) fn read(file: &[u8], mut at: usize) -> Result<(Description<'_>, HashMap<String, Range<usize>>), String> {
    let mut next = || {
        let object = Object::read(file.get(at..).unwrap_or_default());
        let object = object.map_err(|why| format!("{why}, counted from byte {at} of the file"))?;
        at += object.length();
        Ok::<_, String>(object)
    };
    match next()?.number() {
        Some(VERSION) => {}
        Some(other) => return Err(format!("is in version {other} of torch's older layout; {VERSION} is read")),
        None => return Err("is not a valid file of torch.save: its version is no number".into()),
    }
    match next()?.flag("little_endian") {
        Some(true) => {}
        Some(false) => {
            return Err("was written by a machine of the other byte order; save it again on one of this".into());
        }
        None => return Err("is not a valid file of torch.save: it does not say in which byte order it is".into()),
    }
    let description = next()?.tensors()?;
    let keys = next()?.texts().ok_or("is not a valid file of torch.save: its list of storages is none")?;
    let places = places(file, at, &keys, &description)?;
    Ok((description, places))
}

/// Where the bytes of each storage stand: after the list of their `keys`, which ends at `at`, each after its number of
/// values.
fn places(
    file: &[u8],
    mut at: usize,
    keys: &[&str],
    description: &Description<'_>,
) -> Result<HashMap<String, Range<usize>>, String> {
    let widths: HashMap<&str, usize> =
        description.storages.iter().map(|storage| (storage.key, storage.kind.elt_size_in_bytes())).collect();
    let mut places = HashMap::new();
    for key in keys {
        let width = widths.get(key).ok_or_else(|| format!("has a storage {key:?} that no tensor lies in"))?;
        let cut = || format!("is cut short: the storage {key:?} reaches beyond its end");
        let (numel, _) = file.get(at..).and_then(|rest| rest.split_first_chunk::<8>()).ok_or_else(cut)?;
        let start = at + numel.len();
        let length = usize::try_from(i64::from_le_bytes(*numel)).ok().and_then(|numel| numel.checked_mul(*width));
        let end = length.and_then(|length| start.checked_add(length)).filter(|end| *end <= file.len());
        at = end.ok_or_else(cut)?;
        if places.insert((*key).to_owned(), start..at).is_some() {
            return Err(format!("is not a valid file of torch.save: it has two storages {key:?}"));
        }
    }
    match file.len() - at {
        0 => Ok(places),
        more => Err(format!("has {more} bytes after its last storage, which torch.save never writes")),
    }
}
