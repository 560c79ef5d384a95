//! A stand-in of the hub's HTTP API on the loopback interface, with faults on demand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use sha1::Sha1;
use sha2::{Digest, Sha256};

/// What is asked, as it arrived.
#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    /// First byte that is wanted.
    pub from: Option<usize>,
    pub token: Option<String>,
    /// Whether the storage of contents was asked, and not the hub.
    pub storage: bool,
}

/// What goes wrong with an answer.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Another status, with further headers.
    Status(u16, &'static [(&'static str, &'static str)]),
    /// The connection is closed after so many bytes of content.
    Cut(usize),
    /// One byte is another.
    Corrupt,
    /// After so many bytes of content nothing comes any more, and the connection stays.
    Stall(usize),
    /// More content than was announced.
    Endless,
    /// The whole content although a part was asked for.
    Whole,
}

/// A repository, and what was asked of it.
pub struct Repo {
    pub id: &'static str,
    pub commit: String,
    pub files: BTreeMap<String, Vec<u8>>,
    /// Who may ask; everybody where it is `None`.
    pub token: Option<&'static str>,
    /// Contents that are announced by SHA-256 and kept in another place, as large files are.
    pub large: Vec<&'static str>,
    /// Names that the hub lists besides those of `files`.
    pub listed: Vec<&'static str>,
}

struct Shared {
    repo: Repo,
    storage: String,
    /// Methods and parts of paths, and what goes wrong how often.
    faults: Mutex<Vec<(&'static str, &'static str, Fault, usize)>>,
    requests: Mutex<Vec<Request>>,
}

/// The stand-in; it serves until the process ends.
pub struct StandIn {
    pub endpoint: String,
    shared: Arc<Shared>,
}

impl StandIn {
    pub fn serve(repo: Repo) -> Self {
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let address = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (hub, storage) = (listen(), listen());
        let endpoint = address(&hub);
        let (faults, requests) = (Mutex::default(), Mutex::default());
        let shared = Arc::new(Shared { repo, storage: address(&storage), faults, requests });
        for (listener, is_storage) in [(hub, false), (storage, true)] {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let shared = Arc::clone(&shared);
                    thread::spawn(move || answer(&shared, stream, is_storage));
                }
            });
        }
        Self { endpoint, shared }
    }

    /// The next `times` answers to `method` of paths that contain `part` go wrong.
    pub fn fail(&self, method: &'static str, part: &'static str, fault: Fault, times: usize) {
        self.shared.faults.lock().unwrap().push((method, part, fault, times));
    }

    /// All requests since the last call.
    pub fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut *self.shared.requests.lock().unwrap())
    }
}

/// As git hashes a file.
fn git_hash(content: &[u8]) -> String {
    hex(&Sha1::new_with_prefix(format!("blob {}\0", content.len())).chain_update(content).finalize())
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn answer(shared: &Shared, stream: TcpStream, storage: bool) {
    let Some(request) = read(&stream, storage) else { return };
    shared.requests.lock().unwrap().push(request.clone());
    let fault = shared.faults.lock().unwrap().iter_mut().find_map(|(method, part, fault, times)| {
        let hit = *times > 0 && *method == request.method && request.path.contains(*part);
        *times -= usize::from(hit);
        hit.then(|| fault.clone())
    });
    let reply = match &fault {
        Some(Fault::Status(status, headers)) => {
            let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            Reply { status: *status, headers, content: b"{\"error\":\"as asked\"}".to_vec() }
        }
        fault => reply(shared, &request, matches!(fault, Some(Fault::Whole))),
    };
    let _ = reply.send(stream, &request, fault.as_ref());
}

fn read(stream: &TcpStream, storage: bool) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let mut words = first.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut request = Request { method, path, from: None, token: None, storage };
    for line in lines.map_while(Result::ok).take_while(|line| !line.is_empty()) {
        let (name, value) = line.split_once(": ")?;
        match name.to_ascii_lowercase().as_str() {
            "range" => request.from = value.strip_prefix("bytes=")?.split('-').next()?.parse().ok(),
            "authorization" => request.token = value.strip_prefix("Bearer ").map(str::to_owned),
            _ => {}
        }
    }
    Some(request)
}

#[derive(Default)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    content: Vec<u8>,
}

impl Reply {
    fn error(status: u16, code: &str) -> Self {
        Self { status, headers: vec![("X-Error-Code".into(), code.into())], content: b"{\"error\":\"no\"}".to_vec() }
    }

    fn send(mut self, mut stream: TcpStream, request: &Request, fault: Option<&Fault>) -> std::io::Result<()> {
        if matches!(fault, Some(Fault::Corrupt)) {
            self.content[0] ^= 1;
        }
        if matches!(fault, Some(Fault::Endless)) {
            self.content.extend(vec![7; 1 << 20]);
        }
        let mut head = format!("HTTP/1.1 {} Answer\r\nConnection: close\r\n", self.status);
        let _ = write!(head, "Content-Length: {}\r\n", self.content.len());
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        if let Some(Fault::Stall(bytes)) = fault {
            stream.write_all(&self.content[..*bytes])?;
            stream.flush()?;
            thread::sleep(std::time::Duration::from_secs(3));
            return Ok(());
        }
        if request.method != "HEAD" {
            let sent = if let Some(Fault::Cut(bytes)) = fault { *bytes } else { self.content.len() };
            stream.write_all(&self.content[..sent.min(self.content.len())])?;
        }
        stream.flush()?;
        stream.shutdown(std::net::Shutdown::Write)?;
        // Until the other side has read all: closing sooner would throw away what it has not.
        stream.read_to_end(&mut Vec::new()).map(drop)
    }
}

fn reply(shared: &Shared, request: &Request, whole: bool) -> Reply {
    let Repo { id, commit, files, token, large, listed } = &shared.repo;
    if request.storage {
        let content = request.path.strip_prefix("/contents/").and_then(|file| files.get(file));
        return content.map_or_else(|| Reply::error(404, "x"), |content| part(content, request, whole, Vec::new()));
    }
    if token.is_some() && request.token.as_deref() != *token {
        return Reply::error(401, "RepoNotFound");
    }
    if request.path.split('?').next() == Some(&format!("/api/models/{id}/refs")) {
        let named = |name: &str| serde_json::json!({ "name": name, "ref": name, "targetCommit": commit });
        let refs = serde_json::json!({ "branches": [named("main")], "tags": [named("v1.0"), named("v2.0")] });
        return Reply { status: 200, content: refs.to_string().into_bytes(), ..Reply::default() };
    }
    if let Some(revision) = request.path.strip_prefix(&format!("/api/models/{id}/revision/")) {
        if ![commit, "main"].contains(&revision) {
            return Reply::error(404, "RevisionNotFound");
        }
        let names = files.keys().map(String::as_str).chain(listed.iter().copied());
        let siblings: Vec<_> = names.map(|name| serde_json::json!({ "rfilename": name })).collect();
        let info = serde_json::json!({ "id": id, "sha": commit, "siblings": siblings });
        return Reply { status: 200, content: info.to_string().into_bytes(), ..Reply::default() };
    }
    let Some(file) = request.path.strip_prefix(&format!("/{id}/resolve/{commit}/")) else {
        return Reply::error(404, "RepoNotFound");
    };
    let Some(content) = files.get(file) else { return Reply::error(404, "EntryNotFound") };
    let mut headers = vec![("X-Repo-Commit".to_owned(), commit.clone())];
    if large.contains(&file) {
        headers.push(("X-Linked-Etag".into(), format!("\"{}\"", hex(&Sha256::digest(content)))));
        headers.push(("X-Linked-Size".into(), content.len().to_string()));
        headers.push(("Location".into(), format!("{}/contents/{file}", shared.storage)));
        return Reply { status: 302, headers, ..Reply::default() };
    }
    headers.push(("ETag".into(), format!("\"{}\"", git_hash(content))));
    part(content, request, whole, headers)
}

fn part(content: &[u8], request: &Request, whole: bool, mut headers: Vec<(String, String)>) -> Reply {
    match request.from.filter(|_| !whole) {
        Some(from) if from < content.len() => {
            let range = format!("bytes {from}-{}/{}", content.len() - 1, content.len());
            headers.push(("Content-Range".into(), range));
            Reply { status: 206, headers, content: content[from..].to_vec() }
        }
        Some(_) => Reply::error(416, "x"),
        None => Reply { status: 200, headers, content: content.to_vec() },
    }
}
