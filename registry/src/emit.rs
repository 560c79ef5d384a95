//! What the build makes of the roster: the table that the library dispatches on, and the declarations of the suites.

use std::fmt::{self, Write as _};

use crate::{
    Category, Roster,
    entry::{Entry, Skip, Tiny, Value},
    ident::{ident, is_rust_ident},
};

/// The table of all architectures, an expression for `src/auto.rs`.
pub fn table(roster: &Roster) -> String {
    let mut out = String::from("// Generated from the entries of the registry.\n&[\n");
    for entry in roster.entries() {
        // Writing to a string cannot fail.
        let _ = row(&mut out, roster, entry);
    }
    out + "]\n"
}

fn row(out: &mut String, roster: &Roster, entry: &Entry) -> fmt::Result {
    let model = model(roster, entry);
    let of = entry.of.as_ref().map(|of| &of.value);
    let derives_from: Vec<_> = entry.derives_from.iter().map(|parent| &parent.value).collect();
    let skipped = |skip: &Skip| match &skip.case {
        Some(case) => format!("{}.{case}", skip.check.name),
        None => skip.check.name.to_owned(),
    };
    let skip: Vec<_> = entry.skip.iter().map(|skip| (skipped(skip), &skip.reason)).collect();
    writeln!(out, "    Entry {{")?;
    writeln!(out, "        model_type: {:?},", entry.model_type.value)?;
    writeln!(out, "        category: {:?},", entry.category.name())?;
    writeln!(out, "        alt_category: {:?},", entry.alt_category.map(Category::name))?;
    writeln!(out, "        summary: {:?},", entry.summary)?;
    writeln!(out, "        checkpoint: {:?},", entry.checkpoint)?;
    writeln!(out, "        of: {of:?},")?;
    writeln!(out, "        derives_from: &{derives_from:?},")?;
    writeln!(out, "        transformers: {:?},", entry.transformers.value)?;
    writeln!(out, "        config: config_of::<crate::models::{model}>(),")?;
    writeln!(out, "        classes: &[")?;
    for class in roster.classes(entry) {
        let tags: Vec<_> = class.tasks.iter().map(|task| task.tag).collect();
        let load = format!("load_head::<crate::models::{model}, crate::tasks::{}>", class.tasks[0].type_name);
        writeln!(out, "            Class {{ name: {:?}, tasks: &{tags:?}, load: {load} }},", class.name)?;
    }
    writeln!(out, "        ],")?;
    writeln!(out, "        parts: &[")?;
    for part in &entry.parts {
        let (model_type, model) = (&part.model_type.value, &part.model.value);
        let load = format!("load_part::<crate::models::{model}>");
        let class = format!("Class {{ name: {:?}, tasks: &[], load: {load} }}", part.class.value);
        let config = format!("config_of::<crate::models::{model}>()");
        writeln!(out, "            Part {{ model_type: {model_type:?}, config: {config}, class: {class} }},")?;
    }
    writeln!(out, "        ],")?;
    writeln!(out, "        cases: &{:?},", roster.case_names(entry))?;
    writeln!(out, "        skip: &{skip:?},")?;
    let fixed: Vec<_> = entry.fixed.iter().map(|fixed| (&fixed.field, &fixed.reason)).collect();
    writeln!(out, "        fixed: &{fixed:?},")?;
    writeln!(out, "        tolerances: &[")?;
    for tolerance in &entry.tolerances {
        let (check, reason) = (&tolerance.check, &tolerance.reason);
        writeln!(
            out,
            "            Tolerance {{ check: {check:?}, factor: {:?}, reason: {reason:?} }},",
            tolerance.factor
        )?;
    }
    writeln!(out, "        ],")?;
    writeln!(out, "        source: {:?},", entry.file)?;
    writeln!(out, "    }},")
}

/// The declarations of all architectures of a category: one `#[hf_model(…)]` for each.
pub fn declarations(roster: &Roster, category: Category) -> String {
    let mut out = format!("// Generated from registry/{category}.\n");
    for entry in roster.entries().iter().filter(|entry| entry.category == category) {
        let _ = declaration(&mut out, roster, entry);
    }
    out
}

fn declaration(out: &mut String, roster: &Roster, entry: &Entry) -> fmt::Result {
    writeln!(out, "\n// {}", entry.file)?;
    writeln!(out, "#[tch_transformers::hf_model(")?;
    writeln!(out, "    model_type = {:?},", entry.model_type.value)?;
    writeln!(out, "    category = {:?},", entry.category.name())?;
    if let Some(of) = &entry.of {
        writeln!(out, "    of = {:?},", of.value)?;
    }
    writeln!(out, "    model = tch_transformers::models::{},", model(roster, entry))?;
    let tasks = roster.tasks(entry).iter();
    group(out, "tasks", tasks.map(|task| format!("{} = {:?}", task.task.value.ident(), task.class.value)))?;
    let parts = entry.parts.iter().map(|part| {
        let (name, class) = (&part.model_type.value, &part.class.value);
        format!("{name:?} = {class:?} => tch_transformers::models::{}", part.model.value)
    });
    group(out, "parts", parts)?;
    if !entry.tiny.is_empty() {
        writeln!(out, "    tiny {{")?;
        for (key, value) in &entry.tiny {
            writeln!(out, "        {}: {},", Key(key), Literal(value))?;
        }
        writeln!(out, "    }},")?;
    }
    let cases = (entry.cases.iter())
        .map(|case| format!("{:?} = {:?} {}", case.name.value, case.class.value, Braces(&case.tiny)));
    group(out, "cases", cases)?;
    let checks: Vec<_> = roster.checks(entry).into_iter().map(|check| check.name).collect();
    writeln!(out, "    checks({}),", checks.join(", "))?;
    let everywhere = entry.skip.iter().filter(|skip| skip.case.is_none());
    group(out, "skip", everywhere.map(|skip| format!("{} = {:?}", skip.check.name, skip.reason)))?;
    let name = &entry.model_type.value;
    writeln!(out, ")]\nmod {} {{}}", ident(name).unwrap_or_else(|_| name.clone()))
}

/// The Rust type of an entry, below `models`.
fn model<'a>(roster: &'a Roster, entry: &'a Entry) -> &'a str {
    roster.code_of(entry).model.as_ref().map_or("", |model| &model.value)
}

fn group(out: &mut String, name: &str, items: impl Iterator<Item = String>) -> fmt::Result {
    let items: Vec<_> = items.collect();
    if items.is_empty() {
        return Ok(());
    }
    writeln!(out, "    {name}(")?;
    for item in items {
        writeln!(out, "        {item},")?;
    }
    writeln!(out, "    ),")
}

struct Key<'a>(&'a str);

impl fmt::Display for Key<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_rust_ident(self.0) { formatter.write_str(self.0) } else { write!(formatter, "{:?}", self.0) }
    }
}

struct Braces<'a>(&'a Tiny);

impl fmt::Display for Braces<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return formatter.write_str("{}");
        }
        let fields: Vec<_> = self.0.iter().map(|(key, value)| format!("{}: {}", Key(key), Literal(value))).collect();
        write!(formatter, "{{ {} }}", fields.join(", "))
    }
}

struct Literal<'a>(&'a Value);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Bool(flag) => write!(formatter, "{flag}"),
            Value::Int(number) => write!(formatter, "{number}"),
            Value::Float(number) => write!(formatter, "{number:?}"),
            Value::Str(text) => write!(formatter, "{text:?}"),
            Value::Table(table) => Braces(table).fmt(formatter),
            Value::List(values) => {
                let values: Vec<_> = values.iter().map(|value| Literal(value).to_string()).collect();
                write!(formatter, "[{}]", values.join(", "))
            }
        }
    }
}
