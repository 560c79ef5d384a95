//! Names of the hub as Rust identifiers: the one place that maps them.

/// Rust's keywords that are spelt in lower case, in all editions.
const KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate", "do", "dyn", "else",
    "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro", "match", "mod",
    "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "struct", "super", "trait", "true",
    "try", "type", "typeof", "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// Maps a `model_type`, case or part name to an identifier: `gpt-j` to `gpt_j`, `qwen2.5` to `qwen2_5`.
///
/// # Errors
///
/// What is wrong with a name that is empty, does not start with a lower-case ASCII letter, holds anything but
/// lower-case ASCII letters, digits, `-`, `_` and `.`, or is a Rust keyword.
pub fn ident(name: &str) -> Result<String, String> {
    let Some(first) = name.chars().next() else {
        return Err("the name is empty".to_owned());
    };
    if !first.is_ascii_lowercase() {
        return Err(format!("`{name}` must start with a lower-case letter from a to z"));
    }
    if let Some(bad) = name.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '-' | '_' | '.')) {
        return Err(format!("`{name}` contains {bad:?}; a name has only a-z, 0-9, `-`, `_` and `.`"));
    }
    if is_keyword(name) {
        return Err(format!("`{name}` is a Rust keyword"));
    }
    Ok(name.replace(['-', '.'], "_"))
}

/// Whether `name` is a lower-case Rust keyword.
pub fn is_keyword(name: &str) -> bool {
    KEYWORDS.contains(&name)
}

/// Whether `name` is a plain Rust identifier and no keyword.
pub fn is_rust_ident(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !matches!(name, "_" | "Self")
        && !is_keyword(name)
}
