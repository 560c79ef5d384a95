//! Several who fetch the same into one cache, and caches that cannot be written.

use std::path::Path;
use std::process::{Command, Stdio};
use std::{env, fs, io, thread};

use tch_transformers::hub::{Hub, HubError};

use super::hub::{StandIn, hex};
use super::{ID, fetched, held, reached, refused, repo};

const WEIGHTS: &str = "model.safetensors";

/// The variables that tell a process of several what to do.
const ENDPOINT: &str = "TEST_ENDPOINT";
const HOME: &str = "TEST_HOME";

/// All that is fetched is there, whole, and was asked for once.
fn assert_whole(stand_in: &StandIn, home: &Path, folder: &Path) {
    for (name, content) in repo().files {
        assert_eq!(fs::read(folder.join(&name)).unwrap(), content, "{name}");
    }
    let requests = stand_in.requests();
    let got = |part: &str| requests.iter().filter(|asked| asked.method == "GET" && asked.path.contains(part)).count();
    assert_eq!((got("/contents/"), got("/config.json")), (1, 1));
    let kept = held(home);
    assert!(!kept.iter().any(|file| file.contains("incomplete") || file.contains("/.")), "{kept:?}");
}

#[test]
fn threads_that_fetch_at_once_do_not_disturb_each_other() {
    let (stand_in, home, hub) = fetched(repo());
    let folders = thread::scope(|scope| {
        let fetching = [(); 4].map(|()| scope.spawn(|| hub.checkpoint(ID, None, None).unwrap()));
        fetching.map(|one| one.join().unwrap())
    });
    assert!(folders.iter().all(|folder| *folder == folders[0]));
    assert_whole(&stand_in, home.path(), &folders[0]);
}

#[test]
fn processes_that_fetch_at_once_do_not_disturb_each_other() {
    let (stand_in, home, hub) = fetched(repo());
    let one = "cache::is_one_of_several_processes";
    let start = |()| {
        Command::new(env::current_exe().unwrap())
            .args([one, "--exact", "--ignored"])
            .env(ENDPOINT, &stand_in.endpoint)
            .env(HOME, home.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap()
    };
    for mut process in [(); 4].map(start) {
        assert!(process.wait().unwrap().success());
    }
    let folder = hub.checkpoint(ID, None, None).unwrap();
    assert_whole(&stand_in, home.path(), &folder);
}

#[test]
#[ignore = "processes_that_fetch_at_once_do_not_disturb_each_other runs it"]
fn is_one_of_several_processes() {
    let (Ok(endpoint), Ok(home)) = (env::var(ENDPOINT), env::var(HOME)) else { return };
    let hub = reached(&endpoint, Path::new(&home));
    let folder = hub.checkpoint(ID, None, None).unwrap();
    assert_eq!(fs::read(folder.join(WEIGHTS)).unwrap(), repo().files[WEIGHTS]);
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let (_stand_in, home, hub) = fetched(repo());
    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let hub = Hub { cache: file.join("hub"), ..hub };
    let error = refused(&hub, None);
    assert!(matches!(&error, HubError::Cache { cache, .. } if *cache == hub.cache), "{error}");
    assert!(error.to_string().contains("HF_HUB_CACHE"), "{error}");
}

/// What is written to `/dev/full` finds no room.
#[cfg(target_os = "linux")]
#[test]
fn a_disk_that_is_full_is_no_broken_connection() {
    let (stand_in, home, hub) = fetched(repo());
    let hash = hex(&<sha2::Sha256 as sha2::Digest>::digest(&repo().files[WEIGHTS]));
    let blobs = home.path().join("hub/models--owner--tiny-bert/blobs");
    fs::create_dir_all(&blobs).unwrap();
    std::os::unix::fs::symlink("/dev/full", blobs.join(format!("{hash}.incomplete"))).unwrap();
    let error = refused(&hub, None);
    let is_full = |cause: &io::Error| cause.kind() == io::ErrorKind::StorageFull;
    assert!(matches!(&error, HubError::Cache { cause, .. } if is_full(cause)), "{error}");
    assert_eq!(stand_in.requests().iter().filter(|request| request.storage).count(), 1);
}

#[cfg(unix)]
#[test]
fn a_cache_that_may_only_be_read_serves_what_it_has() {
    use std::os::unix::fs::PermissionsExt;

    fn allow(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    let (_stand_in, home, hub) = fetched(repo());
    let folder = hub.checkpoint(ID, None, None).unwrap();
    let of_repo = hub.cache.join("models--owner--tiny-bert");
    let locks = hub.cache.join(".locks/models--owner--tiny-bert");
    let closed =
        [hub.cache.clone(), locks, folder.clone(), of_repo.join("refs"), of_repo.join("blobs"), of_repo.clone()];
    closed.iter().for_each(|path| allow(path, 0o555));
    assert_eq!(hub.checkpoint(ID, None, None).unwrap(), folder);
    let empty = Hub { cache: home.path().join("empty"), ..hub };
    fs::create_dir(&empty.cache).unwrap();
    allow(&empty.cache, 0o555);
    // The administrator writes anywhere.
    if fs::write(empty.cache.join("file"), "").is_err() {
        let error = refused(&empty, None);
        let is_denied = |cause: &io::Error| cause.kind() == io::ErrorKind::PermissionDenied;
        assert!(matches!(&error, HubError::Cache { cause, .. } if is_denied(cause)), "{error}");
    }
    closed.iter().rev().for_each(|path| allow(path, 0o755));
}
