//! Which class of `transformers` makes the tokenizer of a directory.

use super::class_table::{GENERIC, MISDECLARED, REGISTERED};
use super::piece_recipes::PIECE_RECIPES;
#[cfg(test)]
use super::recipe::Files;
use super::recipe::Recipe;
use super::word_recipes::WORD_RECIPES;

/// How the tokenizer of a directory is made.
pub(super) enum Class {
    /// From `tokenizer.json` as it stands.
    Generic,
    /// From its vocabulary alone, whatever `tokenizer.json` says besides.
    Built(&'static Recipe),
}

/// What of `config.json` and the tokenizer's files decides about the class.
pub(super) struct Evidence<'a> {
    /// `tokenizer_class` of `tokenizer_config.json`, else of `config.json`.
    pub declared: Option<&'a str>,
    pub model_type: Option<&'a str>,
    /// Whether `tokenizer.json` works on bytes.
    pub is_byte_level: bool,
}

impl Evidence<'_> {
    /// The class, by the rules of `AutoTokenizer`.
    pub fn class(&self) -> Class {
        let declared = self.declared.map(|name| name.strip_suffix("Fast").unwrap_or(name));
        let registered = self.model_type.and_then(registered);
        let is_misdeclared = self.model_type.is_some_and(|model_type| MISDECLARED.contains(&model_type));
        // Byte-level files of Llama 3 often declare the class of Llama 2, which splits at spaces.
        if declared == Some("LlamaTokenizer") && self.is_byte_level && !is_misdeclared {
            return Class::Generic;
        }
        match (declared, registered) {
            (Some(declared), Some(registered)) if declared != registered => match registered {
                GENERIC => Class::Generic,
                _ if is_misdeclared => by_name(registered),
                _ => by_name(declared),
            },
            (Some(name), _) | (None, Some(name)) => by_name(name),
            (None, None) => Class::Generic,
        }
    }
}

fn by_name(name: &str) -> Class {
    WORD_RECIPES
        .iter()
        .chain(PIECE_RECIPES)
        .find(|recipe| recipe.classes.contains(&name))
        .map_or(Class::Generic, Class::Built)
}

/// The files of all vocabularies that are read where there is no `tokenizer.json`.
#[cfg(test)]
pub(crate) fn vocabulary_files() -> impl Iterator<Item = &'static str> {
    let named = |recipe: &Recipe| match recipe.files {
        Files::None => vec![],
        Files::Lines => vec!["vocab.txt"],
        Files::Merges => vec!["vocab.json", "merges.txt"],
        Files::Pieces(file, _) => vec!["tokenizer.model", file],
    };
    let files: std::collections::BTreeSet<_> = WORD_RECIPES.iter().chain(PIECE_RECIPES).flat_map(named).collect();
    files.into_iter()
}

/// The class that is registered for a `model_type`.
fn registered(model_type: &str) -> Option<&'static str> {
    REGISTERED.iter().find(|(_, types)| types.contains(&model_type)).map(|(class, _)| *class)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(declared: &str, model_type: &str, is_byte_level: bool) -> Option<&'static str> {
        let some = |text| Some(text).filter(|text: &&str| !text.is_empty());
        let evidence = Evidence { declared: some(declared), model_type: some(model_type), is_byte_level };
        match evidence.class() {
            Class::Generic => None,
            Class::Built(recipe) => Some(recipe.classes[0]),
        }
    }

    #[test]
    fn the_declared_class_counts_unless_the_model_type_has_none_or_another() {
        assert_eq!(class("BertTokenizerFast", "bert", false), Some("BertTokenizer"));
        assert_eq!(class("", "distilbert", false), Some("BertTokenizer"));
        assert_eq!(class("GPT2Tokenizer", "bert", true), Some("GPT2Tokenizer"));
        assert_eq!(class("PreTrainedTokenizerFast", "bert", false), None);
        assert_eq!(class("PreTrainedTokenizerFast", "qwen2", true), Some("Qwen2Tokenizer"));
        assert_eq!(class("LlamaTokenizer", "llama", false), Some("LlamaTokenizer"));
        assert_eq!(class("LlamaTokenizer", "llama", true), None);
        assert_eq!(class("LlamaTokenizer", "mistral", false), None);
        assert_eq!(class("", "llama", false), None);
        assert_eq!(class("", "", false), None);
    }
}
