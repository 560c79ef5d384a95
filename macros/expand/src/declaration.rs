//! The declaration of an architecture: parsed, and checked as far as one declaration can be.

use proc_macro2::{Delimiter, Group, Span, TokenStream, TokenTree};
use syn::{
    Ident, ItemMod, Lit, LitStr, Path, Token, braced, bracketed,
    ext::IdentExt,
    parse::{Parse, ParseStream, Parser},
    punctuated::Punctuated,
    token,
};
use tch_transformers_registry::{Category, Check, TASKS, Task, hint, ident};

const KEYS: &[&str] = &["model_type", "category", "of", "model", "tasks", "parts", "tiny", "cases", "checks", "skip"];

/// A task and the Hugging Face class that serves it.
#[derive(Debug)]
pub struct TaskClass {
    /// Where the declaration names the task.
    pub span: Span,
    /// The task.
    pub task: &'static Task,
    /// The class.
    pub class: LitStr,
}

/// A part that is a model of its own.
#[derive(Debug)]
pub struct Part {
    /// Its `model_type`.
    pub model_type: LitStr,
    /// Its Hugging Face class.
    pub class: LitStr,
    /// Its Rust type.
    pub model: Path,
}

/// A case beyond the one that each class has.
#[derive(Debug)]
pub struct Case {
    /// Its name.
    pub name: LitStr,
    /// The class that it runs.
    pub class: LitStr,
    /// What it changes about the config.
    pub tiny: Vec<Field>,
}

/// A check that does not apply.
#[derive(Debug)]
pub struct Skip {
    /// The check.
    pub check: &'static Check,
    /// Why it does not apply.
    pub reason: LitStr,
}

/// A field of a config with a value.
#[derive(Debug)]
pub struct Field {
    /// The name of the field.
    pub key: String,
    /// Where it stands.
    pub span: Span,
    /// The value.
    pub value: Literal,
}

/// The value of a config's field, by its type: the proofs need no more.
#[derive(Debug)]
pub enum Literal {
    /// A boolean.
    Bool,
    /// An integer.
    Int,
    /// A float.
    Float,
    /// A string.
    Str,
    /// A list.
    List(Vec<Literal>),
    /// A table.
    Table(Vec<Field>),
}

/// The declaration of an architecture.
#[derive(Debug)]
pub struct Declaration {
    /// The module to fill.
    pub module: ItemMod,
    /// `model_type` in `config.json`, or a variant's own name.
    pub model_type: LitStr,
    /// For variants, the architecture whose code they use.
    pub of: Option<LitStr>,
    /// The Rust type.
    pub model: Path,
    /// The tasks.
    pub tasks: Vec<TaskClass>,
    /// The parts.
    pub parts: Vec<Part>,
    /// The config of the cases.
    pub tiny: Vec<Field>,
    /// The extra cases.
    pub cases: Vec<Case>,
    /// The checks of the suite.
    pub checks: Vec<&'static Check>,
    /// Those of them that do not apply.
    pub skip: Vec<Skip>,
}

/// All mistakes so far.
#[derive(Default)]
struct Mistakes(Option<syn::Error>);

impl Mistakes {
    fn add(&mut self, error: syn::Error) {
        match &mut self.0 {
            Some(errors) => errors.combine(error),
            None => self.0 = Some(error),
        }
    }

    fn at(&mut self, span: Span, message: impl std::fmt::Display) {
        self.add(syn::Error::new(span, message));
    }

    fn keep<T>(&mut self, parsed: syn::Result<T>) -> Option<T> {
        parsed.map_err(|error| self.add(error)).ok()
    }

    /// Notes what occurs twice.
    fn twice(&mut self, names: impl IntoIterator<Item = (String, Span)>, what: &str) {
        let mut seen = Vec::new();
        for (name, span) in names {
            if seen.contains(&name) {
                self.at(span, format!("{what} `{name}` is given twice"));
            }
            seen.push(name);
        }
    }
}

/// `key = value`, `key(…)` or `key {…}`, not yet understood.
struct Argument {
    key: Ident,
    delimiter: Option<Delimiter>,
    tokens: TokenStream,
}

impl Parse for Argument {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input.call(Ident::parse_any)?;
        if !input.peek(Token![=]) {
            let group: Group = input.parse()?;
            return Ok(Self { key, delimiter: Some(group.delimiter()), tokens: group.stream() });
        }
        input.parse::<Token![=]>()?;
        let mut tokens = TokenStream::new();
        while !input.is_empty() && !input.peek(Token![,]) {
            tokens.extend([input.parse::<TokenTree>()?]);
        }
        Ok(Self { key, delimiter: None, tokens })
    }
}

impl Declaration {
    /// Parses and checks `#[hf_model(arguments)] item`.
    ///
    /// # Errors
    ///
    /// Every mistake, each at its place.
    pub fn parse(arguments: TokenStream, item: TokenStream) -> syn::Result<Self> {
        let module: ItemMod = syn::parse2(item)?;
        let arguments = Punctuated::<Argument, Token![,]>::parse_terminated.parse2(arguments)?;
        let mut mistakes = Mistakes::default();
        mistakes.twice(arguments.iter().map(|argument| (argument.key.to_string(), argument.key.span())), "the key");
        for Argument { key, .. } in &arguments {
            if !KEYS.contains(&&*key.to_string()) {
                let hint = hint(&key.to_string(), KEYS.iter().copied());
                mistakes.at(key.span(), format!("unknown key `{key}`{hint}"));
            }
        }
        if module.content.as_ref().is_none_or(|(_, items)| !items.is_empty()) {
            mistakes.at(module.ident.span(), "the module must be empty, `mod name {}`: the macro fills it");
        }
        let mut reader = Reader { arguments: arguments.into_iter().collect(), mistakes, end: module.ident.span() };
        let model_type = reader.required::<LitStr>("model_type");
        if let Some(name) = &model_type {
            match ident(&name.value()) {
                Ok(ident) if module.ident != ident => {
                    reader
                        .mistakes
                        .at(module.ident.span(), format!("the module of `{}` is named `{ident}`", name.value()));
                }
                Ok(_) => {}
                Err(message) => reader.mistakes.at(name.span(), message),
            }
        }
        let category = reader.required::<LitStr>("category");
        if let Some(name) = &category
            && let Err(message) = Category::parse(&name.value())
        {
            reader.mistakes.at(name.span(), message);
        }
        let of = reader.optional::<LitStr>("of");
        let model = reader.required::<Path>("model");
        let tasks = reader.tasks();
        let parts: Vec<Part> = reader.list("parts", Delimiter::Parenthesis).unwrap_or_default();
        let tiny = reader.list("tiny", Delimiter::Brace).unwrap_or_default();
        let cases: Vec<Case> = reader.list("cases", Delimiter::Parenthesis).unwrap_or_default();
        let checks = reader.checks();
        let skip = reader.skip();
        reader.cases(&tasks, &parts, &cases);
        reader.fields(&tiny, "tiny");
        if let Some(errors) = reader.mistakes.0 {
            return Err(errors);
        }
        let (Some(model_type), Some(model)) = (model_type, model) else {
            return Err(syn::Error::new(module.ident.span(), "incomplete declaration"));
        };
        Ok(Self { module, model_type, of, model, tasks, parts, tiny, cases, checks, skip })
    }
}

struct Reader {
    arguments: Vec<Argument>,
    mistakes: Mistakes,
    /// Where something missing is reported.
    end: Span,
}

impl Reader {
    fn take(&mut self, key: &str) -> Option<Argument> {
        let at = self.arguments.iter().position(|argument| argument.key == key)?;
        Some(self.arguments.remove(at))
    }

    fn optional<T: Parse>(&mut self, key: &str) -> Option<T> {
        let argument = self.take(key)?;
        if argument.delimiter.is_some() {
            self.mistakes.at(argument.key.span(), format!("expected `{key} = …`"));
            return None;
        }
        if argument.tokens.is_empty() {
            self.mistakes.at(argument.key.span(), format!("`{key}` has no value"));
            return None;
        }
        self.mistakes.keep(syn::parse2(argument.tokens))
    }

    fn required<T: Parse>(&mut self, key: &str) -> Option<T> {
        if !self.arguments.iter().any(|argument| argument.key == key) {
            self.mistakes.at(self.end, format!("missing key `{key}`"));
        }
        self.optional(key)
    }

    /// `key(item, …)` or `key { item, … }`; none if it is missing or wrong.
    fn list<T: Parse>(&mut self, key: &str, delimiter: Delimiter) -> Option<Vec<T>> {
        let argument = self.take(key)?;
        if argument.delimiter != Some(delimiter) {
            let shape = if delimiter == Delimiter::Brace { "{ … }" } else { "(…)" };
            self.mistakes.at(argument.key.span(), format!("expected `{key}{shape}`"));
            return None;
        }
        let items = Punctuated::<T, Token![,]>::parse_terminated.parse2(argument.tokens);
        self.mistakes.keep(items).map(|items| items.into_iter().collect())
    }

    fn tasks(&mut self) -> Vec<TaskClass> {
        if !self.arguments.iter().any(|argument| argument.key == "tasks") {
            self.mistakes.at(self.end, "missing key `tasks`");
        }
        let pairs: Vec<Pair> = self.list("tasks", Delimiter::Parenthesis).unwrap_or_default();
        self.mistakes.twice(pairs.iter().map(|pair| (pair.key.to_string(), pair.key.span())), "the task");
        let mut tasks = Vec::new();
        for Pair { key, value: class } in pairs {
            let name = key.to_string();
            match Task::from_ident(&name) {
                Some(task) => tasks.push(TaskClass { span: key.span(), task, class }),
                None => {
                    let idents: Vec<_> = TASKS.iter().map(Task::ident).collect();
                    let hint = hint(&name, idents.iter().map(String::as_str));
                    self.mistakes.at(key.span(), format!("unknown task `{name}`{hint}"));
                }
            }
        }
        tasks
    }

    fn checks(&mut self) -> Vec<&'static Check> {
        if !self.arguments.iter().any(|argument| argument.key == "checks") {
            self.mistakes.at(self.end, "missing key `checks`");
        }
        let names: Vec<Ident> = self.list("checks", Delimiter::Parenthesis).unwrap_or_default();
        self.mistakes.twice(names.iter().map(|name| (name.to_string(), name.span())), "the check");
        names.iter().filter_map(|name| self.check(name)).collect()
    }

    fn check(&mut self, name: &Ident) -> Option<&'static Check> {
        Check::parse(&name.to_string()).map_err(|message| self.mistakes.at(name.span(), message)).ok()
    }

    fn skip(&mut self) -> Vec<Skip> {
        let pairs: Vec<Pair> = self.list("skip", Delimiter::Parenthesis).unwrap_or_default();
        self.mistakes.twice(pairs.iter().map(|pair| (pair.key.to_string(), pair.key.span())), "the skipped check");
        let mut skips = Vec::new();
        for Pair { key, value: reason } in pairs {
            if reason.value().trim().is_empty() {
                self.mistakes.at(reason.span(), format!("`{key}` is skipped without a reason"));
            }
            skips.extend(self.check(&key).map(|check| Skip { check, reason }));
        }
        skips
    }

    /// Cases and parts share the names of folders and tests with the first tasks of classes.
    fn cases(&mut self, tasks: &[TaskClass], parts: &[Part], cases: &[Case]) {
        let folders = first_tasks(tasks).map(|first| (first.task.ident(), first.span));
        let named = parts.iter().map(|part| &part.model_type).chain(cases.iter().map(|case| &case.name));
        let mut idents = Vec::new();
        for name in named {
            match ident(&name.value()) {
                Ok(ident) => idents.push((ident, name.span())),
                Err(message) => self.mistakes.at(name.span(), message),
            }
        }
        self.mistakes.twice(folders.chain(idents), "the case");
        let known: Vec<_> = tasks
            .iter()
            .map(|task| &task.class)
            .chain(parts.iter().map(|part| &part.class))
            .map(LitStr::value)
            .collect();
        for case in cases {
            let class = case.class.value();
            if !known.contains(&class) {
                let hint = hint(&class, known.iter().map(String::as_str));
                self.mistakes.at(case.class.span(), format!("no task and no part has the class `{class}`{hint}"));
            }
            self.fields(&case.tiny, "tiny");
        }
    }

    fn fields(&mut self, fields: &[Field], path: &str) {
        self.mistakes.twice(fields.iter().map(|field| (format!("{path}.{}", field.key), field.span)), "the field");
        for field in fields {
            if let Literal::Table(fields) = &field.value {
                self.fields(fields, &format!("{path}.{}", field.key));
            }
        }
    }
}

/// For each class the first task that names it: the one that its case is named after.
pub(crate) fn first_tasks(tasks: &[TaskClass]) -> impl Iterator<Item = &TaskClass> {
    tasks
        .iter()
        .enumerate()
        .filter(|(at, task)| tasks[..*at].iter().all(|before| before.class.value() != task.class.value()))
        .map(|(_, task)| task)
}

/// `key = "value"`.
struct Pair {
    key: Ident,
    value: LitStr,
}

impl Parse for Pair {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let key = input.call(Ident::parse_any)?;
        input.parse::<Token![=]>()?;
        Ok(Self { key, value: input.parse()? })
    }
}

impl Parse for Part {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let model_type = input.parse()?;
        input.parse::<Token![=]>()?;
        let class = input.parse()?;
        input.parse::<Token![=>]>()?;
        Ok(Self { model_type, class, model: input.parse()? })
    }
}

impl Parse for Case {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let name = input.parse()?;
        input.parse::<Token![=]>()?;
        Ok(Self { name, class: input.parse()?, tiny: table(input)? })
    }
}

fn table(input: ParseStream<'_>) -> syn::Result<Vec<Field>> {
    let fields;
    braced!(fields in input);
    Ok(Punctuated::<Field, Token![,]>::parse_terminated(&fields)?.into_iter().collect())
}

impl Parse for Field {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let (key, span) = if input.peek(LitStr) {
            let key: LitStr = input.parse()?;
            (key.value(), key.span())
        } else {
            let key = input.call(Ident::parse_any)?;
            (key.to_string(), key.span())
        };
        input.parse::<Token![:]>()?;
        Ok(Self { key, span, value: input.parse()? })
    }
}

impl Parse for Literal {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        if input.peek(token::Brace) {
            return table(input).map(Self::Table);
        }
        if input.peek(token::Bracket) {
            let items;
            bracketed!(items in input);
            let items = Punctuated::<Self, Token![,]>::parse_terminated(&items)?;
            return Ok(Self::List(items.into_iter().collect()));
        }
        input.parse::<Option<Token![-]>>()?;
        let literal: Lit = input.parse()?;
        match literal {
            Lit::Bool(_) => Ok(Self::Bool),
            Lit::Int(_) => Ok(Self::Int),
            Lit::Float(_) => Ok(Self::Float),
            Lit::Str(_) => Ok(Self::Str),
            other => Err(syn::Error::new(other.span(), "expected a boolean, number, string, list or table")),
        }
    }
}
