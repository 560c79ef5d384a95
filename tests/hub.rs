//! Checkpoints come from the hub, whole or not at all, whatever goes wrong on the way.

#[path = "hub/cache.rs"]
mod cache;
#[path = "support/hub.rs"]
mod hub;
#[path = "hub/refusals.rs"]
mod refusals;
#[path = "hub/switches.rs"]
mod switches;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hub::{Fault, Repo, StandIn};
use tch_transformers::auto::{AutoConfig, AutoModelForMaskedLM, Checkpoint};
use tch_transformers::hub::{Attempts, Hub, HubError, Progress};
use tch_transformers::verify::{Case, cases_directory};
use tch_transformers::weights::{LoadOptions, SaveOptions};
use tch_transformers::{Error, auto};

const ID: &str = "owner/tiny-bert";
const CASE: &str = "bert/fill-mask";

/// The files of a checkpoint: the model of a committed case, saved in files of at most `shard` bytes.
fn files(shard: Option<u64>) -> BTreeMap<String, Vec<u8>> {
    let case = Case::open(&cases_directory().join(CASE)).unwrap();
    let options = LoadOptions::default();
    let model = auto::load(case.config.clone(), &case.about.class, case.source().unwrap(), options).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let sizes = shard.map_or_else(SaveOptions::default, |bytes| SaveOptions { max_shard_size: bytes });
    model.save_with(folder.path(), sizes).unwrap();
    let saved = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap());
    saved.map(|file| (file.file_name().into_string().unwrap(), fs::read(file.path()).unwrap())).collect()
}

fn repo() -> Repo {
    let commit = "0123456789abcdef0123456789abcdef01234567".to_owned();
    let large = vec!["model.safetensors"];
    Repo { id: ID, commit, files: files(None), token: None, large, listed: Vec::new() }
}

/// A hub of our own that loses no time, with its cache in `home`.
fn reached(endpoint: &str, home: &Path) -> Hub {
    let attempts = Attempts {
        retries: 3,
        delay: Duration::from_millis(5),
        longest: Duration::from_millis(300),
        silence: Duration::from_secs(20),
    };
    Hub { cache: home.join("hub"), endpoint: endpoint.into(), token: None, offline: false, attempts, ..Hub::from_env() }
}

fn fetched(repo: Repo) -> (StandIn, tempfile::TempDir, Hub) {
    let (stand_in, home) = (StandIn::serve(repo), tempfile::tempdir().unwrap());
    let hub = reached(&stand_in.endpoint, home.path());
    (stand_in, home, hub)
}

fn refused(hub: &Hub, revision: Option<&str>) -> HubError {
    match hub.checkpoint(ID, revision, None) {
        Err(Error::Hub(error)) => *error,
        other => panic!("{other:?}"),
    }
}

/// All files below `folder` that are no locks, by their paths.
fn held(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.map(|entry| entry.unwrap().path()) {
        let name = entry.file_name().unwrap().to_string_lossy().into_owned();
        match entry.symlink_metadata().unwrap().is_dir() {
            true if name == ".locks" => {}
            true => found.extend(held(&entry).into_iter().map(|below| format!("{name}/{below}"))),
            false => found.push(name),
        }
    }
    found
}

#[test]
fn a_checkpoint_is_fetched_once_and_gives_the_outputs_of_the_original() {
    let (stand_in, home, hub) = fetched(repo());
    let folder = hub.checkpoint(ID, None, None).unwrap();
    let requests = stand_in.requests();
    assert_eq!(requests.iter().filter(|request| request.method == "GET" && request.path.contains("config")).count(), 1);
    let case = Case::open(&cases_directory().join(CASE)).unwrap();
    let original =
        auto::load(case.config.clone(), &case.about.class, case.source().unwrap(), LoadOptions::default()).unwrap();
    let model = auto::from_directory(&folder, &case.about.class, LoadOptions::default()).unwrap();
    let (one, other) = (original.forward(&case.inputs()).unwrap(), model.forward(&case.inputs()).unwrap());
    assert!(one.get("logits").unwrap().equal(other.get("logits").unwrap()));
    // The layout of Python's cache.
    let place = home.path().join("hub/models--owner--tiny-bert");
    assert_eq!(fs::read_to_string(place.join("refs/main")).unwrap(), repo().commit);
    assert_eq!(folder, place.join("snapshots").join(repo().commit));
    assert!(folder.join("config.json").is_symlink());
    // The second time only what the revision is now is asked.
    assert_eq!(hub.checkpoint(ID, Some("main"), None).unwrap(), folder);
    assert_eq!(stand_in.requests().len(), 1);
    assert_eq!(hub.checkpoint(ID, Some(&repo().commit), None).unwrap(), folder);
}

#[test]
fn sharded_weights_are_fetched_as_the_index_names_them() {
    let (stand_in, _home, hub) = fetched(Repo { files: files(Some(4_000)), large: vec![], ..repo() });
    let folder = hub.checkpoint(ID, None, None).unwrap();
    assert!(auto::from_directory(&folder, "BertForMaskedLM", LoadOptions::default()).is_ok());
    assert!(stand_in.requests().iter().filter(|request| request.path.contains("-of-")).count() > 2);
}

#[test]
fn a_folder_is_itself() {
    let home = tempfile::tempdir().unwrap();
    let place = home.path().to_str().unwrap();
    let hub = Hub { endpoint: "http://127.0.0.1:9".into(), ..Hub::from_env() };
    assert_eq!(hub.checkpoint(place, None, None).unwrap(), home.path());
    assert_eq!(hub.checkpoint(place, None, Some("part")).unwrap(), home.path().join("part"));
    let missing = hub.checkpoint("./no/such/folder", None, None).unwrap_err();
    assert!(matches!(&missing, Error::Hub(error) if matches!(**error, HubError::InvalidId { .. })), "{missing}");
    for (revision, subfolder) in [(Some("../x"), None), (None, Some("../x"))] {
        assert!(matches!(hub.checkpoint(ID, revision, subfolder), Err(Error::Input { .. })));
    }
}

#[test]
fn a_connection_that_is_cut_goes_on_where_it_was_cut() {
    let (stand_in, _home, hub) = fetched(repo());
    let size = repo().files["model.safetensors"].len();
    stand_in.fail("GET", "contents", Fault::Cut(size / 2), 1);
    stand_in.fail("GET", "contents", Fault::Cut(100), 5);
    let folder = hub.checkpoint(ID, None, None).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), repo().files["model.safetensors"]);
    let from: Vec<_> = stand_in.requests().iter().filter(|r| r.storage).map(|r| r.from).collect();
    let cuts = [0, 100, 200, 300, 400, 500].map(|more| Some(size / 2 + more));
    // More cuts than attempts, and each of them got on.
    assert_eq!(from, [&[None], &cuts[..]].concat());
}

#[test]
fn a_connection_that_says_nothing_counts_as_broken() {
    let (stand_in, _home, hub) = fetched(repo());
    let hub = Hub { attempts: Attempts { silence: Duration::from_millis(500), ..hub.attempts }, ..hub };
    stand_in.fail("GET", "contents", Fault::Stall(700), 1);
    let folder = hub.checkpoint(ID, None, None).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), repo().files["model.safetensors"]);
    assert!(stand_in.requests().iter().any(|request| request.from == Some(700)));
}

#[test]
fn no_more_is_taken_than_was_announced() {
    let (stand_in, home, hub) = fetched(repo());
    stand_in.fail("GET", "contents", Fault::Endless, usize::MAX);
    assert!(matches!(refused(&hub, None), HubError::Hash { .. }));
    assert!(!held(home.path()).iter().any(|path| path.ends_with("incomplete")));
}

#[test]
fn modules_of_sentence_transformers_come_from_the_folders_that_they_name() {
    let mut files = files(None);
    let listed = br#"[{"path": "", "type": "x.Transformer"}, {"path": "own_name", "type": "x.Pooling"}]"#;
    files.insert("modules.json".into(), listed.to_vec());
    files.insert("own_name/config.json".into(), b"{}".to_vec());
    files.insert("other/config.json".into(), b"{}".to_vec());
    let (_stand_in, _home, hub) = fetched(Repo { files, ..repo() });
    let folder = hub.checkpoint(ID, None, None).unwrap();
    assert!(folder.join("own_name/config.json").is_file() && !folder.join("other").exists());
}

#[test]
fn what_another_process_has_begun_is_gone_on_with_unless_it_was_something_else() {
    for honest in [true, false] {
        let (stand_in, home, hub) = fetched(repo());
        let content = &repo().files["model.safetensors"];
        let hash = hub::hex(&<sha2::Sha256 as sha2::Digest>::digest(content));
        let blobs = home.path().join("hub/models--owner--tiny-bert/blobs");
        fs::create_dir_all(&blobs).unwrap();
        let begun = if honest { content[..500].to_vec() } else { vec![7; 500] };
        fs::write(blobs.join(format!("{hash}.incomplete")), begun).unwrap();
        let folder = hub.checkpoint(ID, None, None).unwrap();
        assert_eq!(&fs::read(folder.join("model.safetensors")).unwrap(), content);
        let from: Vec<_> = stand_in.requests().iter().filter(|r| r.storage).map(|r| r.from).collect();
        assert_eq!(from, if honest { vec![Some(500)] } else { vec![Some(500), None] });
    }
}

#[test]
fn a_storage_that_cannot_go_on_starts_again() {
    let (stand_in, _home, hub) = fetched(repo());
    stand_in.fail("GET", "contents", Fault::Cut(1000), 1);
    stand_in.fail("GET", "contents", Fault::Whole, 1);
    let folder = hub.checkpoint(ID, None, None).unwrap();
    assert_eq!(fs::read(folder.join("model.safetensors")).unwrap(), repo().files["model.safetensors"]);
}

#[test]
fn contents_that_are_not_what_was_announced_are_refused_and_not_kept() {
    for (part, file) in [("contents", "model.safetensors"), ("/config.json", "config.json")] {
        let (stand_in, home, hub) = fetched(repo());
        stand_in.fail("GET", part, Fault::Corrupt, usize::MAX);
        let error = refused(&hub, None);
        assert!(matches!(&error, HubError::Hash { file: found, .. } if found == file), "{error}");
        let kept = held(home.path());
        assert!(!kept.iter().any(|path| path.ends_with(file) || path.ends_with("incomplete")), "{kept:?}");
    }
}

#[test]
fn offline_the_cache_alone_answers() {
    let (stand_in, home, hub) = fetched(repo());
    let offline = Hub { offline: true, ..hub.clone() };
    let error = refused(&offline, None);
    assert!(matches!(error, HubError::Offline { .. }), "{error}");
    let folder = hub.checkpoint(ID, None, None).unwrap();
    stand_in.requests();
    assert_eq!(offline.checkpoint(ID, None, None).unwrap(), folder);
    assert_eq!(offline.checkpoint(ID, Some(&repo().commit), None).unwrap(), folder);
    assert!(matches!(refused(&offline, Some("v9")), HubError::Offline { .. }));
    assert!(stand_in.requests().is_empty());
    // A part of a checkpoint is none.
    let weights = folder.join("model.safetensors");
    fs::rename(&weights, home.path().join("aside")).unwrap();
    assert!(matches!(refused(&offline, None), HubError::Offline { .. }));
    fs::rename(home.path().join("aside"), &weights).unwrap();
    // Without a connection the cache stands in; where it has nothing, the connection is what is missing.
    let attempts = Attempts { retries: 0, ..hub.attempts };
    let gone = Hub { endpoint: "http://127.0.0.1:9".into(), attempts, ..hub };
    assert_eq!(gone.checkpoint(ID, None, None).unwrap(), folder);
    let empty = Hub { cache: home.path().join("other"), ..gone };
    assert!(matches!(refused(&empty, None), HubError::Network { .. }));
}

#[test]
fn nothing_is_written_outside_the_cache() {
    let index = br#"{"metadata": {}, "weight_map": {"a": "../../../../escaped.safetensors"}}"#;
    let mut files = files(None);
    files.remove("model.safetensors");
    files.insert("model.safetensors.index.json".into(), index.to_vec());
    let (_stand_in, home, hub) = fetched(Repo { files, ..repo() });
    let error = refused(&hub, None);
    assert!(matches!(error, HubError::Answer { .. }), "{error}");
    // Names that nobody asks for are passed over; one that is asked for is refused.
    for (name, is_wanted) in
        [("../tokenizer.json", false), ("/tmp/escaped/tokenizer.json", false), (r"..\tokenizer.model", true)]
    {
        let (_stand_in, home, hub) = fetched(Repo { listed: vec![name], ..repo() });
        match hub.checkpoint(ID, None, None) {
            Ok(_) => assert!(!is_wanted, "{name}"),
            Err(error) => {
                let refused = matches!(&error, Error::Hub(error) if matches!(**error, HubError::Answer { .. }));
                assert!(is_wanted && refused, "{name}: {error}");
            }
        }
        assert!(held(home.path()).iter().all(|file| file.starts_with("hub/models--owner--tiny-bert/")));
    }
    assert!(held(home.path()).iter().all(|file| !file.contains("escaped")));
    for (header, value) in [("ETag", "\"../../../escaped\""), ("ETag", "\"\""), ("X-Other", "1")] {
        let (stand_in, home, hub) = fetched(repo());
        let headers: &'static [_] = Box::leak(Box::new([(header, value)]));
        stand_in.fail("HEAD", "config.json", Fault::Status(200, headers), usize::MAX);
        assert!(matches!(refused(&hub, None), HubError::Answer { .. }));
        assert!(held(home.path()).is_empty());
    }
}

#[test]
fn auto_classes_take_the_name_of_a_repository() {
    let (_stand_in, _home, hub) = fetched(repo());
    let checkpoint = Checkpoint::new(ID).revision("main").hub(hub.clone());
    assert_eq!(AutoConfig::from_pretrained(checkpoint).unwrap().model_type(), "bert");
    let model = AutoModelForMaskedLM::builder(ID).hub(hub.clone()).load().unwrap();
    assert_eq!(model.class(), "BertForMaskedLM");
    let error = AutoModelForMaskedLM::builder(ID).revision("v9").hub(hub).load().unwrap_err();
    assert!(error.to_string().contains("v9"), "{error}");
}

#[test]
fn progress_is_told() {
    struct Log(Mutex<Vec<(String, u64, u64)>>);
    impl Progress for Log {
        fn at(&self, file: &str, done: u64, total: u64) {
            self.0.lock().unwrap().push((file.into(), done, total));
        }
    }
    let (_stand_in, _home, hub) = fetched(repo());
    let log = Arc::new(Log(Mutex::default()));
    let hub = Hub { progress: log.clone(), ..hub };
    hub.checkpoint(ID, None, None).unwrap();
    let size = repo().files["model.safetensors"].len() as u64;
    let told = log.0.lock().unwrap();
    let told: Vec<_> = told.iter().filter(|(file, ..)| file == "model.safetensors").collect();
    assert_eq!(told.first().map(|(_, done, total)| (*done, *total)), Some((0, size)));
    assert_eq!(told.last().map(|(_, done, total)| (*done, *total)), Some((size, size)));
}
