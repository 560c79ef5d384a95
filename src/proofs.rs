//! What the expansion of `#[hf_model]` asks the compiler to prove: everything here is evaluated while compiling.
#![expect(clippy::result_large_err, reason = "evaluated while compiling, where nothing can be boxed")]

use crate::config::{IGNORED_EVERYWHERE, ModelConfig};
use crate::model::{Architecture, Head, Part};
use crate::tasks::Task;

/// Whether two strings are equal, in a constant.
pub const fn same(left: &str, right: &str) -> bool {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    if left.len() != right.len() {
        return false;
    }
    let mut at = 0;
    while at < left.len() {
        if left[at] != right[at] {
            return false;
        }
        at += 1;
    }
    true
}

const fn among(name: &str, names: &[&str]) -> bool {
    let mut at = 0;
    while at < names.len() {
        if same(name, names[at]) {
            return true;
        }
        at += 1;
    }
    false
}

/// Proves that the configuration of `A` is that of `model_type`.
#[track_caller]
pub const fn config_of<A: Architecture>(model_type: &str) {
    let actual = <A::Config as ModelConfig>::MODEL_TYPE;
    if !same(actual, model_type) {
        let message = Message::new()
            .text("the Rust type is that of another architecture: its config has model_type `")
            .text(actual)
            .text("`, the entry is `")
            .text(model_type)
            .text("`");
        panic!("{}", message.as_str());
    }
}

/// Proves that `A` has a head for the task `T`.
pub const fn head<A: Head<T>, T: Task>() {}

/// Proves that `A` can be loaded as a part.
pub const fn part<A: Part>() {}

/// Proves that the field `key` of the configuration `C` exists and takes `given`.
#[track_caller]
pub const fn tiny<C: Takes>(key: &str, given: Given) {
    let tiny = Path { above: None, key: "tiny" };
    if let Kind::Config(config) = &C::KIND
        && let Err(message) = field(config, given, &Path { above: Some(&tiny), key })
    {
        panic!("{}", message.as_str());
    }
}

/// The value of a field in an entry's `[tiny]` table.
#[derive(Debug, Clone, Copy)]
pub enum Given {
    /// A boolean.
    Bool,
    /// An integer.
    Int,
    /// A float.
    Float,
    /// A string.
    Str,
    /// A list of values of one type.
    List(&'static [Given]),
    /// A table.
    Table(&'static [(&'static str, Given)]),
}

/// What a field of a configuration takes.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A boolean.
    Bool,
    /// An integer.
    Int,
    /// A float, or an integer that becomes one.
    Float,
    /// A string.
    Str,
    /// A list.
    List(&'static Kind),
    /// A table with any keys.
    Table,
    /// A configuration.
    Config(Fields),
    /// One of several kinds.
    OneOf(&'static [Kind]),
    /// Anything.
    Any,
}

/// The fields of a configuration.
#[derive(Debug, Clone, Copy)]
pub struct Fields {
    /// Its `model_type`.
    pub model_type: &'static str,
    /// The fields, with what they take.
    pub fields: &'static [(&'static str, Kind)],
    /// Fields that change nothing about the numbers.
    pub ignored: &'static [&'static str],
    /// `(older spelling, field)`.
    pub aliases: &'static [(&'static str, &'static str)],
    /// Those of `fields` that this configuration has only from the one that it derives from, and does not read.
    pub without: &'static [&'static str],
}

/// The fields of a kind that is a configuration.
pub const fn fields_of(kind: Kind) -> Fields {
    match kind {
        Kind::Config(fields) => fields,
        _ => panic!("a configuration derives from another configuration"),
    }
}

/// `left` and `right` as one; `blank` is any value.
pub const fn concat<T: Copy, const N: usize>(left: &[T], right: &[T], blank: T) -> [T; N] {
    let mut whole = [blank; N];
    let mut at = 0;
    while at < N {
        whole[at] = if at < left.len() { left[at] } else { right[at - left.len()] };
        at += 1;
    }
    whole
}

/// A type that can be a field of a configuration, and what it takes.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which values of an entry's [tiny] table it takes",
    note = "every type of a config field implements `tch_transformers::proofs::Takes`"
)]
pub trait Takes {
    /// What a field of this type takes.
    const KIND: Kind;
}

/// An integer, or a list of integers.
pub const ONE_OR_MORE_INTEGERS: Kind = Kind::OneOf(&[Kind::Int, Kind::List(&Kind::Int)]);

macro_rules! takes {
    ($($kind:expr => $($ty:ty),*;)*) => {
        $($(impl Takes for $ty {
            const KIND: Kind = $kind;
        })*)*
    };
}

takes! {
    Kind::Bool => bool;
    Kind::Int => i64, usize;
    Kind::Float => f64;
    Kind::Str => String, crate::nn::Activation;
    Kind::Any => serde_json::Value;
    Kind::Table => serde_json::Map<String, serde_json::Value>;
}

impl<T: Takes> Takes for Option<T> {
    const KIND: Kind = T::KIND;
}

impl<T: Takes> Takes for Box<T> {
    const KIND: Kind = T::KIND;
}

impl<T: Takes> Takes for Vec<T> {
    const KIND: Kind = Kind::List(&T::KIND);
}

impl<T: Takes, const N: usize> Takes for [T; N] {
    const KIND: Kind = Kind::List(&T::KIND);
}

struct Path<'a> {
    above: Option<&'a Path<'a>>,
    key: &'a str,
}

const fn fits(kind: &Kind, given: &Given, path: &Path<'_>) -> Result<(), Message> {
    match (kind, given) {
        (Kind::Any, _)
        | (Kind::Bool, Given::Bool)
        | (Kind::Int, Given::Int)
        | (Kind::Float, Given::Int | Given::Float)
        | (Kind::Str, Given::Str)
        | (Kind::Table, Given::Table(_)) => Ok(()),
        (Kind::OneOf(kinds), _) => {
            let mut at = 0;
            while at < kinds.len() {
                if fits(&kinds[at], given, path).is_ok() {
                    return Ok(());
                }
                at += 1;
            }
            Err(mismatch(kind, given, path))
        }
        (Kind::List(kind), Given::List(items)) => {
            let mut at = 0;
            while at < items.len() {
                if let Err(message) = fits(kind, &items[at], path) {
                    return Err(message);
                }
                at += 1;
            }
            Ok(())
        }
        (Kind::Config(config), Given::Table(table)) => {
            let mut at = 0;
            while at < table.len() {
                let (key, given) = table[at];
                if let Err(message) = field(config, given, &Path { above: Some(path), key }) {
                    return Err(message);
                }
                at += 1;
            }
            Ok(())
        }
        _ => Err(mismatch(kind, given, path)),
    }
}

const fn field(config: &Fields, given: Given, path: &Path<'_>) -> Result<(), Message> {
    let mut at = 0;
    while at < config.fields.len() {
        let (name, kind) = &config.fields[at];
        if same(path.key, name) && !among(path.key, config.without) {
            return fits(kind, &given, path);
        }
        at += 1;
    }
    if among(path.key, config.ignored) || among(path.key, IGNORED_EVERYWHERE) {
        return Ok(());
    }
    let mut at = 0;
    while at < config.aliases.len() {
        let (alias, name) = config.aliases[at];
        if same(path.key, alias) {
            // What differs in capitals only is Python's own name, which is none in Rust.
            if alias.eq_ignore_ascii_case(name) {
                return field(config, given, &Path { key: name, ..*path });
            }
            return Err(Message::at(path).text("an older spelling; entries name the field `").text(name).text("`"));
        }
        at += 1;
    }
    let mut message =
        Message::at(path).text("the config of `").text(config.model_type).text("` has no such field; it has");
    let mut at = 0;
    while at < config.fields.len() {
        message = message.text(if at == 0 { " " } else { ", " }).text(config.fields[at].0);
        at += 1;
    }
    Err(message)
}

const fn mismatch(kind: &Kind, given: &Given, path: &Path<'_>) -> Message {
    let message = expected(kind, Message::at(path).text("the field takes "));
    message.text(", not ").text(match given {
        Given::Bool => "a boolean",
        Given::Int => "an integer",
        Given::Float => "a float",
        Given::Str => "a string",
        Given::List(_) => "a list",
        Given::Table(_) => "a table",
    })
}

const fn expected(kind: &Kind, message: Message) -> Message {
    match kind {
        Kind::Bool => message.text("a boolean"),
        Kind::Int => message.text("an integer"),
        Kind::Float => message.text("a float"),
        Kind::Str => message.text("a string"),
        Kind::List(kind) => expected(kind, message.text("a list, each item ")),
        Kind::Table => message.text("a table"),
        Kind::Config(config) => message.text("the config of `").text(config.model_type).text("`"),
        Kind::OneOf(kinds) => {
            let mut message = message;
            let mut at = 0;
            while at < kinds.len() {
                message = expected(&kinds[at], message.text(if at == 0 { "" } else { " or " }));
                at += 1;
            }
            message
        }
        Kind::Any => message.text("anything"),
    }
}

/// A text put together in a constant; what does not fit is cut off.
struct Message {
    bytes: [u8; 2048],
    len: usize,
}

impl Message {
    const fn new() -> Self {
        Self { bytes: [0; 2048], len: 0 }
    }

    /// `` `tiny.text_config.hidden_size`:  ``
    const fn at(path: &Path<'_>) -> Self {
        Self::new().text("`").path(path).text("`: ")
    }

    const fn path(self, path: &Path<'_>) -> Self {
        match path.above {
            Some(above) => self.path(above).text(".").text(path.key),
            None => self.text(path.key),
        }
    }

    const fn text(mut self, text: &str) -> Self {
        let text = text.as_bytes();
        if self.len + text.len() > self.bytes.len() {
            return self;
        }
        let mut at = 0;
        while at < text.len() {
            self.bytes[self.len + at] = text[at];
            at += 1;
        }
        self.len += text.len();
        self
    }

    const fn as_str(&self) -> &str {
        match std::str::from_utf8(self.bytes.split_at(self.len).0) {
            Ok(text) => text,
            Err(_) => "an entry's [tiny] table does not fit the config",
        }
    }
}
