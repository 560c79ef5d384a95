use std::path::PathBuf;

/// Why a checkpoint could not be had from the hub.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// Neither a folder that exists nor a name that a repository can have.
    #[error("`{id}` is neither a folder nor a repository's name: {why}")]
    InvalidId {
        /// What was asked for.
        id: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The hub asks who is there, or does not let them in (401, 403).
    #[error(
        "{repo}: the hub refuses access ({status}); if it is private or gated, ask for access on its page and set \
         HF_TOKEN to a token that may read it, and if not, check its name"
    )]
    Unauthorized {
        /// The repository.
        repo: String,
        /// The status of HTTP.
        status: u16,
    },
    /// There is no such repository.
    #[error("{repo}: the hub has no repository of that name")]
    NoRepository {
        /// The repository.
        repo: String,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{repo}: has no revision `{revision}`")]
    NoRevision {
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
    },
    /// The revision has no such file.
    #[error("{repo}: has no file {file}")]
    NoFile {
        /// The repository.
        repo: String,
        /// The file's path in it.
        file: String,
    },
    /// The hub has answered 429 until the attempts were used up.
    #[error("{repo}: the hub asks for fewer requests (429); try again later, or with a token in HF_TOKEN")]
    TooManyRequests {
        /// The repository.
        repo: String,
    },
    /// The hub has failed until the attempts were used up.
    #[error("{repo}: the hub answers {status}; try again later")]
    Server {
        /// The repository.
        repo: String,
        /// The status of HTTP.
        status: u16,
    },
    /// No connection, or one that broke until the attempts were used up.
    #[error("{repo}: no connection to the hub: {message}; with HF_HUB_OFFLINE=1 only what is in the cache is used")]
    Network {
        /// The repository.
        repo: String,
        /// What the client says.
        message: String,
    },
    /// What came is not what the hub announced; it was thrown away.
    #[error("{file}: what came has the hash {found}, announced was {expected}; nothing of it was kept")]
    Hash {
        /// The file's path in the repository.
        file: String,
        /// The announced hash.
        expected: String,
        /// That of the content.
        found: String,
    },
    /// Offline, and the cache does not have it.
    #[error("{repo}, revision {revision}: is not in the cache {}, and the hub is not asked (HF_HUB_OFFLINE)", cache.display())]
    Offline {
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
        /// The cache's folder.
        cache: PathBuf,
    },
    /// An answer that no hub gives: without what it has to say, or with names that lead out of the cache.
    #[error("{repo}: the hub's answer cannot be used: {message}")]
    Answer {
        /// The repository.
        repo: String,
        /// What is wrong with it.
        message: String,
    },
}
