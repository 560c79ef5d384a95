//! The zip archive around a pickle.

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;

use zip::{CompressionMethod, ZipArchive};

use super::object::{Description, Object};

/// How zip archives begin.
const ZIP: &[u8] = b"PK\x03\x04";

/// What the archive describes, and where the bytes of each storage stand in it: entries are stored as they are, so that
/// each is a range of the file.
pub(super) fn read(file: &[u8]) -> Result<(Description<'_>, HashMap<String, Range<usize>>), String> {
    if !file.starts_with(ZIP) {
        return Err(
            "is not a file of torch.save: it begins neither as a zip archive nor as torch's older layout".into()
        );
    }
    let ranges = ranges(file).map_err(|why| format!("is not a valid file of torch.save: {why}"))?;
    let mut folders = ranges.keys().filter_map(|name| name.strip_suffix("/data.pkl"));
    let folder = match (folders.next(), folders.next()) {
        (Some(folder), None) => format!("{folder}/"),
        (None, _) => return Err("is a zip archive without a data.pkl, so not a file of torch.save".into()),
        _ => return Err("is not a valid file of torch.save: it has two entries data.pkl".into()),
    };
    let bytes = |name: &str| file.get(ranges.get(&format!("{folder}{name}"))?.clone());
    if bytes("byteorder").is_some_and(|order| order != b"little") {
        return Err("was written by a machine of the other byte order; save it again on one of this".into());
    }
    let description = Object::read(bytes("data.pkl").unwrap_or_default())?.tensors()?;
    let storages = format!("{folder}data/");
    let place =
        |(name, range): (&String, &Range<usize>)| Some((name.strip_prefix(&storages)?.to_owned(), range.clone()));
    Ok((description, ranges.iter().filter_map(place).collect()))
}

/// The place of every entry's bytes.
///
/// An entry that is compressed or encrypted is refused: torch writes none, and so nothing is ever unpacked.
fn ranges(file: &[u8]) -> Result<HashMap<String, Range<usize>>, String> {
    let text = |error: zip::result::ZipError| error.to_string();
    let mut archive = ZipArchive::new(Cursor::new(file)).map_err(text)?;
    let mut ranges = HashMap::new();
    for at in 0..archive.len() {
        let entry = archive.by_index_raw(at).map_err(text)?;
        let name = entry.name().map_err(text)?.into_owned();
        let stored = entry.compression() == CompressionMethod::Stored && entry.size() == entry.compressed_size();
        if !stored || entry.encrypted() {
            return Err(format!("the entry {name:?} is compressed or encrypted, which torch.save never does"));
        }
        let range = entry.data_start().and_then(|start| {
            Some(usize::try_from(start).ok()?..usize::try_from(start.checked_add(entry.size())?).ok()?)
        });
        let range = range.filter(|range| range.end <= file.len());
        let range = range.ok_or_else(|| format!("the entry {name:?} reaches beyond the end of the file"))?;
        ranges.insert(name, range);
    }
    Ok(ranges)
}
