use std::path::{Path, PathBuf};

use crate::hub::Hub;
use crate::{Error, Result};

/// Where a checkpoint is: a folder, or a repository on the hub.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    place: PathBuf,
    revision: Option<String>,
    subfolder: Option<PathBuf>,
    hub: Option<Hub>,
}

impl Checkpoint {
    /// The checkpoint in the folder `place`, or where there is none, in the hub's repository of that name (`owner/name`).
    pub fn new(place: impl Into<PathBuf>) -> Self {
        Self { place: place.into(), revision: None, subfolder: None, hub: None }
    }

    /// The branch, tag or commit of the repository; `main` unless it is set. A folder has none, and takes no notice.
    #[must_use]
    pub fn revision(self, revision: impl Into<String>) -> Self {
        Self { revision: Some(revision.into()), ..self }
    }

    /// Its files are in the folder `subfolder` below.
    #[must_use]
    pub fn subfolder(self, subfolder: impl Into<PathBuf>) -> Self {
        Self { subfolder: Some(subfolder.into()), ..self }
    }

    /// How the hub is reached; as the environment says unless it is set.
    #[must_use]
    pub fn hub(self, hub: Hub) -> Self {
        Self { hub: Some(hub), ..self }
    }

    /// The folder that holds `config.json` and the weights; what the cache lacks of a repository is fetched.
    ///
    /// # Errors
    /// [`Error::Io`] when there is no such folder, [`Error::Hub`] when the repository cannot be had.
    pub fn directory(&self) -> Result<PathBuf> {
        let directory = match (self.place.is_dir(), self.place.to_str(), &self.subfolder) {
            (false, Some(source), subfolder) => {
                let subfolder = subfolder.as_ref().map(|folder| folder.to_string_lossy());
                let hub = self.hub.clone().unwrap_or_default();
                hub.checkpoint(source, self.revision.as_deref(), subfolder.as_deref())?
            }
            (_, _, Some(subfolder)) => self.place.join(subfolder),
            (_, _, None) => self.place.clone(),
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
