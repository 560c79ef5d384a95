//! Checkpoints of the Hugging Face hub, in the cache that Python uses too.
//!
//! The `hf-hub` crate asks the hub what a repository holds. The transfer of files is ours, over the HTTP client that the
//! crate uses: it goes on where it was cut, and takes nothing whose hash is not the one announced.

mod attempts;
mod cache;
mod environment;
mod error;
mod name;
mod suggestion;
mod transfer;
mod wanted;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use hf_hub::{HFClientSync, HFError};

pub use attempts::Attempts;
use attempts::Failure;
use cache::RepoCache;
use environment::Environment;
pub use error::HubError;
pub use name::RepoId;
use name::{is_hash, stays_below};
use transfer::{Transfer, network};

use crate::{Error, Result, config};

/// The revision where none is given.
pub const MAIN: &str = "main";

/// What a download tells as it goes on.
pub trait Progress: Send + Sync {
    /// `file` has `done` of its `total` bytes; all of them at once where the cache had it.
    fn at(&self, file: &str, done: u64, total: u64);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn at(&self, _: &str, _: u64, _: u64) {}
}

/// How the hub is reached. What is not set comes from the environment, by the names and in the order that Python's
/// `huggingface_hub` has them. An empty variable counts as none; `~` and variables in paths are replaced.
#[derive(Clone)]
pub struct Hub {
    /// The cache's folder: `HF_HUB_CACHE`, or `HUGGINGFACE_HUB_CACHE`, or `hub` in `HF_HOME`, which is `huggingface` in
    /// `XDG_CACHE_HOME` or `~/.cache` where it is not set.
    pub cache: PathBuf,
    /// The address: `HF_ENDPOINT`, or `https://huggingface.co`.
    pub endpoint: String,
    /// Who asks: `HF_TOKEN`, or `HUGGING_FACE_HUB_TOKEN`, or the contents of the file `HF_TOKEN_PATH`, or of `token` in
    /// `HF_HOME`; nobody where `HF_HUB_DISABLE_IMPLICIT_TOKEN` says so. It is sent to the endpoint and to no other host.
    pub token: Option<String>,
    /// Whether the hub is never asked: `HF_HUB_OFFLINE`, or where that is not set, `TRANSFORMERS_OFFLINE`.
    pub offline: bool,
    /// How often a request is tried.
    pub attempts: Attempts,
    /// Who is told how far a download is.
    pub progress: Arc<dyn Progress>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The token is a secret.
        let (cache, endpoint, offline) = (&self.cache, &self.endpoint, self.offline);
        f.debug_struct("Hub")
            .field("cache", cache)
            .field("endpoint", endpoint)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &offline)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

impl Default for Hub {
    fn default() -> Self {
        Self::from_env()
    }
}

impl Hub {
    /// What the environment says.
    pub fn from_env() -> Self {
        let environment = Environment::of_process();
        Self {
            cache: environment.cache(),
            endpoint: environment.endpoint(),
            token: environment.token(),
            offline: environment.offline().is_some(),
            attempts: Attempts::default(),
            progress: Arc::new(Silent),
        }
    }

    /// The folder with what loading needs of a checkpoint: configuration, weights, tokenizer.
    ///
    /// `source` is a folder, which is itself, or the name of a repository, whose `revision` (a branch, a tag or a commit;
    /// [`MAIN`] where it is `None`) is fetched as far as the cache does not have it. With a `subfolder`, the files in it
    /// are meant. Where the hub cannot be reached, what the cache has of the revision is used.
    ///
    /// # Errors
    /// [`Error::Hub`] with what went wrong, [`Error::Io`] where the cache cannot be written.
    pub fn checkpoint(&self, source: &str, revision: Option<&str>, subfolder: Option<&str>) -> Result<PathBuf> {
        let revision = revision.unwrap_or(MAIN);
        let within = |folder: &Path| folder.join(subfolder.unwrap_or_default());
        if Path::new(source).is_dir() {
            return Ok(within(Path::new(source)));
        }
        let repo = RepoId::parse(source).map_err(Error::hub)?;
        for (what, path) in [("revision", Some(revision)), ("subfolder", subfolder)] {
            if let Some(path) = path.filter(|path| !stays_below(path)) {
                return Err(Error::input(what, format!("`{path}` is no path within a repository")));
            }
        }
        let cached = RepoCache::new(&self.cache, &repo);
        let held = || {
            cached
                .commit(revision)
                .map(|commit| cached.snapshot(&commit))
                .filter(|folder| wanted::is_complete(&within(folder)))
        };
        if self.offline {
            return held().map(|folder| within(&folder)).ok_or_else(|| {
                let (repo, revision, cache) = (repo.to_string(), revision.to_owned(), self.cache.clone());
                Error::hub(HubError::Offline { repo, revision, cache, switch: Environment::of_process().offline() })
            });
        }
        let prefix = subfolder.map_or_else(String::new, |folder| format!("{}/", folder.trim_end_matches('/')));
        // A thread of its own: those that run asynchronous code must not wait for it.
        let fetch = || thread::scope(|scope| scope.spawn(|| self.fetch(&repo, revision, &prefix, &cached)).join());
        match fetch().unwrap_or_else(|_| Err(answer(&repo, "the client failed".into()))) {
            Ok(folder) => Ok(within(&folder)),
            Err(Error::Hub(error)) if matches!(*error, HubError::Network { .. } | HubError::Server { .. }) => {
                let Some(folder) = held() else { return Err(Error::Hub(error)) };
                tracing::warn!(%error, folder = %folder.display(), "the cache is used instead");
                Ok(within(&folder))
            }
            Err(error) => Err(error),
        }
    }

    fn fetch(&self, repo: &RepoId, revision: &str, prefix: &str, cache: &RepoCache) -> Result<PathBuf> {
        let endpoint = self.endpoint.trim_end_matches('/');
        let transfer = Transfer::new(repo, endpoint, self.token.as_deref(), self.attempts)?;
        let (commit, files) = self.listed(&transfer, revision, endpoint)?;
        let folder = cache.snapshot(&commit);
        let no_file = |file: &str| {
            let (repo, file, nearest) = (repo.to_string(), file.to_owned(), suggestion::files(file, &files));
            Error::hub(HubError::NoFile { repo, file, nearest })
        };
        let get = |file: &str| -> Result<()> {
            if !stays_below(file) {
                return Err(answer(repo, format!("a file is called `{file}`")));
            }
            if folder.join(file).is_file() {
                return Ok(());
            }
            if !files.iter().any(|listed| listed == file) {
                return Err(no_file(file));
            }
            let announced = transfer.announced(&commit, file)?;
            transfer.fetch((&commit, file), &announced, cache, &*self.progress)?;
            self.progress.at(file, announced.size, announced.size);
            Ok(())
        };
        let first = wanted::first(&files, prefix);
        if !files.contains(&format!("{prefix}config.json")) && !files.contains(&format!("{prefix}modules.json")) {
            return Err(no_file(&format!("{prefix}config.json")));
        }
        let whole = |prefix: &str, first: &[String]| -> Result<()> {
            first.iter().try_for_each(|file| get(file))?;
            for index in first.iter().filter(|file| file.ends_with(".index.json")) {
                for shard in wanted::shards(&config::read_json(&folder.join(index))?) {
                    get(&format!("{prefix}{shard}"))?;
                }
            }
            Ok(())
        };
        whole(prefix, &first)?;
        if first.contains(&format!("{prefix}modules.json")) {
            let listed: serde_json::Value = config::read_json(&folder.join(format!("{prefix}modules.json")))?;
            for module in wanted::modules(&listed) {
                let place = format!("{prefix}{module}");
                whole(&place, &wanted::first(&files, &place))?;
            }
        }
        cache.remember(revision, &commit)?;
        Ok(folder)
    }

    /// The commit that `revision` is, and the paths of its files.
    fn listed(&self, transfer: &Transfer<'_>, revision: &str, endpoint: &str) -> Result<(String, Vec<String>)> {
        let repo = transfer.repo;
        let client = HFClientSync::from_inner(self.client(endpoint).map_err(|error| network(repo, &error))?);
        let client = client.map_err(|error| network(repo, &error))?;
        let model = client.model(repo.owner(), repo.name());
        // Branches and tags only help whoever reads the error: that they cannot be had is none.
        let known = || {
            let refs = model.list_refs().send().ok();
            refs.into_iter().flat_map(|refs| [refs.branches, refs.tags]).flatten().map(|named| named.name).collect()
        };
        let info = self.attempts.run(|| {
            let asked = model.info().revision(revision).send();
            asked.map_err(|error| failure(transfer, revision, known, &error))
        })?;
        let commit = info.sha.filter(|commit| is_hash(commit));
        let commit = commit.ok_or_else(|| answer(repo, "it names no commit".into()))?;
        let files = info.siblings.into_iter().flatten().map(|file| file.rfilename).collect();
        Ok((commit, files))
    }

    fn client(&self, endpoint: &str) -> hf_hub::HFResult<hf_hub::HFClient> {
        // Attempts are counted here, for what the hub says of waits to be heard.
        let client = hf_hub::HFClient::builder().endpoint(endpoint).cache_dir(&self.cache).retry_max_attempts(0);
        match &self.token {
            Some(token) => client.token(token.as_str()).build(),
            None => client.build(),
        }
    }
}

fn answer(repo: &RepoId, message: String) -> Error {
    Error::hub(HubError::Answer { repo: repo.to_string(), message })
}

/// What an error of the crate means, and whether it may be otherwise next time.
fn failure(transfer: &Transfer<'_>, revision: &str, known: impl FnOnce() -> Vec<String>, error: &HFError) -> Failure {
    let repo = transfer.repo;
    let no_revision = || {
        let (repo, revision, known) = (repo.to_string(), revision.to_owned(), known());
        Failure::Final(Error::hub(HubError::NoRevision { repo, revision, known }))
    };
    match error {
        HFError::RevisionNotFound { context, .. } | HFError::RepoNotFound { context, .. } => {
            // The crate goes by what was asked; the hub says what there is not.
            let code = context.as_ref().and_then(|context| context.error_code.as_deref());
            if code == Some("RevisionNotFound") { no_revision() } else { transfer.refusal(404, code, None, None) }
        }
        HFError::AuthRequired { context } | HFError::Forbidden { context } => {
            transfer.refusal(context.status.as_u16(), context.error_code.as_deref(), None, None)
        }
        // The crate passes on waits of a 429 in seconds, and no others.
        HFError::RateLimited { retry_after: Some(wait), .. } => transfer.refusal(429, None, None, Some(*wait)),
        HFError::RateLimited { context, .. } | HFError::Http { context } => {
            let status = context.status.as_u16();
            let wait = if matches!(status, 429 | 503) { transfer.wait(&context.url) } else { None };
            transfer.refusal(status, context.error_code.as_deref(), None, wait)
        }
        HFError::Request { .. } => Failure::again(network(repo, error)),
        other => Failure::Final(answer(repo, other.to_string())),
    }
}
