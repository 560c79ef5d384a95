//! What the hub refuses, and when it is asked again.

use std::time::{Duration, Instant};

use tch_transformers::Error;
use tch_transformers::hub::{Attempts, Hub, HubError};

use super::hub::{Fault, Repo, Request};
use super::{ID, fetched, files, held, refused, repo};

#[test]
fn who_may_not_enter_is_told_and_the_token_goes_to_the_hub_alone() {
    let (stand_in, home, hub) = fetched(Repo { token: Some("secret"), ..repo() });
    let error = refused(&hub, None);
    assert!(matches!(error, HubError::Unauthorized { status: 401, .. }), "{error}");
    assert!(error.to_string().contains("HF_TOKEN"), "{error}");
    assert!(held(home.path()).is_empty());
    let hub = Hub { token: Some("secret".into()), ..hub };
    assert!(!format!("{hub:?}").contains("secret"));
    stand_in.requests();
    hub.checkpoint(ID, None, None).unwrap();
    let requests = stand_in.requests();
    let (storage, asked): (Vec<_>, Vec<_>) = requests.iter().partition(|request| request.storage);
    assert!(!storage.is_empty() && storage.iter().all(|request| request.token.is_none()), "{storage:?}");
    assert!(asked.iter().all(|request| request.token.as_deref() == Some("secret")), "{asked:?}");
}

#[test]
fn what_is_not_there_is_named() {
    let (_stand_in, home, hub) = fetched(repo());
    let error = hub.checkpoint("owner/other", None, None).unwrap_err();
    assert_eq!(error.to_string(), "owner/other: the hub has no repository of that name");
    assert!(matches!(&error, Error::Hub(error) if matches!(**error, HubError::NoRepository { .. })), "{error}");
    let error = hub.checkpoint("google-bert/bert-base-uncase", None, None).unwrap_err();
    assert!(error.to_string().ends_with("; did you mean google-bert/bert-base-uncased?"), "{error}");
    let error = hub.checkpoint(ID, None, Some("part")).unwrap_err();
    assert!(error.to_string().ends_with("no file part/config.json; did you mean config.json?"), "{error}");
    assert!(held(home.path()).is_empty());
}

#[test]
fn branches_and_tags_are_named_where_a_revision_is_not_there() {
    let (stand_in, home, hub) = fetched(repo());
    let error = refused(&hub, Some("v3.0"));
    assert!(matches!(&error, HubError::NoRevision { revision, .. } if revision == "v3.0"), "{error}");
    assert!(error.to_string().ends_with("no revision `v3.0`; did you mean v1.0, v2.0?"), "{error}");
    let error = refused(&hub, Some("other"));
    assert!(error.to_string().ends_with("; it has main, v1.0, v2.0"), "{error}");
    stand_in.fail("GET", "/refs", Fault::Status(500, &[]), usize::MAX);
    let error = refused(&hub, Some("other"));
    assert!(error.to_string().ends_with("no revision `other`"), "{error}");
    assert!(held(home.path()).is_empty());
}

#[test]
fn a_part_of_the_weights_that_is_not_there_is_told_with_what_is() {
    let mut files = files(Some(4_000));
    let parts: Vec<_> = files.keys().filter(|name| name.contains("-of-")).cloned().collect();
    files.remove(&parts[0]);
    let (_stand_in, _home, hub) = fetched(Repo { files, large: vec![], ..repo() });
    let error = refused(&hub, None);
    assert!(
        matches!(&error, HubError::NoFile { file, nearest, .. } if *file == parts[0] && *nearest == parts[1..]),
        "{error}"
    );
}

#[test]
fn who_asks_for_what_is_gated_is_sent_to_its_page() {
    for (status, token, advice) in [(401, None, "HF_TOKEN"), (403, Some("secret"), "the account of your token")] {
        let (stand_in, home, hub) = fetched(repo());
        // The hub lists what is gated, and keeps the files.
        stand_in.fail("HEAD", "/resolve/", Fault::Status(status, &[("X-Error-Code", "GatedRepo")]), usize::MAX);
        let error = refused(&Hub { token: token.map(str::to_owned), ..hub }, None);
        assert!(matches!(&error, HubError::Gated { .. }), "{error}");
        let page = format!("ask for access at {}/{ID}", stand_in.endpoint);
        assert!(error.to_string().contains(&page) && error.to_string().contains(advice), "{error}");
        assert!(!held(home.path()).iter().any(|file| file.ends_with("refs/main")));
    }
}

#[test]
fn a_hub_that_is_busy_or_fails_is_asked_again() {
    let (stand_in, _home, hub) = fetched(repo());
    stand_in.fail("GET", "/api/", Fault::Status(429, &[("Retry-After", "0")]), 2);
    stand_in.fail("HEAD", "config.json", Fault::Status(503, &[]), 2);
    stand_in.fail("GET", "contents", Fault::Status(500, &[]), 1);
    hub.checkpoint(ID, None, None).unwrap();
}

#[test]
fn a_wait_that_the_hub_asks_for_is_kept() {
    let (stand_in, _home, hub) = fetched(repo());
    stand_in.fail("HEAD", "config.json", Fault::Status(429, &[("Retry-After", "1")]), 1);
    let start = Instant::now();
    hub.checkpoint(ID, None, None).unwrap();
    // One second, of which no more than the longest wait is kept.
    assert!(start.elapsed() >= Duration::from_millis(300));
}

#[test]
fn a_date_until_which_the_hub_asks_to_wait_is_kept() {
    let later = [("Date", "Wed, 21 Oct 2015 07:28:00 GMT"), ("Retry-After", "Wed, 21 Oct 2015 07:28:01 GMT")];
    for (method, part, status) in [("HEAD", "config.json", 503), ("GET", "/api/", 429)] {
        let (stand_in, _home, hub) = fetched(repo());
        let hub = Hub { attempts: Attempts { longest: Duration::from_secs(5), ..hub.attempts }, ..hub };
        stand_in.fail(method, part, Fault::Status(status, Box::leak(Box::new(later))), 1);
        // What the listing says of it is asked for again.
        stand_in.fail("HEAD", "/api/", Fault::Status(status, Box::leak(Box::new(later))), 1);
        let start = Instant::now();
        hub.checkpoint(ID, None, None).unwrap();
        assert!(start.elapsed() >= Duration::from_secs(1), "{method}");
    }
}

#[test]
fn a_date_that_is_past_and_nonsense_are_no_reason_to_wait() {
    for after in ["Wed, 21 Oct 2015 07:28:00 GMT", "soon", "-1", "1e9"] {
        let (stand_in, _home, hub) = fetched(repo());
        let hub = Hub { attempts: Attempts { longest: Duration::from_secs(3600), ..hub.attempts }, ..hub };
        let headers: &'static [_] = Box::leak(Box::new([("Retry-After", after)]));
        stand_in.fail("HEAD", "config.json", Fault::Status(429, headers), 2);
        stand_in.fail("GET", "/api/", Fault::Status(429, headers), 1);
        stand_in.fail("HEAD", "/api/", Fault::Status(429, headers), 1);
        hub.checkpoint(ID, None, None).unwrap();
    }
}

#[test]
fn attempts_come_to_an_end() {
    for (method, part, status) in [("GET", "/api/", 500), ("HEAD", "config.json", 503), ("GET", "contents", 429)] {
        let (stand_in, home, hub) = fetched(repo());
        stand_in.fail(method, part, Fault::Status(status, &[]), usize::MAX);
        let error = refused(&hub, None);
        match status {
            429 => assert!(matches!(error, HubError::TooManyRequests { .. }), "{error}"),
            _ => assert!(matches!(error, HubError::Server { status: found, .. } if found == status), "{error}"),
        }
        let asked = |request: &&Request| request.method == method && request.path.contains(part);
        assert_eq!(stand_in.requests().iter().filter(asked).count(), 4);
        assert!(!held(home.path()).iter().any(|file| file.ends_with("refs/main")));
    }
}
