//! Maps of characters, which normalise what SentencePiece gets: a trie in an array, and the texts that its leaves point to.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokenizers::normalizers::Precompiled;

/// Reads a map.
pub(super) fn read(bytes: &[u8]) -> Result<Precompiled, String> {
    check(bytes)?;
    Precompiled::from(bytes).map_err(|error| format!("the map of characters is damaged: {error}"))
}

/// Checks a map of `tokenizer.json`.
pub(super) fn check_base64(map: &Value) -> Result<(), String> {
    let map = map.as_str().ok_or("the map of characters is not a string")?;
    let bytes = STANDARD.decode(map).map_err(|error| format!("the map of characters is not base64: {error}"))?;
    check(&bytes)
}

/// Checks that no text leads out of a map: whoever looks a character up takes that for granted.
fn check(bytes: &[u8]) -> Result<(), String> {
    let wrong = |what: &str| Err(format!("the map of characters is damaged: {what}"));
    let Some((size, rest)) = bytes.split_first_chunk() else { return wrong("it has no size") };
    let size = u32::from_le_bytes(*size) as usize / 4 * 4;
    let Some((units, texts)) = rest.split_at_checked(size) else { return wrong("it ends within its trie") };
    let Ok(texts) = std::str::from_utf8(texts) else { return wrong("its texts are not UTF-8") };
    let units: Vec<Unit> = units.as_chunks().0.iter().map(|unit| Unit(u32::from_le_bytes(*unit))).collect();
    let Some(root) = units.first() else { return wrong("its trie is empty") };

    let mut is_known = vec![false; units.len()];
    let mut bases = vec![root.offset()];
    while let Some(base) = bases.pop() {
        // Any byte may come next.
        if base | 0xff >= units.len() {
            return wrong("its trie points out of itself");
        }
        for byte in 1..=0xff {
            let place = base ^ byte;
            if units[place].label() != byte || std::mem::replace(&mut is_known[place], true) {
                continue;
            }
            let base = place ^ units[place].offset();
            if units[place].has_leaf() {
                match units.get(base) {
                    Some(leaf) if texts.is_char_boundary(leaf.value()) => {}
                    _ => return wrong("its trie points out of its texts"),
                }
            }
            bases.push(base);
        }
    }
    Ok(())
}

/// A place of the array.
#[derive(Clone, Copy)]
struct Unit(u32);

impl Unit {
    fn has_leaf(self) -> bool {
        self.0 & 0x100 != 0
    }

    /// Where the text of a leaf is.
    fn value(self) -> usize {
        (self.0 & 0x7fff_ffff) as usize
    }

    /// The byte that leads here; none does to a leaf.
    fn label(self) -> usize {
        (self.0 & 0x8000_00ff) as usize
    }

    /// From here to what comes next.
    fn offset(self) -> usize {
        (self.0 as usize >> 10) << ((self.0 & 0x200) >> 6)
    }
}
