use std::path::{Path, PathBuf};

use crate::{Error, Result};

/// Where a checkpoint is: a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    place: PathBuf,
    subfolder: Option<PathBuf>,
}

impl Checkpoint {
    /// The checkpoint in the folder `place`.
    pub fn new(place: impl Into<PathBuf>) -> Self {
        Self { place: place.into(), subfolder: None }
    }

    /// Its files are in the folder `subfolder` below.
    #[must_use]
    pub fn subfolder(self, subfolder: impl Into<PathBuf>) -> Self {
        Self { subfolder: Some(subfolder.into()), ..self }
    }

    /// The folder that holds `config.json` and the weights.
    ///
    /// # Errors
    /// [`Error::Io`] when there is no such folder.
    pub fn directory(&self) -> Result<PathBuf> {
        let directory = match &self.subfolder {
            Some(subfolder) => self.place.join(subfolder),
            None => self.place.clone(),
        };
        match directory.is_dir() {
            true => Ok(directory),
            false => Err(Error::io(directory, std::io::ErrorKind::NotADirectory.into())),
        }
    }
}

impl From<&str> for Checkpoint {
    fn from(place: &str) -> Self {
        Self::new(place)
    }
}

impl From<String> for Checkpoint {
    fn from(place: String) -> Self {
        Self::new(place)
    }
}

impl From<&Path> for Checkpoint {
    fn from(place: &Path) -> Self {
        Self::new(place)
    }
}

impl From<PathBuf> for Checkpoint {
    fn from(place: PathBuf) -> Self {
        Self::new(place)
    }
}

impl From<&PathBuf> for Checkpoint {
    fn from(place: &PathBuf) -> Self {
        Self::new(place)
    }
}
