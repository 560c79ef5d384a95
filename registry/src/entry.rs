//! An entry as its file says it.

use crate::{Category, Check, Located, Task};

/// A value of a `[tiny]` table.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `true`, `false`.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A floating-point number.
    Float(f64),
    /// A string.
    Str(String),
    /// A list, of values of one type.
    List(Vec<Value>),
    /// A table: the configuration of a part.
    Table(Tiny),
}

/// Overrides of a configuration, in the order of the file.
pub type Tiny = Vec<(String, Value)>;

/// A task and the Hugging Face class that serves it.
#[derive(Debug, Clone)]
pub struct TaskClass {
    /// The task.
    pub task: Located<&'static Task>,
    /// The class.
    pub class: Located<String>,
}

/// A part that is a model of its own.
#[derive(Debug, Clone)]
pub struct Part {
    /// Its `model_type`.
    pub model_type: Located<String>,
    /// Its Hugging Face class.
    pub class: Located<String>,
    /// Its Rust type below `models`.
    pub model: Located<String>,
}

/// A reference case beyond the one that each class has.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name: the folder of the case.
    pub name: Located<String>,
    /// The class that it runs.
    pub class: Located<String>,
    /// What it changes about the entry's `tiny`.
    pub tiny: Tiny,
}

/// A check that does not apply.
#[derive(Debug, Clone)]
pub struct Skip {
    /// The check.
    pub check: &'static Check,
    /// The case that it does not apply to; all of them where `None`.
    pub case: Option<String>,
    /// Why it does not apply.
    pub reason: String,
}

/// A field of the configuration that has one value in all cases.
#[derive(Debug, Clone)]
pub struct Fixed {
    /// The field; of a part's configuration with a dotted name.
    pub field: String,
    /// Why it cannot have another.
    pub reason: String,
}

/// A loosened tolerance.
#[derive(Debug, Clone)]
pub struct Tolerance {
    /// The check, or `check.output`.
    pub check: String,
    /// What the tolerance is multiplied by; above 1.
    pub factor: f64,
    /// Why.
    pub reason: String,
}

/// One architecture or variant, as its file says it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The file, relative to the package.
    pub file: String,
    /// The category: the folder.
    pub category: Category,
    /// `model_type` in `config.json`, or a variant's own name.
    pub model_type: Located<String>,
    /// One line about it.
    pub summary: String,
    /// A typical checkpoint on the hub.
    pub checkpoint: String,
    /// The Rust type below `models`; none for variants.
    pub model: Option<Located<String>>,
    /// For variants, the entry whose code they use.
    pub of: Option<Located<String>>,
    /// The version of `transformers` it is proven against.
    pub transformers: Located<String>,
    /// The architectures it was derived from.
    pub derives_from: Vec<Located<String>>,
    /// A second category.
    pub alt_category: Option<Category>,
    /// Its tasks, in the order of the file; none for variants.
    pub tasks: Vec<TaskClass>,
    /// Its parts.
    pub parts: Vec<Part>,
    /// The configuration of the committed cases.
    pub tiny: Tiny,
    /// Its extra cases.
    pub cases: Vec<Case>,
    /// Checks that do not apply.
    pub skip: Vec<Skip>,
    /// Fields that have one value in all cases.
    pub fixed: Vec<Fixed>,
    /// Loosened tolerances.
    pub tolerances: Vec<Tolerance>,
}
