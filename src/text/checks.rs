//! What the `tokenizers` crate takes for granted: it panics, overflows the stack or takes any memory where it is not so.

use std::path::Path;

use serde_json::{Map, Value};
use tokenizers::PostProcessorWrapper;

use super::charsmap;
use crate::Error;

/// The largest id of a token: embeddings take signed numbers.
pub(super) const LARGEST_ID: u32 = i32::MAX as u32;

/// The most bytes of a piece. Looking for pieces recurses once a byte where the crate clones or drops them.
const LONGEST_PIECE: usize = 512;

/// The most bytes of a pattern, and the most brackets within brackets.
const LONGEST_PATTERN: usize = 4096;
const DEEPEST_PATTERN: usize = 200;

/// Checks a parsed `tokenizer.json`.
pub(super) fn json(json: &Map<String, Value>) -> Result<(), String> {
    for field in ["normalizer", "pre_tokenizer", "decoder"] {
        json.get(field).map_or(Ok(()), part).map_err(|error| format!("`{field}`: {error}"))?;
    }
    let ids = json.get("added_tokens").and_then(Value::as_array).into_iter().flatten();
    if let Some(id) = ids.filter_map(|token| token.get("id")?.as_u64()).find(|id| *id > u64::from(LARGEST_ID)) {
        return Err(format!("`added_tokens`: the id {id} is larger than {LARGEST_ID}"));
    }
    json.get("model").and_then(Value::as_object).map_or(Ok(()), model).map_err(|error| format!("`model`: {error}"))
}

/// Checks a step, and those within it.
fn part(step: &Value) -> Result<(), String> {
    match step {
        Value::Array(steps) => steps.iter().try_for_each(part),
        Value::Object(fields) => {
            let kind = fields.get("type").and_then(Value::as_str);
            match fields.get("precompiled_charsmap") {
                Some(map) => charsmap::check_base64(map)?,
                None if kind == Some("Precompiled") => return Err("`precompiled_charsmap` is missing".into()),
                None => {}
            }
            if kind == Some("FixedLength") && fields.get("length").and_then(Value::as_u64) == Some(0) {
                return Err("a `length` of 0".into());
            }
            fields.get("Regex").and_then(Value::as_str).map_or(Ok(()), pattern)?;
            fields.values().try_for_each(part)
        }
        _ => Ok(()),
    }
}

/// Checks a pattern: Oniguruma recurses for what is nested.
fn pattern(pattern: &str) -> Result<(), String> {
    let mut depth = 0usize;
    let mut chars = pattern.chars();
    while let Some(char) = chars.next() {
        match char {
            '\\' => _ = chars.next(),
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST_PATTERN {
            return Err(format!("a pattern with more than {DEEPEST_PATTERN} brackets within brackets"));
        }
    }
    match pattern.len() > LONGEST_PATTERN {
        true => Err(format!("a pattern of {} bytes; it can have {LONGEST_PATTERN}", pattern.len())),
        false => Ok(()),
    }
}

fn model(model: &Map<String, Value>) -> Result<(), String> {
    match model.get("vocab") {
        Some(Value::Object(ids)) => {
            let large = ids.iter().find(|(_, id)| id.as_u64().is_some_and(|id| id > u64::from(LARGEST_ID)));
            if let Some((token, id)) = large {
                return Err(format!("`{token}` has the id {id}, which is larger than {LARGEST_ID}"));
            }
            let prefix = model.get("continuing_subword_prefix").and_then(Value::as_str).unwrap_or_default();
            let pairs = model.get("merges").and_then(Value::as_array).into_iter().flatten().filter_map(pair);
            merges(pairs, prefix, |token| ids.contains_key(token))
        }
        Some(Value::Array(tokens)) => pieces(tokens.iter().filter_map(|token| token.get(0)?.as_str())),
        _ => Ok(()),
    }
}

/// The halves of a merge of `tokenizer.json`.
pub(super) fn pair(merge: &Value) -> Option<(&str, &str)> {
    match merge {
        Value::String(merge) => merge.split_once(' ').filter(|(_, right)| !right.contains(' ')),
        Value::Array(halves) => match halves.as_slice() {
            [left, right] => Some((left.as_str()?, right.as_str()?)),
            _ => None,
        },
        _ => None,
    }
}

/// Checks that merges make tokens of tokens; those within a word begin with `prefix`.
pub(super) fn merges<'a>(
    merges: impl IntoIterator<Item = (&'a str, &'a str)>,
    prefix: &str,
    is_token: impl Fn(&str) -> bool,
) -> Result<(), String> {
    let mut whole = String::new();
    for (left, right) in merges {
        let Some(rest) = right.get(prefix.len()..) else {
            return Err(format!("the merge `{left} {right}`: `{right}` is shorter than `{prefix}`"));
        };
        whole.clear();
        whole.push_str(left);
        whole.push_str(rest);
        if let Some(missing) = [left, right, &whole].into_iter().find(|token| !is_token(token)) {
            return Err(format!("the merge `{left} {right}`: there is no token `{missing}`"));
        }
    }
    Ok(())
}

/// Checks pieces of SentencePiece.
pub(super) fn pieces<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Result<(), String> {
    match pieces.into_iter().map(str::len).find(|length| *length > LONGEST_PIECE) {
        Some(length) => Err(format!("a piece has {length} bytes; it can have {LONGEST_PIECE}")),
        None => Ok(()),
    }
}

/// Checks that the templates of a post-processor name special tokens that it has.
pub(super) fn processor(processor: &PostProcessorWrapper) -> Result<(), String> {
    match processor {
        PostProcessorWrapper::Sequence(steps) => steps.as_ref().iter().try_for_each(self::processor),
        PostProcessorWrapper::Template(template) => {
            let template = serde_json::to_value(template).map_err(|error| error.to_string())?;
            let tokens = &template["special_tokens"];
            let lengths = |token: &Value| Some((token["ids"].as_array()?.len(), token["tokens"].as_array()?.len()));
            let is_odd = |token: &Value| lengths(token).is_none_or(|(ids, tokens)| ids != tokens);
            if let Some((name, _)) = tokens.as_object().into_iter().flatten().find(|(_, token)| is_odd(token)) {
                return Err(format!("`special_tokens`: `{name}` has not as many ids as tokens"));
            }
            for field in ["single", "pair"] {
                for piece in template[field].as_array().into_iter().flatten() {
                    let name = piece["SpecialToken"]["id"].as_str();
                    if let Some(name) = name.filter(|name| tokens.get(name).is_none()) {
                        return Err(format!("`{field}`: `{name}` is not in `special_tokens`"));
                    }
                    if field == "single" && piece["Sequence"]["id"] == "B" {
                        return Err("`single`: there is no second text".into());
                    }
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// What is wrong with a file.
pub(super) fn wrong(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::Tokenizer(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_within_the_limits_do_not_exhaust_a_small_stack() {
        let nested = format!("{}a{}", "(".repeat(DEEPEST_PATTERN), ")".repeat(DEEPEST_PATTERN));
        let repeated = format!("a{}", "{2}".repeat((LONGEST_PATTERN - 1) / 3));
        let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
            for pattern in [nested, repeated] {
                assert_eq!(super::pattern(&pattern), Ok(()));
                let _ = tokenizers::normalizers::Replace::new(
                    tokenizers::normalizers::replace::ReplacePattern::Regex(pattern),
                    "",
                );
            }
        });
        thread.unwrap().join().unwrap();
    }

    #[test]
    fn pieces_within_the_limits_do_not_exhaust_a_small_stack() {
        let pieces = vec![("a".repeat(LONGEST_PIECE), 0.0)];
        let thread = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
            let model = tokenizers::models::unigram::Unigram::from(pieces, Some(0), false).unwrap();
            drop(model.clone());
        });
        thread.unwrap().join().unwrap();
    }
}
