//! Conversations with the command: a line is answered with what was said before.

mod support;

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use support::copy_of;

/// A committed case that knows words, and reads texts of any length.
fn checkpoint(folder: &Path) -> String {
    let model = copy_of("llama/text-generation", folder);
    let words = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/chat/words");
    for file in ["tokenizer.json", "tokenizer_config.json"] {
        std::fs::copy(words.join(file), model.join(file)).unwrap();
    }
    model.display().to_string()
}

/// The command's `run text-generation --chat`, whose answers are words only.
fn chat(model: &str, more: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tch-transformers"));
    command.args([
        "run",
        "text-generation",
        "--chat",
        "--greedy",
        "--set",
        "suppress_tokens=[0,1,2]",
        "--model",
        model,
    ]);
    command.args(more).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What it prints, as output and as errors, when `lines` are written to it.
fn printed(model: &str, more: &[&str], lines: &str) -> (String, String) {
    let mut child = chat(model, more).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{errors}");
    (String::from_utf8(output.stdout).unwrap(), errors)
}

#[test]
fn every_line_is_answered_with_what_was_said_before() {
    let folder = tempfile::tempdir().unwrap();
    let model = checkpoint(folder.path());
    let file = folder.path().join("said.json").display().to_string();
    let lines = format!("b\n\nc\n/system e\nb\n/save {file}\n/reset\n/nonsense\nb\n//c\n/quit\nnever read\n");
    let more = ["--interactive", "--json", "--max-new-tokens", "3", "--system", "a", "--verbose"];
    let (output, errors) = printed(&model, &more, &lines);
    let turns: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let remembered: Vec<_> = turns.iter().map(|turn| turn["remembered_tokens"].as_u64().unwrap()).collect();
    // Seven tokens and three of the answer, the last of which is not passed; the role of what the model is told.
    assert_eq!(remembered, [0, 9, 1, 0, 9], "{output}");
    assert_eq!((&turns[0]["prompt_tokens"], &turns[0]["ending"]), (&json!(7), &json!("length")));
    assert!(turns.iter().all(|turn| turn["answer"]["role"] == "assistant" && turn["new_tokens"] == 3), "{output}");
    assert!(errors.contains("no command /nonsense") && errors.contains("7 tokens, 0 of them remembered"), "{errors}");

    let saved: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    let said: Vec<_> = saved.iter().map(|message| message["content"].as_str().unwrap()).collect();
    let answer = |turn: usize| turns[turn]["answer"]["content"].as_str().unwrap();
    assert_eq!(said, ["e", "b", answer(0), "c", answer(1), "b", answer(2)]);

    // The answer to the first line is that of a single run; as text, answers stand line by line.
    let (once, _) = printed(&model, &["--max-new-tokens", "3", "--system", "a", "b"], "");
    let (text, errors) = printed(&model, &["--interactive", "--max-new-tokens", "3", "--system", "a"], "b\nc\n");
    assert_eq!(once.trim_end(), answer(0));
    assert_eq!((text, errors), (format!("{}\n{}\n", answer(0), answer(1)), String::new()));
}

#[test]
fn a_line_that_cannot_be_answered_leaves_the_conversation_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let model = checkpoint(folder.path());
    let (output, errors) =
        printed(&model, &["--interactive", "--json", "--set", "max_length=12"], "b\nc d e f g\n/reset\nb\n");
    let turns: Vec<Value> = output.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(turns.len() == 2 && turns[0] == turns[1], "{output}");
    assert!(errors.contains("max_length") && errors.lines().count() == 1, "{errors}");
}

#[cfg(unix)]
#[test]
fn an_interrupt_stops_an_answer_and_then_the_program() {
    let folder = tempfile::tempdir().unwrap();
    let model = checkpoint(folder.path());
    let mut child = chat(&model, &["--interactive", "--max-new-tokens", "1000000"]).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    for line in ["b\n", "c\n"] {
        input.write_all(line.as_bytes()).unwrap();
        stop(&child, &mut output);
    }
    input.write_all(b"/reset\n/nonsense\n").unwrap();
    // Once the command has been read, it waits.
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    let mut error = String::new();
    errors.read_line(&mut error).unwrap();
    assert!(error.contains("nonsense"), "{error}");
    interrupt(&child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// Stops an answer when it has begun, and reads it to its end.
fn stop(child: &Child, output: &mut BufReader<ChildStdout>) {
    let mut first = [0];
    output.read_exact(&mut first).unwrap();
    interrupt(child);
    let mut rest = String::new();
    output.read_line(&mut rest).unwrap();
    assert!(rest.ends_with('\n'), "{rest}");
}

fn interrupt(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn a_conversation_is_what_it_is_asked_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let model = checkpoint(folder.path());
    for (more, told) in [(&["--interactive", "b"][..], "TEXT"), (&["--interactive", "--num-beams", "2"], "num-beams")] {
        let output = chat(&model, more).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && errors.contains(told), "{errors}");
    }
    let silent = support::copy_of("gpt2/text-generation", folder.path());
    std::fs::copy(Path::new(&model).join("tokenizer.json"), silent.join("tokenizer.json")).unwrap();
    let (output, errors) = printed(&silent.display().to_string(), &["--interactive"], "b\n");
    assert!(output.is_empty() && errors.contains("no chat template"), "{errors}");
}
