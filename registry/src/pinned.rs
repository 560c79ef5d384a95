//! What the pinned `transformers` has: its architectures and their classes.

use std::{
    collections::{BTreeMap, HashMap},
    sync::LazyLock,
};

use crate::Category;

/// The version of `transformers` that entries are proven against.
pub const PINNED: &str = "5.23.0";
/// The last version with the architectures that 5.0 removed.
pub const BEFORE_REMOVAL: &str = "4.57.6";

/// A class of `transformers`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// Its name.
    pub name: &'static str,
    /// Whether it has `generate`.
    pub generate: bool,
    /// Whether its `forward` takes `attention_mask`.
    pub mask: bool,
}

/// An architecture of `transformers`.
#[derive(Debug)]
pub struct Architecture {
    /// Its category.
    pub category: Category,
    /// Its classes.
    pub classes: Vec<Class>,
    /// The tasks of its classes: `(tag, class)`.
    pub tasks: Vec<(&'static str, &'static str)>,
}

/// The architectures of the pinned version by `model_type`.
pub static ARCHITECTURES: LazyLock<BTreeMap<&'static str, Architecture>> =
    LazyLock::new(|| include_str!("../transformers-5.23.0.txt").lines().filter_map(architecture).collect());

static CLASSES: LazyLock<HashMap<&'static str, Class>> = LazyLock::new(|| {
    ARCHITECTURES.values().flat_map(|architecture| &architecture.classes).map(|class| (class.name, *class)).collect()
});

fn architecture(line: &'static str) -> Option<(&'static str, Architecture)> {
    let mut words = line.split(' ').filter(|word| !word.is_empty());
    let model_type = words.next().filter(|word| !word.starts_with('#'))?;
    let category = Category::parse(words.next()?).ok()?;
    let mut architecture = Architecture { category, classes: Vec::new(), tasks: Vec::new() };
    for word in words {
        let (class, tasks) = word.split_once(':').unwrap_or((word, ""));
        let mut parts = class.split('+');
        let name = parts.next()?;
        let flags: Vec<_> = parts.collect();
        architecture.classes.push(Class { name, generate: flags.contains(&"generate"), mask: flags.contains(&"mask") });
        architecture.tasks.extend(tasks.split(',').filter(|tag| !tag.is_empty()).map(|tag| (tag, name)));
    }
    Some((model_type, architecture))
}

/// The class of that name in any architecture.
pub fn class(name: &str) -> Option<Class> {
    CLASSES.get(name).copied()
}

/// What is known, or for classes of other versions assumed from the name, about a class.
pub(crate) fn facts(name: &str, category: Category) -> Class {
    class(name).unwrap_or(Class {
        name: "",
        generate: ["ForCausalLM", "LMHeadModel", "ForConditionalGeneration"].iter().any(|end| name.ends_with(end)),
        mask: !matches!(category, Category::Vision | Category::Other),
    })
}
