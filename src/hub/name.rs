//! Names that come from outside: of repositories, revisions and files.

use std::fmt;
use std::path::{Component, Path};

use super::HubError;

/// The name of a repository: `owner/name`, or `name` alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoId {
    owner: String,
    name: String,
}

/// Characters that owner and name have together at most.
const LONGEST: usize = 96;

impl RepoId {
    /// Reads a name by the hub's rules: letters, digits, `-`, `_` and `.`, neither first nor last a `-` or `.`, never `--`
    /// or `..`, at most 96 characters.
    ///
    /// # Errors
    /// [`HubError::InvalidId`] with the rule that it breaks.
    pub fn parse(id: &str) -> Result<Self, HubError> {
        let invalid = |why| Err(HubError::InvalidId { id: id.to_owned(), why });
        let (owner, name) = id.split_once('/').unwrap_or(("", id));
        if name.contains('/') {
            return invalid("a name has one `/` at most; is the folder missing?");
        }
        if name.is_empty() || id.starts_with('/') {
            return invalid("there is no name");
        }
        if id.len() > LONGEST {
            return invalid("it is longer than 96 characters");
        }
        for part in [owner, name] {
            if !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
                return invalid("only letters, digits, `-`, `_` and `.` may stand in it");
            }
            if part.contains("--") || part.contains("..") || part.starts_with(['-', '.']) || part.ends_with(['-', '.'])
            {
                return invalid("`-` and `.` may not stand first, last or twice");
            }
        }
        Ok(Self { owner: owner.to_owned(), name: name.to_owned() })
    }

    /// The owner; empty for the few repositories that have none.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The name without the owner.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The folder of the repository in the cache, as `huggingface_hub` names it.
    pub(super) fn folder(&self) -> String {
        match self.owner.is_empty() {
            true => format!("models--{}", self.name),
            false => format!("models--{}--{}", self.owner, self.name),
        }
    }
}

impl fmt::Display for RepoId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner.is_empty() {
            true => f.write_str(&self.name),
            false => write!(f, "{}/{}", self.owner, self.name),
        }
    }
}

/// Whether `path` names something below the folder that it is joined to.
pub(super) fn stays_below(path: &str) -> bool {
    let usual = |component| matches!(component, Component::Normal(_));
    !path.is_empty() && !path.contains(['\\', '\0', ':']) && Path::new(path).components().all(usual)
}

/// Whether `hash` is one: of a commit or of a file that git stores (40 digits), or SHA-256 (64 digits).
pub(super) fn is_hash(hash: &str) -> bool {
    matches!(hash.len(), 40 | 64) && hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rules_of_the_hub() {
        let repo = RepoId::parse("sentence-transformers/all-MiniLM-L6-v2").unwrap();
        assert_eq!((repo.owner(), repo.name()), ("sentence-transformers", "all-MiniLM-L6-v2"));
        assert_eq!(repo.folder(), "models--sentence-transformers--all-MiniLM-L6-v2");
        assert_eq!(RepoId::parse("gpt2").unwrap().folder(), "models--gpt2");
        let long = "x".repeat(97);
        for id in ["", "/", "a/", "/a", "a/b/c", "a b", "a/../b", "..", "-a", "a.", "a--b", "a/b\\c", "é", &long] {
            let error = RepoId::parse(id).unwrap_err();
            assert!(matches!(error, HubError::InvalidId { .. }), "{id}: {error}");
        }
    }

    #[test]
    fn paths_that_lead_elsewhere_are_told() {
        for path in ["config.json", "1_Pooling/config.json", ".gitattributes"] {
            assert!(stays_below(path), "{path}");
        }
        for path in ["", "..", "../x", "a/../../x", "/etc/passwd", "./x", "a\\..\\x", "C:x", "a\0b"] {
            assert!(!stays_below(path), "{path}");
        }
        assert!(is_hash(&"0a".repeat(20)) && is_hash(&"f".repeat(64)));
        assert!(!is_hash(&"g".repeat(40)) && !is_hash("../..") && !is_hash(&"a".repeat(41)));
    }
}
