//! The programs in `examples/` do what they say, on made checkpoints and on a real one.

mod support;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use support::minilm;

/// The lines that an example prints.
fn example(name: &str, model: &str, arguments: &[&str]) -> Vec<String> {
    example_reading("", name, model, arguments)
}

/// The lines that an example prints to `input`.
fn example_reading(input: &str, name: &str, model: &str, arguments: &[&str]) -> Vec<String> {
    // This test lies in `deps`, beside which cargo puts the examples.
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples").join(name);
    let program = program.with_extension(std::env::consts::EXE_EXTENSION);
    assert!(program.is_file(), "{} is not built; `cargo build --examples` does it", program.display());
    let mut command = Command::new(program);
    command.arg(model).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn made(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/checkpoints").join(name).display().to_string()
}

#[test]
fn fill_mask() {
    let lines = example("fill_mask", &made("bert"), &["The capital of [MASK] is Paris."]);
    assert_eq!(
        lines,
        [
            "0.424  the capital of o is paris.",
            "0.118  the capital of la is paris.",
            "0.062  the capital of me is paris."
        ]
    );
}

#[test]
fn text_classification() {
    let lines = example("text_classification", &made("distilbert"), &["good", "bad"]);
    assert_eq!(lines, ["positive 0.894", "positive 0.843"]);
}

#[test]
fn zero_shot_classification() {
    let lines = example("zero_shot_classification", &made("bart"), &["The committee will meet.", "politics", "sports"]);
    assert_eq!(lines, ["0.504  sports", "0.496  politics"]);
}

#[test]
fn token_classification() {
    let lines = example("token_classification", &made("bert"), &["My name is Sarah and I live in London"]);
    let entities =
        ["PER 3-7  name", "LOC 8-27  is sarah and i live", "LOC 28-30  in", "PER 31-33  lo", "LOC 33-37  ##ndon"];
    assert_eq!(lines, entities);
}

#[test]
fn question_answering() {
    let context = "My name is Sarah and I live in London";
    let lines = example("question_answering", &made("distilbert"), &["Where do I live?", context]);
    assert_eq!(lines, ["0.076  8-16  is Sarah"]);
}

#[test]
fn text_generation() {
    assert_eq!(
        example("text_generation", &made("gpt2"), &["Der schnelle braune Fuchs"]),
        ["Der schnelle braune Fuchsxrau".to_owned() + &" was".repeat(10)]
    );
}

#[test]
fn chat() {
    let answer = example("chat", &made("gpt2"), &["Where do I live?"]);
    assert_eq!(answer, ["\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}\u{FFFD}22$$$$"]);
}

#[test]
fn conversation() {
    let lines = example_reading("Where do I live?\nWho?\n", "conversation", &made("gpt2"), &[]);
    let answers =
        ["\u{FFFD}".repeat(6) + "22$$$$  (0 of 49 tokens remembered)", "\u{FFFD}  (49 of 96 tokens remembered)".into()];
    assert_eq!(lines, answers);
}

#[test]
fn texts_of_texts() {
    let texts = ["The capital of France", "ok"];
    assert_eq!(example("text2text_generation", &made("t5"), &texts), ["q''''''''''", &"es".repeat(11)]);
    assert_eq!(example("summarization", &made("t5"), &texts), ["qj W''''''''", &"es".repeat(11)]);
    let translated = example("translation", &made("t5"), &["en", "de", texts[0], texts[1]]);
    assert_eq!(translated, ["qjjjjjjj", &"es".repeat(8)]);
}

#[test]
fn feature_extraction_with_a_real_checkpoint() {
    let Some(checkpoint) = minilm::checkpoint() else { return };
    let sentences = ["The cat sits outside.", "A feline is resting in the garden.", "How do I reset my password?"];
    let lines = example("feature_extraction", &checkpoint.display().to_string(), &sentences);
    let expected = ["1.000", "0.553", "0.040"].iter().zip(sentences).map(|(near, text)| format!("{near}  {text}"));
    assert_eq!(lines, expected.collect::<Vec<_>>());
}
