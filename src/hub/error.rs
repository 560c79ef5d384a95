use std::path::PathBuf;

use crate::auto::nearest;
use crate::error::nearest_hint;

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
        "{repo}: the hub refuses access ({status}); if it is private, set HF_TOKEN to a token that may read it, and if \
         not, check its name{}", nearest_hint(.nearest)
    )]
    Unauthorized {
        /// The repository.
        repo: String,
        /// The status of HTTP.
        status: u16,
        /// Repositories with names that are close.
        nearest: Vec<String>,
    },
    /// The repository lets in only those who have asked for it (401, 403).
    #[error("{repo}: is gated; ask for access at {page}, {}", entry(*.token))]
    Gated {
        /// The repository.
        repo: String,
        /// The address of its page.
        page: String,
        /// Whether a token was sent.
        token: bool,
    },
    /// There is no such repository.
    #[error("{repo}: the hub has no repository of that name{}", nearest_hint(.nearest))]
    NoRepository {
        /// The repository.
        repo: String,
        /// Repositories with names that are close.
        nearest: Vec<String>,
    },
    /// The repository has no such branch, tag or commit.
    #[error("{repo}: has no revision `{revision}`{}", names_hint(.revision, .known))]
    NoRevision {
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
        /// The repository's branches and tags; none where the hub does not tell them.
        known: Vec<String>,
    },
    /// The revision has no such file.
    #[error("{repo}: has no file {file}{}", nearest_hint(.nearest))]
    NoFile {
        /// The repository.
        repo: String,
        /// The file's path in it.
        file: String,
        /// Files of the revision with names that are close.
        nearest: Vec<String>,
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
    #[error(
        "{repo}, revision {revision}: is not in the cache {}, and the hub is not asked, as {} says",
        .cache.display(), .switch.unwrap_or("`offline` (`--offline` of the command)")
    )]
    Offline {
        /// The repository.
        repo: String,
        /// The revision.
        revision: String,
        /// The cache's folder.
        cache: PathBuf,
        /// The variable of the environment that says so; `None` where the caller does.
        switch: Option<&'static str>,
    },
    /// The cache cannot be written: no rights, no room.
    #[error("the cache {} cannot be written: {cause}; HF_HUB_CACHE names another folder", .cache.display())]
    Cache {
        /// The cache's folder.
        cache: PathBuf,
        /// What the system says.
        #[source]
        cause: std::io::Error,
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

/// What who comes with or without a token has to do.
fn entry(token: bool) -> &'static str {
    if token { "with the account of your token" } else { "and set HF_TOKEN to a token of the account that has it" }
}

/// The closest of the names that there are, or the first of them.
fn names_hint(name: &str, known: &[String]) -> String {
    /// More would hide the message.
    const MOST: usize = 8;
    let nearest = nearest(name, known.iter().map(String::as_str));
    match known.len() {
        0 => String::new(),
        _ if !nearest.is_empty() => nearest_hint(&nearest),
        count if count > MOST => format!("; it has {} and {} more", known[..MOST].join(", "), count - MOST),
        _ => format!("; it has {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_close_come_before_all_that_there_are() {
        let names = |count: usize| (0..count).map(|at| format!("v{at}.0")).collect::<Vec<_>>();
        assert_eq!(names_hint("main", &[]), "");
        assert_eq!(names_hint("mian", &["main".into(), "dev".into()]), "; did you mean main?");
        assert_eq!(names_hint("other", &names(2)), "; it has v0.0, v1.0");
        assert!(names_hint("other", &names(11)).ends_with("v7.0 and 3 more"));
    }
}
