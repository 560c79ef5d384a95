//! One file from the hub into the cache: what it is, its content, and whether that is what was announced.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::blocking::{Client, RequestBuilder, Response};
use reqwest::header::{CONTENT_LENGTH, CONTENT_RANGE, DATE, ETAG, HeaderMap, LOCATION, RANGE, RETRY_AFTER};
use reqwest::redirect::Policy;
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::attempts::{Attempts, Failure};
use super::cache::RepoCache;
use super::name::is_hash;
use super::{HubError, Progress, RepoId, suggestion};
use crate::{Error, Result};

/// Redirects within the hub that are followed, as after a repository was renamed.
const REDIRECTS: usize = 5;

/// Bytes that are read at a time.
const PIECE: usize = 1 << 16;

/// What the hub says of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announced {
    /// SHA-256 of the content, or git's hash of it.
    pub hash: String,
    /// Bytes.
    pub size: u64,
}

/// A file on its way into the cache.
#[derive(Clone, Copy)]
struct Content<'a> {
    /// Its path in the repository.
    file: &'a str,
    announced: &'a Announced,
    /// Where it grows.
    partial: &'a Path,
}

/// The way to the files of a repository.
pub(super) struct Transfer<'a> {
    pub repo: &'a RepoId,
    endpoint: &'a str,
    token: Option<&'a str>,
    attempts: Attempts,
    /// Follows redirects, and takes the token to no other host.
    following: Client,
    staying: Client,
}

impl<'a> Transfer<'a> {
    pub fn new(repo: &'a RepoId, endpoint: &'a str, token: Option<&'a str>, attempts: Attempts) -> Result<Self> {
        let agent = concat!("tch-transformers/", env!("CARGO_PKG_VERSION"));
        let client = |policy| {
            let built = Client::builder().user_agent(agent).timeout(attempts.silence).redirect(policy).build();
            built.map_err(|error| network(repo, &error))
        };
        let (following, staying) = (client(Policy::default())?, client(Policy::none())?);
        Ok(Self { repo, endpoint, token, attempts, following, staying })
    }

    /// What the hub says of `file` of `commit`.
    pub fn announced(&self, commit: &str, file: &str) -> Result<Announced> {
        self.attempts.run(|| {
            let mut url = self.url(commit, file);
            for _ in 0..REDIRECTS {
                let response = self.authorized(self.staying.head(&url)).send().map_err(|error| self.broken(&error))?;
                let headers = response.headers();
                let elsewhere = headers.get(LOCATION).and_then(|place| place.to_str().ok());
                match elsewhere {
                    // Redirects to where contents are stored say all there is to know.
                    Some(place) if response.status().is_redirection() && place.starts_with('/') => {
                        url = format!("{}{place}", self.endpoint);
                    }
                    _ if response.status().is_redirection() || response.status().is_success() => {
                        return announcement(headers).ok_or_else(|| {
                            Failure::Final(self.answer(format!("{file} comes without a hash, or without a size")))
                        });
                    }
                    _ => return Err(self.refused(&response, Some(file))),
                }
            }
            Err(Failure::Final(self.answer(format!("{file} is redirected again and again"))))
        })
    }

    /// Fetches what was announced of `file` of `commit` into the cache, unless it is there; what an earlier attempt has
    /// got of it is not fetched again.
    pub fn fetch(
        &self,
        (commit, file): (&str, &str),
        announced: &Announced,
        cache: &RepoCache,
        progress: &dyn Progress,
    ) -> Result<()> {
        let blob = cache.blob(&announced.hash);
        let _lock = cache.lock(&announced.hash)?;
        if !blob.is_file() {
            if let Some(folder) = blob.parent() {
                fs::create_dir_all(folder).map_err(|error| cache.unwritable(error))?;
            }
            let partial = blob.with_extension("incomplete");
            let earlier = length(&partial) > 0;
            let whole = || {
                let content = Content { file, announced, partial: &partial };
                self.whole(commit, &content, cache, progress)
            };
            let found = whole();
            match found.and_then(|()| verify(file, announced, &partial)) {
                // What was there before may have been of something else.
                Err(Error::Hub(error)) if earlier && matches!(*error, HubError::Hash { .. }) => {
                    whole()?;
                    verify(file, announced, &partial)?;
                }
                verified => verified?,
            }
            fs::rename(&partial, &blob).map_err(|error| cache.unwritable(error))?;
        }
        cache.link(commit, file, &announced.hash)
    }

    /// Requests until the file at `partial` is as long as announced.
    fn whole(&self, commit: &str, content: &Content<'_>, cache: &RepoCache, progress: &dyn Progress) -> Result<()> {
        let Content { file, announced, partial } = *content;
        let unwritable = |error| Failure::Final(cache.unwritable(error));
        let mut before = length(partial);
        self.attempts.run(|| {
            let mut output = OpenOptions::new().append(true).create(true).open(partial).map_err(unwritable)?;
            let start = length(partial);
            let advanced = start > before;
            before = start;
            progress.at(file, start, announced.size);
            if start == announced.size {
                return Ok(());
            }
            let request = self.authorized(self.following.get(self.url(commit, file)));
            let request = if start > 0 { request.header(RANGE, format!("bytes={start}-")) } else { request };
            let response = request.send().map_err(|error| self.broken(&error))?;
            match response.status() {
                StatusCode::PARTIAL_CONTENT if continues(response.headers(), start) => {}
                StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if start > 0 => {
                    // It starts from the beginning, so we do too.
                    output.set_len(0).map_err(unwritable)?;
                    if response.status() != StatusCode::OK {
                        return Err(Failure::again(self.answer(format!("{file} does not go on where it was cut"))));
                    }
                }
                status if status.is_success() => {}
                _ => return Err(self.refused(&response, Some(file))),
            }
            let cut = self.copy(response.take(announced.size - length(partial) + 1), &mut output, |bytes| {
                progress.at(file, bytes, announced.size)
            });
            let cut = cut.map_err(unwritable)?;
            output.sync_all().map_err(unwritable)?;
            match (cut, length(partial)) {
                (Ok(()), size) if size >= announced.size => Ok(()),
                (cut, size) => {
                    let message =
                        cut.err().map_or_else(|| "the answer ends too early".into(), |error| error.to_string());
                    tracing::debug!(file, size, announced.size, message, "the connection broke");
                    let error = Error::hub(HubError::Network { repo: self.repo.to_string(), message });
                    // Whoever gets on may try again as often as he likes.
                    Err(if advanced || size > start { Failure::Advanced(error) } else { Failure::again(error) })
                }
            }
        })
    }

    /// Appends all that comes: an error when it cannot be written, one within when no more comes.
    fn copy(&self, mut from: impl Read, to: &mut File, mut at: impl FnMut(u64)) -> io::Result<io::Result<()>> {
        let mut piece = vec![0; PIECE];
        let mut size = to.metadata()?.len();
        loop {
            match from.read(&mut piece) {
                Err(error) => return Ok(Err(error)),
                Ok(0) => return Ok(Ok(())),
                Ok(read) => {
                    to.write_all(&piece[..read])?;
                    size += read as u64;
                    at(size);
                }
            }
        }
    }

    fn url(&self, commit: &str, file: &str) -> String {
        let file: Vec<String> = file.split('/').map(encoded).collect();
        format!("{}/{}/resolve/{commit}/{}", self.endpoint, self.repo, file.join("/"))
    }

    fn authorized(&self, request: RequestBuilder) -> RequestBuilder {
        // Compressed contents would have another length than the one announced.
        let request = request.header("accept-encoding", "identity");
        match self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    fn broken(&self, error: &reqwest::Error) -> Failure {
        let is_final = error.is_builder();
        let error = network(self.repo, error);
        if is_final { Failure::Final(error) } else { Failure::again(error) }
    }

    fn answer(&self, message: String) -> Error {
        Error::hub(HubError::Answer { repo: self.repo.to_string(), message })
    }

    /// What a status that is no success means.
    fn refused(&self, response: &Response, file: Option<&str>) -> Failure {
        let code = response.headers().get("x-error-code").and_then(|value| value.to_str().ok());
        self.refusal(response.status().as_u16(), code, file, wait(response.headers()))
    }

    /// What an answer of `status` and the hub's own code for it mean, and whether it may be otherwise next time.
    pub fn refusal(&self, status: u16, code: Option<&str>, file: Option<&str>, wait: Option<Duration>) -> Failure {
        let repo = self.repo.to_string();
        match (status, code, file) {
            (401 | 403, Some("GatedRepo"), _) => {
                let page = format!("{}/{repo}", self.endpoint);
                Failure::Final(Error::hub(HubError::Gated { repo, page, token: self.token.is_some() }))
            }
            (401 | 403, ..) => {
                let nearest = suggestion::repositories(self.repo);
                Failure::Final(Error::hub(HubError::Unauthorized { repo, status, nearest }))
            }
            (404, code, Some(file)) if code != Some("RepoNotFound") => {
                Failure::Final(Error::hub(HubError::NoFile { repo, file: file.to_owned(), nearest: Vec::new() }))
            }
            (404, ..) => {
                let nearest = suggestion::repositories(self.repo);
                Failure::Final(Error::hub(HubError::NoRepository { repo, nearest }))
            }
            (429, ..) => Failure::After(Error::hub(HubError::TooManyRequests { repo }), wait),
            (408 | 500..=599, ..) => Failure::After(Error::hub(HubError::Server { repo, status }), wait),
            _ => Failure::Final(Error::hub(HubError::Server { repo, status })),
        }
    }

    /// How long the hub asks to wait before `url` is asked again.
    pub fn wait(&self, url: &str) -> Option<Duration> {
        wait(self.authorized(self.following.head(url)).send().ok()?.headers())
    }
}

pub(super) fn network(repo: &RepoId, error: &dyn std::error::Error) -> Error {
    let mut message = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        message = format!("{message}: {inner}");
        cause = inner.source();
    }
    Error::hub(HubError::Network { repo: repo.to_string(), message })
}

/// How long an answer asks to wait: seconds, or until a date. Of a date that is past we know nothing but that clocks differ.
fn wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let after = text(RETRY_AFTER)?;
    if let Ok(seconds) = after.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = |text| httpdate::parse_http_date(text).ok();
    // By the hub's own clock where it tells it.
    let now = text(DATE).and_then(date).unwrap_or_else(SystemTime::now);
    date(after)?.duration_since(now).ok()
}

fn announcement(headers: &HeaderMap) -> Option<Announced> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let hash = text("x-linked-etag").or(text(ETAG.as_str()))?;
    let hash = hash.trim_start_matches("W/").trim_matches('"').to_ascii_lowercase();
    let size = text("x-linked-size").or(text(CONTENT_LENGTH.as_str()))?.parse().ok()?;
    is_hash(&hash).then_some(Announced { hash, size })
}

/// Whether a part of a file begins at `start`.
fn continues(headers: &HeaderMap, start: u64) -> bool {
    let range = headers.get(CONTENT_RANGE).and_then(|range| range.to_str().ok());
    range.and_then(|range| range.strip_prefix("bytes ")?.split_once('-')?.0.parse().ok()) == Some(start)
}

/// `text` as a part of a path in an address.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

/// Checks the content at `path` against its hash; what differs is removed.
fn verify(file: &str, announced: &Announced, path: &Path) -> Result<()> {
    let failed = |error| Error::io(path, error);
    let content = File::open(path).map_err(failed)?;
    let found = match announced.hash.len() {
        64 => digest(content, Sha256::new()),
        // As git hashes a file.
        _ => digest(content, Sha1::new_with_prefix(format!("blob {}\0", length(path)))),
    };
    let found = found.map_err(failed)?;
    if found == announced.hash {
        return Ok(());
    }
    fs::remove_file(path).map_err(failed)?;
    Err(Error::hub(HubError::Hash { file: file.to_owned(), expected: announced.hash.clone(), found }))
}

fn digest(mut content: File, mut digest: impl Digest) -> io::Result<String> {
    let mut piece = vec![0; PIECE];
    loop {
        match content.read(&mut piece)? {
            0 => return Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()),
            read => digest.update(&piece[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;

    use super::*;

    #[test]
    fn waits_are_seconds_or_dates() {
        let asked = |after: &'static str, now: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(after));
            now.map(|now| headers.insert(DATE, HeaderValue::from_static(now)));
            wait(&headers)
        };
        let now = Some("Wed, 21 Oct 2015 07:28:00 GMT");
        assert_eq!(wait(&HeaderMap::new()), None);
        assert_eq!(asked("7", None), Some(Duration::from_secs(7)));
        assert_eq!(asked(" 0 ", now), Some(Duration::ZERO));
        assert_eq!(asked("Wed, 21 Oct 2015 07:29:30 GMT", now), Some(Duration::from_secs(90)));
        assert_eq!(asked("Wednesday, 21-Oct-15 07:28:05 GMT", now), Some(Duration::from_secs(5)));
        assert_eq!(asked("Wed, 21 Oct 2015 07:27:59 GMT", now), None);
        assert_eq!(asked("Wed, 21 Oct 2015 07:29:30 GMT", None), None);
        assert!(asked("Fri, 31 Dec 2100 23:59:59 GMT", Some("soon")) > Some(Duration::from_secs(1 << 20)));
        for nonsense in ["", "soon", "-1", "1.5", "7 s", "99999999999999999999", "Wed, 99 Oct 2015 07:28:00 GMT"] {
            assert_eq!(asked(nonsense, now), None, "{nonsense}");
        }
    }
}
