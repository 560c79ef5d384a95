//! The zip archive around a pickle.

use std::collections::HashMap;
use std::io::Cursor;
use std::ops::Range;

use tch_transformers_native::MappedFile;
use zip::{CompressionMethod, ZipArchive};

/// How files of the older format begin: the first opcode of a pickle of protocol 2.
const PICKLE: &[u8] = &[0x80, 2];

/// How zip archives begin.
const ZIP: &[u8] = b"PK\x03\x04";

/// A mapped archive whose entries are stored as they are, so that each is a range of the file.
#[derive(Debug)]
pub(super) struct Archive {
    map: MappedFile,
    /// Ranges within the file, by name without the folder that all entries stand in.
    entries: HashMap<String, Range<usize>>,
    pickle: Range<usize>,
}

impl Archive {
    /// Reads the list of entries.
    pub(super) fn open(map: MappedFile) -> Result<Self, String> {
        if map.bytes().starts_with(PICKLE) {
            return Err(
                "is in the format that torch wrote before version 1.6, which is not read; convert it in Python: \
                        `torch.save(torch.load(path, weights_only=True), path)`, or load the model there and call \
                        `save_pretrained`"
                    .into(),
            );
        }
        if !map.bytes().starts_with(ZIP) {
            return Err("is not a file of torch.save: it does not begin as a zip archive".into());
        }
        let ranges = ranges(map.bytes()).map_err(|why| format!("is not a valid file of torch.save: {why}"))?;
        let mut folders = ranges.keys().filter_map(|name| name.strip_suffix("/data.pkl"));
        let folder = match (folders.next(), folders.next()) {
            (Some(folder), None) => format!("{folder}/"),
            (None, _) => return Err("is a zip archive without a data.pkl, so not a file of torch.save".into()),
            _ => return Err("is not a valid file of torch.save: it has two entries data.pkl".into()),
        };
        let inside =
            |(name, range): (&String, &Range<usize>)| Some((name.strip_prefix(&folder)?.to_owned(), range.clone()));
        let entries: HashMap<_, _> = ranges.iter().filter_map(inside).collect();
        let pickle = entries.get("data.pkl").cloned().unwrap_or_default();
        let archive = Self { map, entries, pickle };
        match archive.entries.get("byteorder").map(|range| archive.bytes(range)) {
            None | Some(Some(b"little")) => Ok(archive),
            _ => Err("was written by a machine of the other byte order; save it again on one of this".into()),
        }
    }

    /// The pickle that describes the tensors.
    pub(super) fn pickle(&self) -> &[u8] {
        self.bytes(&self.pickle).unwrap_or_default()
    }

    /// Where the bytes of the storage `key` stand.
    pub(super) fn storage(&self, key: &str) -> Option<Range<usize>> {
        self.entries.get(&format!("data/{key}")).cloned()
    }

    /// The file.
    pub(super) fn map(&self) -> &MappedFile {
        &self.map
    }

    /// The bytes of a range of the file.
    fn bytes(&self, range: &Range<usize>) -> Option<&[u8]> {
        self.map.bytes().get(range.clone())
    }
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
