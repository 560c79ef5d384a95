//! Chat templates write what they write in Python, refuse what they refuse there, and end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tch_transformers::Error;
use tch_transformers::text::{ChatOptions, ChatTemplate, ChatTemplateError, Message};

#[derive(Deserialize)]
struct Rendered {
    tokens: Map<String, Value>,
    templates: BTreeMap<String, String>,
    conversations: BTreeMap<String, Map<String, Value>>,
    rendered: BTreeMap<String, BTreeMap<String, Expected>>,
}

#[derive(Deserialize)]
struct Expected {
    text: Option<String>,
    /// What `raise_exception` said; none where Python failed in another way.
    error: Option<String>,
}

#[derive(Deserialize)]
struct Constructs {
    variables: Map<String, Value>,
    constructs: Vec<Construct>,
}

#[derive(Deserialize)]
struct Construct {
    template: String,
    text: Option<String>,
}

fn data<T: serde::de::DeserializeOwned>(name: &str) -> T {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/chat").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// Messages and options of a conversation as the file has them.
fn conversation(mut fields: Map<String, Value>) -> (Vec<Message>, ChatOptions) {
    let mut take = |name: &str| fields.remove(name).unwrap_or_default();
    let messages = serde_json::from_value(take("messages")).unwrap();
    let options = ChatOptions {
        add_generation_prompt: take("add_generation_prompt") == true,
        continue_final_message: take("continue_final_message") == true,
        tools: serde_json::from_value(take("tools")).unwrap(),
        documents: serde_json::from_value(take("documents")).unwrap(),
        time: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_721_995_200)),
        ..ChatOptions::default()
    };
    (messages, ChatOptions { variables: fields, ..options })
}

#[test]
fn conversations_are_written_as_in_python() {
    let data: Rendered = data("rendered.json");
    let (mut texts, mut wrong) = (0, Vec::new());
    for (name, source) in &data.templates {
        let template = ChatTemplate::new(source).unwrap().with_special_tokens(data.tokens.clone());
        for (about, fields) in &data.conversations {
            let (messages, options) = conversation(fields.clone());
            let expected = &data.rendered[name][about];
            let result = template.render(&messages, &options);
            let same = match (&expected.text, &expected.error, &result) {
                (Some(text), _, Ok(rendered)) => text == rendered,
                (None, Some(said), Err(Error::ChatTemplate(ChatTemplateError::Refused(message)))) => said == message,
                (None, None, Err(_)) => true,
                _ => false,
            };
            texts += usize::from(expected.text.is_some());
            if !same {
                wrong.push(format!("{name}, {about}\n  {:?} {:?}\n  {result:?}", expected.text, expected.error));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(texts >= 200, "only {texts} texts");
}

#[test]
fn constructs_do_what_they_do_in_python() {
    let data: Constructs = data("constructs.json");
    let options = ChatOptions { variables: data.variables, ..ChatOptions::default() };
    for construct in data.constructs {
        let rendered = ChatTemplate::new(&*construct.template).unwrap().render(&[Message::user("x")], &options);
        assert_eq!(rendered.as_ref().ok(), construct.text.as_ref(), "{}: {rendered:?}", construct.template);
    }
}

fn failure(source: &str) -> ChatTemplateError {
    let template = ChatTemplate::new(source).unwrap().limited_to(100_000, 1 << 16).unwrap();
    match template.render(&[Message::user("x")], &ChatOptions::default()) {
        Err(Error::ChatTemplate(error)) => error,
        result => panic!("{source}: {result:?}"),
    }
}

#[test]
fn what_goes_wrong_is_told_apart() {
    assert!(matches!(failure("a\n{% if %}"), ChatTemplateError::Syntax { line: 2, .. }));
    assert!(matches!(failure("a\n\n{{ missing.x }}"), ChatTemplateError::Failed { line: 3, .. }));
    assert_eq!(failure("{{ raise_exception('not ' ~ 1) }}"), ChatTemplateError::Refused("not 1".into()));
    let endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}";
    assert_eq!(failure(endless), ChatTemplateError::Endless(100_000));
    let doubling = "{% set ns = namespace(x='a') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    assert_eq!(failure(doubling), ChatTemplateError::Endless(100_000));
    assert_eq!(failure("{{ 'a' * 70000 }}"), ChatTemplateError::TooLong(1 << 16));
    let calls_itself = "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}";
    assert!(matches!(failure(calls_itself), ChatTemplateError::Failed { .. }));
    let large = ChatTemplate::new("a".repeat((1 << 20) + 1));
    assert!(matches!(large, Err(Error::ChatTemplate(ChatTemplateError::TooLarge { .. }))));
    let none = ChatTemplate::new("x").unwrap().render(&[], &ChatOptions::default());
    assert!(matches!(none, Err(Error::Input { .. })));
}

#[test]
fn a_message_is_continued_or_there_is_an_error() {
    let template = ChatTemplate::new("{% for m in messages %}{{ m.role }}:{{ m.content }};{% endfor %}").unwrap();
    let messages = [Message::user("a"), Message::assistant("b ")];
    assert_eq!(template.render(&messages, &ChatOptions::continuing()).unwrap(), "user:a;assistant:b ");
    let both = ChatOptions { add_generation_prompt: true, ..ChatOptions::continuing() };
    assert!(matches!(template.render(&messages, &both), Err(Error::Input { .. })));
    let other = ChatOptions { continued_field: Some("reasoning_content".into()), ..ChatOptions::continuing() };
    let thought = [Message::assistant("b").with("thinking", "c")];
    assert!(matches!(template.render(&thought, &other), Err(Error::Input { .. })));
    let reads = ChatTemplate::new("{% for m in messages %}<{{ m.thinking }}>{{ m.content }}{% endfor %}").unwrap();
    assert_eq!(reads.render(&thought, &other).unwrap(), "<c");
    let hides = ChatTemplate::new("{{ messages[0].content }}").unwrap();
    assert!(matches!(hides.render(&messages, &ChatOptions::continuing()), Err(Error::Input { .. })));
}

fn directory(name: &str, files: &[(&str, String)]) -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join(name);
    std::fs::create_dir_all(directory.join("additional_chat_templates")).unwrap();
    for (name, text) in files {
        std::fs::write(directory.join(name), text).unwrap();
    }
    (parent, directory)
}

#[test]
fn a_checkpoint_has_one_template_or_several() {
    let messages = [Message::user("x")];
    let tokens = json!({"bos_token": {"content": "<s>"}, "eos_token": "</s>", "chat_template": "{{ bos_token }}one"});
    let (_keep, place) = directory("one", &[("tokenizer_config.json", tokens.to_string())]);
    let one = ChatTemplate::from_directory(&place).unwrap();
    assert_eq!(one.render(&messages, &ChatOptions::default()).unwrap(), "<s>one");

    let list = json!([{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]);
    let (_keep, place) = directory("list", &[("tokenizer_config.json", json!({"chat_template": list}).to_string())]);
    let several = ChatTemplate::from_directory(&place).unwrap();
    let with_tools = ChatOptions { tools: Some(vec![json!({})]), ..ChatOptions::default() };
    assert_eq!(several.render(&messages, &ChatOptions::default()).unwrap(), "plain");
    assert_eq!(several.render(&messages, &with_tools).unwrap(), "tools");

    let files = [
        ("tokenizer_config.json", tokens.to_string()),
        ("chat_template.jinja", "file{{ eos_token }}".to_owned()),
        ("additional_chat_templates/rag.jinja", "rag".to_owned()),
    ];
    let (_keep, place) = directory("files", &files);
    let files = ChatTemplate::from_directory(&place).unwrap();
    assert_eq!(files.names().collect::<Vec<_>>(), ["default", "rag"]);
    assert_eq!(files.render(&messages, &ChatOptions::default()).unwrap(), "file</s>");
    let named = |name: &str| ChatOptions { template: Some(name.into()), ..ChatOptions::default() };
    assert_eq!(files.render(&messages, &named("rag")).unwrap(), "rag");
    let unknown = files.render(&messages, &named("nope"));
    assert!(matches!(unknown, Err(Error::ChatTemplate(ChatTemplateError::UnknownName { .. }))));

    let (_keep, place) = directory("none", &[("tokenizer_config.json", "{}".to_owned())]);
    let missing = ChatTemplate::from_directory(&place).unwrap_err();
    assert!(matches!(missing, Error::ChatTemplate(ChatTemplateError::Missing { .. })), "{missing}");
}
