//! The shared libraries that a shared library asks for.

use std::fs::File;
use std::path::Path;

use anyhow::{Context, Result};
use elf::ElfStream;
use elf::abi::DT_NEEDED;
use elf::endian::AnyEndian;

pub fn needed(path: &Path) -> Result<Vec<String>> {
    let read = || -> Result<Vec<String>> {
        let mut library = ElfStream::<AnyEndian, _>::open_stream(File::open(path)?)?;
        let offsets: Vec<usize> = library
            .dynamic()?
            .into_iter()
            .flat_map(|table| table.iter().filter(|entry| entry.d_tag == DT_NEEDED).collect::<Vec<_>>())
            .map(|entry| Ok(usize::try_from(entry.d_val())?))
            .collect::<Result<_>>()?;
        let (_, strings) = library.dynamic_symbol_table()?.context("no dynamic symbols")?;
        offsets.into_iter().map(|offset| Ok(strings.get(offset)?.to_owned())).collect()
    };
    read().with_context(|| format!("{} is no shared library", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_libraries() {
        let folder = tempfile::tempdir().unwrap();
        crate::testing::shared_library(&folder.path().join("libinner.so"), &[]);
        let outer = folder.path().join("libouter.so");
        crate::testing::shared_library(&outer, &["libinner.so"]);
        assert!(needed(&outer).unwrap().contains(&"libinner.so".to_owned()));
        std::fs::write(&outer, "text").unwrap();
        assert!(needed(&outer).unwrap_err().to_string().contains("libouter.so"));
    }
}
