//! Mistakes in entries, each with its place.

use std::fmt;

use crate::Category;

/// How far an entry gets: each level includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The file is TOML with the keys and types of an entry.
    Syntax,
    /// Names, paths, parents and cases hold together.
    Structure,
    /// The tasks fit the category, and the classes exist in the pinned `transformers`.
    Tasks,
}

/// A place in a file, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

impl Place {
    /// The start of a file.
    pub const START: Self = Self { line: 1, column: 1 };

    /// The place of a byte offset.
    pub(crate) fn of(text: &str, offset: usize) -> Self {
        let before = &text[..text.floor_char_boundary(offset)];
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        Self { line: before.matches('\n').count() + 1, column: before[start..].chars().count() + 1 }
    }
}

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Located<T> {
    /// The value.
    pub value: T,
    /// Its place.
    pub place: Place,
}

/// One mistake in the registry. Sorts by file and place.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mistake {
    /// The file, relative to the package.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// What is wrong and what to do about it.
    pub message: String,
    /// The level that the entry does not reach.
    pub level: Level,
    /// The category of the file.
    pub category: Option<Category>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}:{}: {}", self.file, self.place.line, self.place.column, self.message)
    }
}
