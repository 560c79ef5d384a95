//! Options of the command and variables of the environment, in processes of their own.

use std::process::Command;

use super::hub::StandIn;
use super::{ID, repo};

/// The command's exit status and output, with these variables of the hub and no others.
fn run(variables: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String) {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tch-transformers"));
    for name in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_ENDPOINT", "HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"] {
        command.env_remove(name);
    }
    command.args(["run", "feature-extraction", "--model", ID]).args(arguments).arg("A text.");
    command.env("HF_HOME", home.path()).envs(variables.iter().copied());
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_switch_that_keeps_the_command_offline_is_named() {
    for (variables, arguments, named) in [
        (&[("HF_HUB_OFFLINE", "1")][..], &[][..], "HF_HUB_OFFLINE"),
        (&[("TRANSFORMERS_OFFLINE", "1")], &[], "TRANSFORMERS_OFFLINE"),
        (&[("HF_HUB_OFFLINE", "0")], &["--offline"], "--offline"),
    ] {
        let (code, said) = run(variables, arguments);
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains(named), "{said}");
    }
}

#[test]
fn the_address_on_the_command_line_comes_before_that_of_the_environment() {
    let stand_in = StandIn::serve(repo());
    let here = stand_in.endpoint.as_str();
    let nowhere = "http://127.0.0.1:9";
    for (variable, option) in [(nowhere, Some(here)), (here, None)] {
        let option = option.map_or_else(Vec::new, |address| vec!["--endpoint", address]);
        let (code, said) = run(&[("HF_ENDPOINT", variable)], &[&["--revision", "v9"], &option[..]].concat());
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("no revision `v9`"), "{said}");
    }
    let (code, said) = run(&[], &["--endpoint", "hub.example"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("--endpoint") && said.contains("https://"), "{said}");
}
