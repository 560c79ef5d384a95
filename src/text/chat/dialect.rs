//! What the templates of `transformers` have that `minijinja` does not.

/// The source with line breaks as Jinja reads them, and with `generation` blocks as plain scopes: they mark what the
/// model says, and change nothing about the text.
pub(super) fn translate(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut translated = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(start) = rest.find('{') {
        let (text, tag) = rest.split_at(start);
        translated.push_str(text);
        let length = match tag.as_bytes().get(1) {
            Some(b'#') => tag.find("#}").map_or(tag.len(), |end| end + 2),
            Some(b'{') => tag_length(tag, "}}"),
            Some(b'%') => {
                let length = tag_length(tag, "%}");
                let (marks, word) = statement(&tag[..length]);
                let scope = match word {
                    "generation" => Some("with"),
                    "endgeneration" => Some("endwith"),
                    "raw" => {
                        // Jinja keeps the line break after this tag, unlike after others.
                        let opening = tag[..length].strip_suffix("%}").filter(|tag| !tag.ends_with(['-', '+']));
                        translated.push_str(opening.unwrap_or(&tag[..length]));
                        translated.push_str(opening.map_or("", |_| "+%}"));
                        let whole = raw_length(tag, length);
                        translated.push_str(&tag[length..whole]);
                        rest = &tag[whole..];
                        continue;
                    }
                    _ => None,
                };
                if let Some(scope) = scope {
                    translated.push_str(marks);
                    translated.push_str(scope);
                    translated.push_str(&tag[marks.len() + word.len()..length]);
                    rest = &tag[length..];
                    continue;
                }
                length
            }
            _ => 1,
        };
        translated.push_str(&tag[..length]);
        rest = &tag[length..];
    }
    translated.push_str(rest);
    translated
}

/// The opening of a statement, up to its first word, and that word.
fn statement(tag: &str) -> (&str, &str) {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    let start = tag.find(is_name).unwrap_or(tag.len());
    let length = tag[start..].find(|c| !is_name(c)).unwrap_or(tag.len() - start);
    (&tag[..start], &tag[start..start + length])
}

/// How long a tag is that ends at `close`, where that does not stand in a text in quotes.
fn tag_length(tag: &str, close: &str) -> usize {
    let mut quote = None;
    let mut is_escaped = false;
    for (index, c) in tag.char_indices().skip(2) {
        match quote {
            Some(_) if is_escaped => is_escaped = false,
            Some(_) if c == '\\' => is_escaped = true,
            Some(mark) if c == mark => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if tag[index..].starts_with(close) => return index + close.len(),
            None => {}
        }
    }
    tag.len()
}

/// How long a `raw` block is, given the length of its opening tag.
fn raw_length(tag: &str, opening: usize) -> usize {
    let mut end = opening;
    while let Some(start) = tag[end..].find("{%") {
        let length = tag_length(&tag[end + start..], "%}");
        let (_, word) = statement(&tag[end + start..end + start + length]);
        end += start + if word == "endraw" { length } else { 2 };
        if word == "endraw" {
            return end;
        }
    }
    tag.len()
}

#[cfg(test)]
mod tests {
    use super::translate;

    #[test]
    fn generation_blocks_become_scopes() {
        let source = "a{%- generation -%}{{ x }}{%endgeneration%}b{% if generation %}{% endif %}";
        assert_eq!(translate(source), "a{%- with -%}{{ x }}{%endwith%}b{% if generation %}{% endif %}");
    }

    #[test]
    fn texts_comments_and_raw_blocks_stay() {
        let same = [
            "{{ '{% generation %}' }} {# {% generation %} #}",
            "{% raw -%}{% generation %}{% endraw %}",
            "{% set x = \"%}\\\"{% generation %}\" %}",
            "{ {% é %} } {{ 'unclosed",
            "{% raw +%} never closed {% generation %}",
            "{%",
            "{",
        ];
        for source in same {
            assert_eq!(translate(source), source);
        }
    }

    #[test]
    fn line_breaks_are_one_character() {
        assert_eq!(translate("a\r\nb\rc\n"), "a\nb\nc\n");
        assert_eq!(translate("{% raw %}\n{% endraw %}"), "{% raw +%}\n{% endraw %}");
    }
}
