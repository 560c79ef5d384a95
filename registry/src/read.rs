//! From the text of one file to an [`Entry`], collecting every mistake on the way.

use std::ops::Range;

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use crate::{
    Category, Check, Level, Located, Mistake, Place, Task,
    entry::{Case, Entry, Fixed, Part, Skip, TaskClass, Tiny, Tolerance, Value},
    ident,
    nearest::hint,
    pinned::{BEFORE_REMOVAL, PINNED},
};

const KEYS: &[&str] = &[
    "model_type",
    "summary",
    "checkpoint",
    "model",
    "of",
    "transformers",
    "derives_from",
    "alt_category",
    "tasks",
    "parts",
    "tiny",
    "cases",
    "inputs",
    "skip",
    "fixed",
    "tolerance",
];

type Field<'t> = (&'t str, Range<usize>, &'t Spanned<DeValue<'t>>);

/// Reads the entry in `file` of `category`.
///
/// The entry is there whenever the text is TOML; with mistakes beside it, it holds what could be read.
pub fn read(file: &str, category: Category, text: &str) -> (Option<Entry>, Vec<Mistake>) {
    let mut reader = Reader { file, category, text, mistakes: Vec::new() };
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let message = error.message().replace('\n', ", ");
        reader.mistake(error.span().unwrap_or(0..0), Level::Syntax, message);
    }
    let entry = errors.is_empty().then(|| reader.entry(table.get_ref()));
    (entry, reader.mistakes)
}

struct Reader<'a> {
    file: &'a str,
    category: Category,
    text: &'a str,
    mistakes: Vec<Mistake>,
}

/// The fields of a table in the order of the file.
fn fields<'t>(table: &'t DeTable<'t>) -> Vec<Field<'t>> {
    let mut fields: Vec<_> = table.iter().map(|(key, value)| (&**key.get_ref(), key.span(), value)).collect();
    fields.sort_by_key(|(_, span, _)| span.start);
    fields
}

/// `a string`, as a message names the type of a value.
fn kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}

impl Reader<'_> {
    fn mistake(&mut self, span: Range<usize>, level: Level, message: impl Into<String>) {
        self.mistakes.push(Mistake {
            file: self.file.to_owned(),
            place: Place::of(self.text, span.start),
            message: message.into(),
            level,
            category: Some(self.category),
        });
    }

    fn located<T>(&self, value: T, span: Range<usize>) -> Located<T> {
        Located { value, place: Place::of(self.text, span.start) }
    }

    /// Keeps what was parsed, or notes why not.
    fn keep<T>(&mut self, span: Range<usize>, level: Level, parsed: Result<T, String>) -> Option<T> {
        parsed.map_err(|message| self.mistake(span, level, message)).ok()
    }

    fn unknown_keys(&mut self, table: &DeTable<'_>, known: &[&str], place: &str) {
        for (key, span, _) in fields(table) {
            if !known.contains(&key) {
                let hint = hint(key, known.iter().copied());
                self.mistake(span, Level::Syntax, format!("unknown key `{key}`{place}{hint}"));
            }
        }
    }

    fn string(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Located<String>> {
        let DeValue::String(text) = value.get_ref() else {
            let found = kind(value.get_ref());
            self.mistake(value.span(), Level::Syntax, format!("`{key}` must be a string, not {found}"));
            return None;
        };
        if text.trim().is_empty() {
            self.mistake(value.span(), Level::Syntax, format!("`{key}` is empty"));
            return None;
        }
        Some(self.located(text.to_string(), value.span()))
    }

    fn optional_string(&mut self, table: &DeTable<'_>, key: &str) -> Option<Located<String>> {
        table.get(key).and_then(|value| self.string(key, value))
    }

    /// A string that must be there; `place` says where in the file, e.g. ` in [parts.x]`.
    fn required_string(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        span: Range<usize>,
        place: &str,
    ) -> Option<Located<String>> {
        if !table.contains_key(key) {
            self.mistake(span, Level::Syntax, format!("missing key `{key}`{place}"));
        }
        self.optional_string(table, key)
    }

    /// The fields of the table `key`, none if it is missing or no table.
    fn table<'t>(&mut self, table: &'t DeTable<'t>, key: &str) -> Vec<Field<'t>> {
        match table.get(key) {
            Some(value) => self.as_table(key, value).map(fields).unwrap_or_default(),
            None => Vec::new(),
        }
    }

    fn as_table<'t>(&mut self, key: &str, value: &'t Spanned<DeValue<'t>>) -> Option<&'t DeTable<'t>> {
        if let DeValue::Table(table) = value.get_ref() {
            return Some(table);
        }
        let found = kind(value.get_ref());
        self.mistake(value.span(), Level::Syntax, format!("`{key}` must be a table, not {found}"));
        None
    }

    fn entry(&mut self, table: &DeTable<'_>) -> Entry {
        self.unknown_keys(table, KEYS, "");
        let stem = self.file.rsplit('/').next().unwrap_or(self.file).trim_end_matches(".toml").to_owned();
        let model_type = self.required_string(table, "model_type", 0..0, "");
        if let Some(Located { value, .. }) = &model_type {
            let span = table["model_type"].span();
            if let Err(message) = ident(value) {
                self.mistake(span.clone(), Level::Structure, message);
            }
            if *value != stem {
                let message = format!("the file of `{value}` must be named `{value}.toml`, not `{stem}.toml`");
                self.mistake(span, Level::Structure, message);
            }
        }
        let summary = self.required_string(table, "summary", 0..0, "");
        if summary.as_ref().is_some_and(|summary| summary.value.contains('\n')) {
            self.mistake(table["summary"].span(), Level::Syntax, "`summary` must be one line");
        }
        let checkpoint = self.required_string(table, "checkpoint", 0..0, "");
        let transformers = self.required_string(table, "transformers", 0..0, "");
        if let Some(version) = &transformers
            && ![PINNED, BEFORE_REMOVAL].contains(&&*version.value)
        {
            let message = format!(
                "entries are proven against transformers {PINNED}, or {BEFORE_REMOVAL} where 5.0 removed the architecture, not {}",
                version.value
            );
            self.mistake(table["transformers"].span(), Level::Structure, message);
        }
        let of = self.optional_string(table, "of");
        let model = if table.contains_key("of") {
            for key in ["model", "tasks", "parts"] {
                if let Some((key, _)) = table.get_key_value(key) {
                    let message =
                        format!("a variant has no `{}`: it comes from the entry that `of` names", key.get_ref());
                    self.mistake(key.span(), Level::Structure, message);
                }
            }
            None
        } else {
            if table.get("tasks").is_none_or(|tasks| tasks.get_ref().as_table().is_some_and(DeTable::is_empty)) {
                self.mistake(0..0, Level::Syntax, "no tasks: `[tasks]` must name at least one");
            }
            self.required_string(table, "model", 0..0, "").inspect(|model| self.rust_path(table["model"].span(), model))
        };
        let alt_category = self.optional_string(table, "alt_category").and_then(|name| {
            let span = table["alt_category"].span();
            if name.value == self.category.name() {
                self.mistake(span.clone(), Level::Structure, format!("`{}` is the category itself", name.value));
            }
            self.keep(span, Level::Structure, Category::parse(&name.value))
        });
        let tiny = self.table(table, "tiny");
        let text = |value: Option<Located<String>>| value.map(|text| text.value).unwrap_or_default();
        Entry {
            file: self.file.to_owned(),
            category: self.category,
            model_type: model_type.unwrap_or(Located { value: stem, place: Place::START }),
            summary: text(summary),
            checkpoint: text(checkpoint),
            model,
            of,
            transformers: transformers.unwrap_or(Located { value: PINNED.to_owned(), place: Place::START }),
            derives_from: self.derives_from(table),
            alt_category,
            tasks: self.tasks(table, alt_category),
            parts: self.parts(table),
            tiny: self.tiny(tiny),
            cases: self.cases(table),
            skip: self.skip(table),
            fixed: self.fixed(table),
            tolerances: self.tolerances(table),
        }
    }

    fn rust_path(&mut self, span: Range<usize>, path: &Located<String>) {
        if !path.value.split("::").all(crate::ident::is_rust_ident) {
            let message = format!("`{}` is no path of a Rust type below `models`, such as `bert::Bert`", path.value);
            self.mistake(span, Level::Structure, message);
        }
    }

    fn class(&mut self, span: Range<usize>, class: &Located<String>) {
        if !class.value.starts_with(|c: char| c.is_ascii_uppercase()) || !crate::ident::is_rust_ident(&class.value) {
            self.mistake(span, Level::Structure, format!("`{}` is no name of a class", class.value));
        }
    }

    fn derives_from(&mut self, table: &DeTable<'_>) -> Vec<Located<String>> {
        let Some(value) = table.get("derives_from") else { return Vec::new() };
        let DeValue::Array(parents) = value.get_ref() else {
            let message = format!("`derives_from` must be an array of strings, not {}", kind(value.get_ref()));
            self.mistake(value.span(), Level::Syntax, message);
            return Vec::new();
        };
        parents.iter().filter_map(|parent| self.string("derives_from[]", parent)).collect()
    }

    fn tasks(&mut self, table: &DeTable<'_>, alt_category: Option<Category>) -> Vec<TaskClass> {
        let mut tasks = Vec::new();
        for (tag, span, value) in self.table(table, "tasks") {
            let class = self.string(tag, value).inspect(|class| self.class(value.span(), class));
            let task = self.keep(span.clone(), Level::Tasks, Task::parse(tag));
            let (Some(task), Some(class)) = (task, class) else { continue };
            let fits = |category| task.categories.contains(&category);
            if !fits(self.category) && !alt_category.is_some_and(fits) {
                let known: Vec<_> = task.categories.iter().map(|category| category.name()).collect();
                let message = format!(
                    "task `{tag}` does not occur in category `{}`, only in {}",
                    self.category,
                    known.join(", ")
                );
                self.mistake(span.clone(), Level::Tasks, message);
            }
            tasks.push(TaskClass { task: self.located(task, span), class });
        }
        tasks
    }

    fn parts(&mut self, table: &DeTable<'_>) -> Vec<Part> {
        let mut parts = Vec::new();
        for (name, span, value) in self.table(table, "parts") {
            let place = format!(" in [parts.{name}]");
            let Some(part) = self.as_table(name, value) else { continue };
            self.unknown_keys(part, &["class", "model"], &place);
            if let Err(message) = ident(name) {
                self.mistake(span.clone(), Level::Structure, message);
            }
            let class = self.required_string(part, "class", span.clone(), &place);
            let model = self.required_string(part, "model", span.clone(), &place);
            let (Some(class), Some(model)) = (class, model) else { continue };
            self.class(part["class"].span(), &class);
            self.rust_path(part["model"].span(), &model);
            parts.push(Part { model_type: self.located(name.to_owned(), span), class, model });
        }
        parts
    }

    fn cases(&mut self, table: &DeTable<'_>) -> Vec<Case> {
        let mut cases = Vec::new();
        for (name, span, value) in self.table(table, "cases") {
            let place = format!(" in [cases.{name}]");
            let Some(case) = self.as_table(name, value) else { continue };
            self.unknown_keys(case, &["class", "tiny", "inputs"], &place);
            if let Err(message) = ident(name) {
                self.mistake(span.clone(), Level::Structure, message);
            }
            let tiny = self.table(case, "tiny");
            let tiny = self.tiny(tiny);
            let Some(class) = self.required_string(case, "class", span.clone(), &place) else { continue };
            cases.push(Case { name: self.located(name.to_owned(), span), class, tiny });
        }
        cases
    }

    fn tiny(&mut self, fields: Vec<Field<'_>>) -> Tiny {
        fields
            .into_iter()
            .filter_map(|(key, _, value)| self.value(key, value).map(|value| (key.to_owned(), value)))
            .collect()
    }

    fn value(&mut self, key: &str, value: &Spanned<DeValue<'_>>) -> Option<Value> {
        Some(match value.get_ref() {
            DeValue::String(text) => Value::Str(text.to_string()),
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Float(number) => match number.as_str().parse() {
                Ok(number) if f64::is_finite(number) => Value::Float(number),
                _ => {
                    self.mistake(value.span(), Level::Syntax, format!("`{key}`: {number} is not a finite number"));
                    return None;
                }
            },
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Int(number),
                Err(_) => {
                    self.mistake(value.span(), Level::Syntax, format!("`{key}`: {number} does not fit 64 bits"));
                    return None;
                }
            },
            DeValue::Table(table) => Value::Table(self.tiny(fields(table))),
            DeValue::Array(values) => {
                if let Some(odd) = values.iter().find(|value| !value.get_ref().same_type(values[0].get_ref())) {
                    let message =
                        format!("`{key}` mixes {} and {} in one array", kind(values[0].get_ref()), kind(odd.get_ref()));
                    self.mistake(odd.span(), Level::Structure, message);
                    return None;
                }
                Value::List(values.iter().filter_map(|value| self.value(key, value)).collect())
            }
            DeValue::Datetime(_) => {
                self.mistake(value.span(), Level::Syntax, format!("`{key}`: a config has no dates"));
                return None;
            }
        })
    }

    fn skip(&mut self, table: &DeTable<'_>) -> Vec<Skip> {
        let mut skips = Vec::new();
        for (name, span, value) in self.table(table, "skip") {
            let (check, case) = name.split_once('.').map_or((name, None), |(check, case)| (check, Some(case)));
            let check = self.keep(span.clone(), Level::Structure, Check::parse(check));
            let known = |case: &str| {
                ["cases", "tasks", "parts"].iter().any(|key| {
                    table.get(*key).and_then(|cases| cases.get_ref().as_table()).is_some_and(|it| it.contains_key(case))
                })
            };
            if let Some(case) = case.filter(|case| !known(case)) {
                self.mistake(span, Level::Structure, format!("there is no case `{case}` to skip a check of"));
            }
            if let (Some(check), Some(reason)) = (check, self.reason(name, value, "skipped")) {
                skips.push(Skip { check, case: case.map(str::to_owned), reason });
            }
        }
        skips
    }

    fn fixed(&mut self, table: &DeTable<'_>) -> Vec<Fixed> {
        let fields = self.table(table, "fixed");
        let reasons =
            fields.into_iter().map(|(field, _, value)| (field.to_owned(), self.reason(field, value, "fixed")));
        reasons.filter_map(|(field, reason)| Some(Fixed { field, reason: reason? })).collect()
    }

    /// Why `name` is what `state` says.
    fn reason(&mut self, name: &str, value: &Spanned<DeValue<'_>>, state: &str) -> Option<String> {
        match value.get_ref() {
            DeValue::String(reason) if reason.trim().is_empty() => {
                self.mistake(value.span(), Level::Structure, format!("`{name}` is {state} without a reason"));
                None
            }
            _ => Some(self.string(name, value)?.value),
        }
    }

    fn tolerances(&mut self, table: &DeTable<'_>) -> Vec<Tolerance> {
        let mut tolerances = Vec::new();
        for (name, span, value) in self.table(table, "tolerance") {
            let place = format!(" in [tolerance.\"{name}\"]");
            let Some(tolerance) = self.as_table(name, value) else { continue };
            self.unknown_keys(tolerance, &["factor", "reason"], &place);
            let check = name.split('.').next().unwrap_or(name);
            self.keep(span.clone(), Level::Structure, Check::parse(check));
            if tolerance
                .get("reason")
                .is_none_or(|reason| reason.get_ref().as_str().is_some_and(|it| it.trim().is_empty()))
            {
                let message = format!("the tolerance of `{name}` is loosened without a reason");
                self.mistake(span.clone(), Level::Structure, message);
                continue;
            }
            let factor = match tolerance.get("factor").map(|factor| (factor.span(), self.value("factor", factor))) {
                Some((_, Some(Value::Float(factor)))) if factor > 1.0 => factor,
                Some((_, Some(Value::Int(factor)))) if factor > 1 => factor as f64,
                Some((span, Some(_))) => {
                    self.mistake(span, Level::Structure, format!("`factor`{place} must be a number above 1"));
                    continue;
                }
                Some((_, None)) => continue,
                None => {
                    self.mistake(span, Level::Syntax, format!("missing key `factor`{place}"));
                    continue;
                }
            };
            let Some(reason) = self.optional_string(tolerance, "reason") else { continue };
            tolerances.push(Tolerance { check: name.to_owned(), factor, reason: reason.value });
        }
        tolerances
    }
}
