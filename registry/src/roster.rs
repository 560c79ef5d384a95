//! All entries together: reading the folders, and what must hold between entries.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use crate::{
    CHECKS, Category, Check, Level, Located, Mistake, Place, Task,
    entry::{Entry, TaskClass},
    ident,
    nearest::hint,
    pinned::{self, ARCHITECTURES, PINNED},
    read,
};

/// What the folders hold, mistakes included.
#[derive(Debug, Default)]
pub struct Scan {
    /// The entries that could be read, sorted by `model_type`.
    pub entries: Vec<Entry>,
    /// Every mistake, sorted by file and place.
    pub mistakes: Vec<Mistake>,
    /// Every file of the registry with its category.
    pub files: Vec<(String, Category)>,
    /// The files whose presence was asked for: one `case.json` for each case, one `defaults.json` for each architecture.
    pub case_files: Vec<PathBuf>,
}

/// Entries without a mistake among them, sorted by `model_type`.
#[derive(Debug)]
pub struct Roster {
    entries: Vec<Entry>,
}

/// A Hugging Face class of an entry, with the tasks it serves.
#[derive(Debug, PartialEq, Eq)]
pub struct ClassOf<'a> {
    /// The class.
    pub name: &'a str,
    /// Its tasks, in the order of the file. The first names its case.
    pub tasks: Vec<&'static Task>,
}

impl Scan {
    /// Reads all entries below `registry` and, given the folder of cases, checks that each entry has its own.
    pub fn new(registry: &Path, cases: Option<&Path>) -> Self {
        let mut scan = Self::default();
        for (name, path) in list(registry) {
            if !path.is_dir() || matches!(&*name, "src" | "tests") {
                continue;
            }
            let category = Category::parse(&name);
            for (file, path) in list(&path) {
                let label = format!("registry/{name}/{file}");
                match &category {
                    Ok(category) => scan.file(&label, *category, &path),
                    Err(message) if file.ends_with(".toml") => {
                        scan.mistakes.push(whole_file(&label, None, Level::Structure, message.clone()));
                    }
                    Err(_) => {}
                }
            }
        }
        scan.relate();
        if let Some(cases) = cases {
            scan.cases(cases);
        }
        scan.mistakes.sort();
        scan.mistakes.dedup();
        scan
    }

    /// Reads entries from memory, as `(file, category, text)`; cases are not looked for.
    pub fn of_texts<'a>(texts: impl IntoIterator<Item = (&'a str, Category, &'a str)>) -> Self {
        let mut scan = Self::default();
        for (file, category, text) in texts {
            scan.text(file, category, text);
        }
        scan.relate();
        scan.mistakes.sort();
        scan.mistakes.dedup();
        scan
    }

    /// The roster.
    ///
    /// # Errors
    ///
    /// All mistakes, if there are any.
    pub fn into_roster(self) -> Result<Roster, Vec<Mistake>> {
        if self.mistakes.is_empty() { Ok(Roster { entries: self.entries }) } else { Err(self.mistakes) }
    }

    fn file(&mut self, label: &str, category: Category, path: &Path) {
        if !label.ends_with(".toml") {
            let message = "not an entry: a category holds only `<model_type>.toml`";
            self.mistakes.push(whole_file(label, Some(category), Level::Structure, message));
            return;
        }
        match fs::read_to_string(path) {
            Ok(text) => self.text(label, category, &text),
            Err(error) => {
                self.files.push((label.to_owned(), category));
                let message = format!("cannot be read: {error}");
                self.mistakes.push(whole_file(label, Some(category), Level::Syntax, message));
            }
        }
    }

    fn text(&mut self, label: &str, category: Category, text: &str) {
        let (entry, mistakes) = read::read(label, category, text);
        self.files.push((label.to_owned(), category));
        self.entries.extend(entry);
        self.mistakes.extend(mistakes);
    }

    /// Checks what must hold between entries.
    fn relate(&mut self) {
        self.entries
            .sort_by(|left, right| (&left.model_type.value, &left.file).cmp(&(&right.model_type.value, &right.file)));
        let entries = std::mem::take(&mut self.entries);
        // A file that is no TOML is still an entry to those that derive from it.
        let known: BTreeSet<&str> = (self.files.iter())
            .filter_map(|(file, _)| file.rsplit('/').next()?.strip_suffix(".toml"))
            .chain(entries.iter().map(|entry| &*entry.model_type.value))
            .collect();
        let mut mistakes = Vec::new();
        let mut idents: BTreeMap<String, &Entry> = BTreeMap::new();
        let mut parts: BTreeMap<&str, (&Entry, &str, &str)> = BTreeMap::new();
        for entry in &entries {
            let mut note = |place: Place, level: Level, message: String| {
                mistakes.push(Mistake {
                    file: entry.file.clone(),
                    place,
                    message,
                    level,
                    category: Some(entry.category),
                });
            };
            let Located { value: name, place } = &entry.model_type;
            if let Ok(ident) = ident(name) {
                match idents.get(&ident) {
                    Some(other) if other.model_type.value == *name => {
                        note(*place, Level::Structure, format!("`{name}` is declared twice, also in {}", other.file));
                    }
                    Some(other) => {
                        let other = (&other.model_type.value, &other.file);
                        let message =
                            format!("`{name}` and `{}` ({}) map to one identifier, `{ident}`", other.0, other.1);
                        note(*place, Level::Structure, message);
                    }
                    None => {
                        idents.insert(ident, entry);
                    }
                }
            }
            for part in &entry.parts {
                let Located { value: name, place } = &part.model_type;
                if let Some(owner) = entries.iter().find(|entry| entry.model_type.value == *name) {
                    note(*place, Level::Structure, format!("the part `{name}` is an entry itself, in {}", owner.file));
                }
                match parts.get(&**name) {
                    Some((owner, class, model)) if (*class, *model) != (&*part.class.value, &*part.model.value) => {
                        let message = format!("the part `{name}` is another class or type in {}", owner.file);
                        note(*place, Level::Structure, message);
                    }
                    Some(_) => {}
                    None => {
                        parts.insert(name, (entry, &part.class.value, &part.model.value));
                    }
                }
            }
            if let Some(Located { value: of, place }) = &entry.of {
                match entries.iter().find(|entry| entry.model_type.value == *of) {
                    Some(parent) if parent.of.is_some() => {
                        let message = format!("`of` names `{of}`, which is a variant itself; name the architecture");
                        note(*place, Level::Structure, message);
                    }
                    None if !known.contains(&**of) => {
                        let hint = hint(of, known.iter().copied());
                        note(*place, Level::Structure, format!("`of` names `{of}`, which has no entry{hint}"));
                    }
                    _ => {}
                }
            }
            for Located { value: parent, place } in &entry.derives_from {
                if parent == name {
                    note(*place, Level::Structure, format!("`{name}` derives from itself"));
                } else if !known.contains(&**parent) && !ARCHITECTURES.contains_key(&**parent) {
                    let hint = hint(parent, known.iter().copied().chain(ARCHITECTURES.keys().copied()));
                    let message = format!(
                        "unknown parent `{parent}`: neither an entry nor an architecture of transformers {PINNED}{hint}"
                    );
                    note(*place, Level::Structure, message);
                }
            }
            let tasks = tasks_of(&entries, entry);
            let mut folders: BTreeMap<String, &str> = BTreeMap::new();
            for class in classes(tasks) {
                folders.insert(class.tasks[0].ident(), class.tasks[0].tag);
            }
            let named =
                (entry.parts.iter().map(|part| &part.model_type)).chain(entry.cases.iter().map(|case| &case.name));
            for Located { value: name, place } in named {
                let Ok(ident) = ident(name) else { continue };
                if let Some(other) = folders.insert(ident, name) {
                    note(*place, Level::Structure, format!("the case `{name}` has the name of the case `{other}`"));
                }
            }
            let known_classes: BTreeSet<&str> = (tasks.iter().map(|task| &*task.class.value))
                .chain(entry.parts.iter().map(|part| &*part.class.value))
                .collect();
            for case in &entry.cases {
                let Located { value: class, place } = &case.class;
                if !known_classes.is_empty() && !known_classes.contains(&**class) {
                    let hint = hint(class, known_classes.iter().copied());
                    let message =
                        format!("the case `{}` runs `{class}`, which no task and no part has{hint}", case.name.value);
                    note(*place, Level::Structure, message);
                }
            }
            let unnamed = *place == Place::START;
            if unnamed || entry.of.is_some() || entry.transformers.value != PINNED {
                continue;
            }
            let Some(architecture) = ARCHITECTURES.get(&**name) else {
                let hint = hint(name, ARCHITECTURES.keys().copied());
                note(*place, Level::Tasks, format!("`{name}` is no architecture of transformers {PINNED}{hint}"));
                continue;
            };
            for Located { value: class, place } in entry.tasks.iter().map(|task| &task.class) {
                if !architecture.classes.iter().any(|known| known.name == class) {
                    let hint = hint(class, architecture.classes.iter().map(|known| known.name));
                    let message = format!("`{name}` has no class `{class}` in transformers {PINNED}{hint}");
                    note(*place, Level::Tasks, message);
                }
            }
            for Located { value: class, place } in entry.parts.iter().map(|part| &part.class) {
                if pinned::class(class).is_none() {
                    let hint = hint(class, architecture.classes.iter().map(|known| known.name));
                    note(*place, Level::Tasks, format!("transformers {PINNED} has no class `{class}`{hint}"));
                }
            }
        }
        self.mistakes.append(&mut mistakes);
        self.entries = entries;
    }

    /// Checks that every case that the entries ask for is there.
    fn cases(&mut self, root: &Path) {
        for entry in &self.entries {
            let folder = root.join(&entry.model_type.value);
            let mut require = |path: PathBuf, place: Place, what: String| {
                if !path.is_file() {
                    let made = path.strip_prefix(root).unwrap_or(&path).display();
                    let missing = if path.parent().is_some_and(Path::is_dir) { "no file" } else { "no folder for" };
                    self.mistakes.push(Mistake {
                        file: entry.file.clone(),
                        place,
                        message: format!("{what} is missing: {missing} cases/{made}"),
                        level: Level::Structure,
                        category: Some(entry.category),
                    });
                }
                self.case_files.push(path);
            };
            let tasks = tasks_of(&self.entries, entry);
            for class in classes(tasks) {
                let tag = class.tasks[0].tag;
                let declared = (entry.tasks.iter()).find(|task| task.task.value.tag == tag);
                let place = declared.map_or(entry.model_type.place, |task| task.task.place);
                require(folder.join(tag).join("case.json"), place, format!("the reference case of `{}`", class.name));
            }
            let parts = entry.parts.iter().map(|part| &part.model_type);
            for Located { value: name, place } in parts.chain(entry.cases.iter().map(|case| &case.name)) {
                require(folder.join(name).join("case.json"), *place, format!("the reference case `{name}`"));
            }
            if entry.of.is_none() {
                let what = "the file of Python's default config";
                require(folder.join("defaults.json"), entry.model_type.place, what.to_owned());
            }
        }
    }
}

fn whole_file(file: &str, category: Option<Category>, level: Level, message: impl Into<String>) -> Mistake {
    Mistake { file: file.to_owned(), place: Place::START, message: message.into(), level, category }
}

/// The visible content of a folder, sorted by name; nothing if it cannot be read.
fn list(folder: &Path) -> Vec<(String, PathBuf)> {
    let mut content: Vec<_> = (fs::read_dir(folder).into_iter().flatten().flatten())
        .map(|item| (item.file_name().to_string_lossy().into_owned(), item.path()))
        .filter(|(name, _)| !name.starts_with('.'))
        .collect();
    content.sort();
    content
}

/// The tasks of an entry: its own, or for a variant those of its parent.
fn tasks_of<'a>(entries: &'a [Entry], entry: &'a Entry) -> &'a [TaskClass] {
    &parent_or_self(entries, entry).tasks
}

fn parent_or_self<'a>(entries: &'a [Entry], entry: &'a Entry) -> &'a Entry {
    let parent = entry.of.as_ref().and_then(|of| entries.iter().find(|entry| entry.model_type.value == of.value));
    parent.unwrap_or(entry)
}

/// The distinct classes, each with all its tasks.
fn classes(tasks: &[TaskClass]) -> Vec<ClassOf<'_>> {
    let mut classes: Vec<ClassOf<'_>> = Vec::new();
    for TaskClass { task, class } in tasks {
        match classes.iter_mut().find(|known| known.name == class.value) {
            Some(known) => known.tasks.push(task.value),
            None => classes.push(ClassOf { name: &class.value, tasks: vec![task.value] }),
        }
    }
    classes
}

impl Roster {
    /// All entries, sorted by `model_type`.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of that `model_type`.
    pub fn entry(&self, model_type: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.model_type.value == model_type)
    }

    /// The entry whose code this one runs: itself, or for a variant its parent.
    pub fn code_of<'a>(&'a self, entry: &'a Entry) -> &'a Entry {
        parent_or_self(&self.entries, entry)
    }

    /// The tasks of an entry, inherited ones included.
    pub fn tasks<'a>(&'a self, entry: &'a Entry) -> &'a [TaskClass] {
        tasks_of(&self.entries, entry)
    }

    /// The distinct classes of an entry, without those of its parts.
    pub fn classes<'a>(&'a self, entry: &'a Entry) -> Vec<ClassOf<'a>> {
        classes(self.tasks(entry))
    }

    /// The names of the cases of an entry: one for each class, one for each part, and the extra ones.
    pub fn case_names<'a>(&'a self, entry: &'a Entry) -> Vec<&'a str> {
        let classes = self.classes(entry).into_iter().map(|class| class.tasks[0].tag);
        let parts = entry.parts.iter().map(|part| &*part.model_type.value);
        let cases = entry.cases.iter().map(|case| &*case.name.value);
        classes.chain(parts).chain(cases).collect()
    }

    /// The checks of an entry's suite: those that apply, and those that it skips with a reason.
    pub fn checks(&self, entry: &Entry) -> Vec<&'static Check> {
        let tasks = self.tasks(entry).iter().map(|task| &*task.class.value);
        let classes: Vec<_> = tasks.chain(entry.parts.iter().map(|part| &*part.class.value)).collect();
        let skipped = |check: &Check| entry.skip.iter().any(|skip| skip.check == check && skip.case.is_none());
        (CHECKS.iter())
            .filter(|check| check.applies_to(entry.category, classes.iter().copied()) || skipped(check))
            .collect()
    }
}
