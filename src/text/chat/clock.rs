//! The date that a template asks for.

use std::fmt::Write;
use std::time::SystemTime;

use chrono::{DateTime, Local};

/// The directives of `strftime` that Python has on Linux.
const DIRECTIVES: &str = "aAbBcCdDeFgGhHIjklmMnpPrRsStTuUVwWxXyY";

/// A time of this machine's time zone as `datetime.strftime` writes it.
pub(super) fn strftime(time: SystemTime, format: &str) -> String {
    let time = DateTime::<Local>::from(time).naive_local();
    let mut text = String::new();
    let mut rest = format;
    while let Some(start) = rest.find('%') {
        text.push_str(&rest[..start]);
        let directive = &rest[start..];
        let padding = usize::from(directive[1..].starts_with(['-', '_', '0']));
        let length = 1 + padding + directive[1 + padding..].chars().next().map_or(0, char::len_utf8);
        match directive[1 + padding..].chars().next() {
            Some('%') => text.push('%'),
            // Six digits in Python, nine here.
            Some('f') => text.push_str(&time.format("%6f").to_string()),
            // A time without a zone has nothing to say.
            Some('z' | 'Z') => {}
            Some(letter) if DIRECTIVES.contains(letter) => {
                // Padding is for numbers; before a name the directive stays as it is.
                let done = text.len();
                if write!(text, "{}", time.format(&directive[..length])).is_err() {
                    text.replace_range(done.., &directive[..length]);
                }
            }
            _ => text.push_str(&directive[..length]),
        }
        rest = &directive[length..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn directives_are_those_of_python() {
        let noon = SystemTime::UNIX_EPOCH + Duration::from_secs(1_722_000_000);
        let written = |format: &str| strftime(noon, format);
        assert_eq!(written("%B %-d, %Y"), "July 26, 2024");
        assert_eq!(written("%d %b %y %% %j %f %Z|%z"), "26 Jul 24 % 208 000000 |");
        assert_eq!(written("é %Q %"), "é %Q %");
        for letter in DIRECTIVES.chars() {
            for padding in ["", "-", "_", "0"] {
                written(&format!("%{padding}{letter}"));
            }
        }
    }
}
