//! How the command reaches the hub, and how it shows downloads.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Args;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tch_transformers::auto::Checkpoint;
use tch_transformers::hub::{Hub, Progress};

/// Where a checkpoint comes from.
#[derive(Debug, Clone, Args)]
pub struct HubArguments {
    /// Folder of the model (config.json, weights, tokenizer), or its name on the hub: owner/name
    #[arg(long, value_name = "FOLDER|NAME")]
    pub model: String,
    /// Branch, tag or commit of the repository on the hub
    #[arg(long)]
    pub revision: Option<String>,
    /// Folder of the repository's files
    #[arg(long)]
    pub subfolder: Option<PathBuf>,
    /// Use what is in the cache, and do not ask the hub
    #[arg(long)]
    pub offline: bool,
    /// Address of the hub, instead of what HF_ENDPOINT says
    #[arg(long, value_name = "URL", value_parser = address)]
    pub endpoint: Option<String>,
    /// Folder of the cache, instead of what HF_HUB_CACHE or HF_HOME say
    #[arg(long, value_name = "FOLDER")]
    pub cache: Option<PathBuf>,
}

impl HubArguments {
    /// The checkpoint; downloads are drawn on the terminal.
    pub fn checkpoint(&self) -> Checkpoint {
        let mut hub = Hub { progress: Arc::new(Bars::default()), ..Hub::from_env() };
        hub.offline |= self.offline;
        if let Some(cache) = &self.cache {
            hub.cache.clone_from(cache);
        }
        if let Some(endpoint) = &self.endpoint {
            hub.endpoint.clone_from(endpoint);
        }
        let checkpoint = Checkpoint::new(&self.model).hub(hub);
        let checkpoint = self.subfolder.iter().fold(checkpoint, |checkpoint, folder| checkpoint.subfolder(folder));
        self.revision.iter().fold(checkpoint, |checkpoint, revision| checkpoint.revision(revision))
    }
}

fn address(text: &str) -> Result<String, String> {
    let is_one = ["http://", "https://"].iter().any(|scheme| text.len() > scheme.len() && text.starts_with(scheme));
    if is_one { Ok(text.to_owned()) } else { Err("it starts neither with https:// nor with http://".into()) }
}

/// A bar for each file that is under way; nothing where standard error is no terminal.
#[derive(Default)]
struct Bars {
    all: MultiProgress,
    files: Mutex<BTreeMap<String, ProgressBar>>,
}

impl Progress for Bars {
    fn at(&self, file: &str, done: u64, total: u64) {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        let bar = files.entry(file.to_owned()).or_insert_with(|| {
            let bar = self.all.add(ProgressBar::new(total).with_message(file.to_owned()));
            let line = "{msg:<32!} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            bar.with_style(ProgressStyle::with_template(line).unwrap_or_else(|_| ProgressStyle::default_bar()))
        });
        bar.set_position(done);
        if done >= total {
            bar.finish_and_clear();
        }
    }
}
