//! What variables say, by the names and in the order that Python's `huggingface_hub` has them.

use std::fs;
use std::path::{Path, PathBuf};

/// Where the hub is.
const ENDPOINT: &str = "https://huggingface.co";

/// Variables, by whatever tells their values. An empty one counts as none.
pub(super) struct Environment<F>(pub F);

impl Environment<fn(&str) -> Option<String>> {
    /// That of the process.
    pub fn of_process() -> Self {
        Self(|name| std::env::var(name).ok())
    }
}

impl<F: Fn(&str) -> Option<String>> Environment<F> {
    /// The first of `names` that is set.
    fn first(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| (self.0)(name).filter(|value| !value.is_empty()))
    }

    fn is_on(&self, name: &str) -> bool {
        let on = ["1", "on", "yes", "true"];
        self.first(&[name]).is_some_and(|value| on.contains(&value.to_ascii_lowercase().as_str()))
    }

    /// The folder of the user.
    fn user(&self) -> PathBuf {
        self.first(&["HOME"]).map(PathBuf::from).or_else(std::env::home_dir).unwrap_or_default()
    }

    /// A path with `~` at its start and variables (`$NAME`, `${NAME}`) in it; one that is not set stays as it is written.
    fn path(&self, text: &str) -> PathBuf {
        let home = text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let text = home.map_or_else(|| text.to_owned(), |rest| self.user().to_string_lossy().into_owned() + rest);
        let mut path = String::new();
        let mut rest = text.as_str();
        while let Some(at) = rest.find('$') {
            path.push_str(&rest[..at]);
            let after = &rest[at + 1..];
            let (name, length) = match after.strip_prefix('{').and_then(|inner| inner.split_once('}')) {
                Some((name, _)) => (name, name.len() + 2),
                None => {
                    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
                    let end = after.find(|c| !is_part(c)).unwrap_or(after.len());
                    (&after[..end], end)
                }
            };
            match (self.0)(name).filter(|_| !name.is_empty()) {
                Some(value) => path.push_str(&value),
                None => path.push_str(&rest[at..at + 1 + length]),
            }
            rest = &after[length..];
        }
        (path + rest).into()
    }

    /// The folder of all that belongs to the hub.
    fn home(&self) -> PathBuf {
        let of_caches = || self.first(&["XDG_CACHE_HOME"]).map_or_else(|| self.user().join(".cache"), PathBuf::from);
        let home = self.first(&["HF_HOME"]).map_or_else(|| of_caches().join("huggingface"), PathBuf::from);
        self.path(&home.to_string_lossy())
    }

    /// The cache's folder.
    pub fn cache(&self) -> PathBuf {
        let named = self.first(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"]);
        named.map_or_else(|| self.home().join("hub"), |cache| self.path(&cache))
    }

    /// The hub's address.
    pub fn endpoint(&self) -> String {
        let endpoint = self.first(&["HF_ENDPOINT"]);
        endpoint.as_deref().unwrap_or(ENDPOINT).trim_end_matches('/').to_owned()
    }

    /// Who asks.
    pub fn token(&self) -> Option<String> {
        let file = || match self.first(&["HF_TOKEN_PATH"]) {
            Some(path) => self.path(&path),
            None => self.home().join("token"),
        };
        let named = || self.first(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"]).and_then(|token| clean(&token));
        let stored = || clean(&read(&file())?);
        if self.is_on("HF_HUB_DISABLE_IMPLICIT_TOKEN") { None } else { named().or_else(stored) }
    }

    /// The variable that says that the hub is not asked. The second has a say where the first has none.
    pub fn offline(&self) -> Option<&'static str> {
        let said = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().find(|name| self.first(&[name]).is_some());
        said.filter(|name| self.is_on(name))
    }
}

fn read(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// A token without the ends of lines that come with it; `None` where nothing is left.
fn clean(token: &str) -> Option<String> {
    let token = token.replace(['\r', '\n'], "");
    Some(token.trim().to_owned()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Case {
        set: BTreeMap<String, String>,
        cache: PathBuf,
        endpoint: String,
        token: Option<String>,
        offline: bool,
    }

    #[test]
    fn variables_mean_what_they_mean_to_python() {
        let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/hub_environment.json")).unwrap();
        // Python has looked at a folder with two tokens.
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("token"), "stored").unwrap();
        fs::write(folder.path().join("named"), " named\n").unwrap();
        let cases: Vec<Case> = serde_json::from_str(&text.replace("FOLDER", folder.path().to_str().unwrap())).unwrap();
        assert!(cases.len() > 20);
        for Case { set, cache, endpoint, token, offline } in cases {
            let environment = Environment(|name: &str| set.get(name).cloned());
            assert_eq!(environment.cache(), cache, "{set:?}");
            assert_eq!(environment.endpoint(), endpoint, "{set:?}");
            assert_eq!(environment.token(), token, "{set:?}");
            assert_eq!(environment.offline().is_some(), offline, "{set:?}");
        }
    }

    #[test]
    fn the_switch_is_named_and_what_is_empty_is_not_set() {
        let environment = |set: &'static [(&'static str, &'static str)]| {
            Environment(move |asked: &str| {
                set.iter().find(|(name, _)| *name == asked).map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(
            environment(&[("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "1")]).offline(),
            Some("HF_HUB_OFFLINE")
        );
        assert_eq!(environment(&[("TRANSFORMERS_OFFLINE", "yes")]).offline(), Some("TRANSFORMERS_OFFLINE"));
        assert_eq!(environment(&[]).offline(), None);
        let empty = environment(&[("HF_HOME", ""), ("HF_HUB_CACHE", ""), ("HF_ENDPOINT", ""), ("HOME", "/home/her")]);
        assert_eq!(empty.cache(), Path::new("/home/her/.cache/huggingface/hub"));
        assert_eq!(empty.endpoint(), ENDPOINT);
    }
}
