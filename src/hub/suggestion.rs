//! What may have been meant by a name that the hub does not have.

use tch_transformers_registry::nearest as typo;

use super::RepoId;
use crate::auto::{nearest, roster};

/// Checkpoints of the roster with a name that is close to that of `repo`, or with the same one of another owner.
pub(super) fn repositories(repo: &RepoId) -> Vec<String> {
    let asked = repo.to_string();
    let name = |id: &str| id.rsplit('/').next().unwrap_or_default().to_lowercase();
    let known = || roster().iter().map(|entry| entry.checkpoint).filter(|known| *known != asked);
    let closest = |asked: &str, part: &dyn Fn(&str) -> String| {
        let parts: Vec<_> = known().map(|known| (part(known), known)).collect();
        let found = typo(asked, parts.iter().map(|(part, _)| &part[..]))?;
        parts.iter().find(|(part, _)| part == found).map(|(_, known)| (*known).to_owned())
    };
    let whole = closest(&asked.to_lowercase(), &str::to_lowercase);
    whole.or_else(|| closest(&name(&asked), &name)).into_iter().collect()
}

/// Those of `files` that may be meant by `file`: of the same name in other folders, or with a path that is close.
pub(super) fn files(file: &str, files: &[String]) -> Vec<String> {
    let name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let mut found: Vec<_> = files.iter().filter(|known| name(known) == name(file)).take(3).cloned().collect();
    if found.is_empty() {
        found = nearest(file, files.iter().map(String::as_str));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_of_the_roster_are_suggested_where_they_are_close() {
        let suggested = |id: &str| repositories(&RepoId::parse(id).unwrap());
        for id in ["google-bert/bert-base-uncase", "google/bert-base-uncased", "bert-base-uncased", "Bert-Base-Uncased"]
        {
            assert_eq!(suggested(id), ["google-bert/bert-base-uncased"], "{id}");
        }
        for id in ["owner/other", "x", "google-bert/bert-base-uncased", "someone/my-own-model"] {
            assert!(suggested(id).is_empty(), "{id}: {:?}", suggested(id));
        }
    }

    #[test]
    fn files_in_other_folders_are_suggested_before_those_that_are_close() {
        let listed = ["config.json", "unet/config.json", "README.md", "model-00001-of-00002.safetensors"];
        let listed = listed.map(str::to_owned);
        assert_eq!(files("unett/config.json", &listed), ["config.json", "unet/config.json"]);
        assert_eq!(files("model-00001-of-00003.safetensors", &listed), ["model-00001-of-00002.safetensors"]);
        assert!(files("zzz", &listed).is_empty());
    }
}
