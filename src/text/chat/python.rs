//! Values and texts as Python prints and tells them apart.

use minijinja::Value;
use minijinja::value::ValueKind;

/// How deep values nest before the rest is left out.
const DEEPEST: usize = 200;

/// What `str` makes of a value.
pub(super) fn display(value: &Value) -> String {
    match value.as_str() {
        Some(text) => text.to_owned(),
        None if value.is_undefined() => String::new(),
        None => repr(value),
    }
}

/// What `repr` makes of a value.
pub(super) fn repr(value: &Value) -> String {
    let mut text = String::new();
    write_repr(value, 0, &mut text);
    text
}

fn write_repr(value: &Value, depth: usize, into: &mut String) {
    if depth > DEEPEST {
        into.push_str("...");
        return;
    }
    match value.kind() {
        ValueKind::Undefined => into.push_str("Undefined"),
        ValueKind::String => quote(value.as_str().unwrap_or_default(), into),
        ValueKind::Number if !value.is_integer() => match f64::try_from(value.clone()) {
            Ok(number) => into.push_str(&float(number)),
            Err(_) => into.push_str(&value.to_string()),
        },
        ValueKind::Map => {
            let keys = value.try_iter().into_iter().flatten();
            let mut separator = "{";
            for key in keys {
                into.push_str(std::mem::replace(&mut separator, ", "));
                write_repr(&key, depth + 1, into);
                into.push_str(": ");
                write_repr(&value.get_item(&key).unwrap_or_default(), depth + 1, into);
            }
            into.push_str(if separator == "{" { "{}" } else { "}" });
        }
        ValueKind::Seq | ValueKind::Iterable if value.len().is_some() => {
            let (open, close) = if value.is_tuple() { ("(", ")") } else { ("[", "]") };
            into.push_str(open);
            for (index, item) in value.try_iter().into_iter().flatten().enumerate() {
                into.push_str(if index == 0 { "" } else { ", " });
                write_repr(&item, depth + 1, into);
            }
            into.push_str(if value.is_tuple() && value.len() == Some(1) { "," } else { "" });
            into.push_str(close);
        }
        _ => into.push_str(&value.to_string()),
    }
}

/// The shortest digits that mean the number, with an exponent where it is very large or very small.
fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    // The bounds of the exponent are the same in Rust; its spelling is not.
    let text = format!("{number:?}");
    match text.split_once('e').map(|(digits, exponent)| (digits.to_owned(), exponent.parse::<i32>())) {
        Some((digits, Ok(exponent))) => format!("{digits}e{exponent:+03}"),
        _ => text,
    }
}

fn quote(text: &str, into: &mut String) {
    let mark = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    into.push(mark);
    for c in text.chars() {
        match c {
            '\n' => into.push_str("\\n"),
            '\r' => into.push_str("\\r"),
            '\t' => into.push_str("\\t"),
            '\\' => into.push_str("\\\\"),
            c if c == mark => into.extend(['\\', c]),
            c if is_printable(c) => into.push(c),
            c => into.push_str(&match u32::from(c) {
                code @ 0..=0xff => format!("\\x{code:02x}"),
                code @ 0x100..=0xffff => format!("\\u{code:04x}"),
                code => format!("\\U{code:08x}"),
            }),
        }
    }
    into.push(mark);
}

/// Whether a character is neither a separator (but for the space) nor a control, formatting or unassigned one.
fn is_printable(c: char) -> bool {
    // Rust's debugging output asks the same, but also escapes a combining character that a text begins with.
    c.is_ascii_graphic() || c == ' ' || !c.is_ascii() && !format!("a{c}").escape_debug().any(|c| c == '\\')
}

/// Whether `str.isspace` says so: as Unicode does, and four separators of ASCII.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// Whether `str.splitlines` breaks a line at the character.
pub(super) fn is_line_break(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_have_pythons_digits() {
        let cases = [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (1e15, "1000000000000000.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (f64::INFINITY, "inf"),
        ];
        for (number, text) in cases {
            assert_eq!(float(number), text);
        }
    }

    #[test]
    fn texts_are_quoted_with_the_mark_that_needs_no_escape() {
        let quoted = |text: &str| repr(&Value::from(text));
        assert_eq!(quoted("it's"), "\"it's\"");
        assert_eq!(quoted("'\""), "'\\'\"'");
        assert_eq!(quoted("a\u{200d}b\u{a0}\u{7f}\u{301}é😀"), "'a\\u200db\\xa0\\x7f\u{301}é😀'");
    }
}
