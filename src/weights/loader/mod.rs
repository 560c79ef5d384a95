//! A place in a checkpoint, and what was asked for there.

mod asked;
mod options;
mod read;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tch::{Device, Kind, Tensor};

use super::init::Inits;
use super::{Layout, LoadReport, NameTable, State, TensorSource, WeightsReport};
pub use options::LoadOptions;

#[derive(Debug)]
struct Loader {
    source: TensorSource,
    available: BTreeSet<String>,
    options: LoadOptions,
    log: RefCell<Log>,
}

#[derive(Debug, Default)]
struct Log {
    report: WeightsReport,
    expected: BTreeMap<String, Vec<i64>>,
    used: BTreeSet<String>,
    /// Stored names that were read, and those of them that were converted: from, to.
    applied: BTreeSet<String>,
    converted: BTreeMap<String, (Kind, Kind)>,
    interchangeable: BTreeSet<String>,
    /// Stored names that were drawn anew; those in `replaced` had another shape.
    fresh: BTreeSet<String>,
    replaced: BTreeMap<String, (Vec<i64>, Vec<i64>)>,
    /// New matrices that follow the common rule.
    blank: Vec<Tensor>,
    /// Prefixes of names that nothing reads.
    spare: Vec<String>,
    leaves: BTreeMap<String, Tensor>,
    /// What was read last, and in which kind it was asked for: the parts of a stored tensor are asked for one by one.
    last: Option<(String, Option<Kind>, Tensor)>,
    state: State,
}

/// A place in a checkpoint: modules take their parameters from it by name.
///
/// Asking never fails: what is missing or mis-shaped is noted, and a placeholder of the asked shape returned, so that
/// one report at the end lists every mistake.
#[derive(Debug, Clone)]
pub struct Weights {
    loader: Rc<Loader>,
    names: Rc<NameTable>,
    /// What new parameters are drawn from.
    inits: Rc<Inits>,
    /// Whether this is where a body starts that is part of another model.
    part: bool,
    /// Stored path under which the name table applies.
    scope: String,
    /// Path of blocks within the scope.
    path: String,
}

impl Weights {
    /// The root of a checkpoint.
    pub fn new(source: TensorSource, options: LoadOptions) -> Self {
        let available = source.names().into_iter().collect();
        let options = LoadOptions { kind: options.kind.or_else(|| Some(source.own_kind())), ..options };
        let loader = Loader { source, available, options, log: RefCell::default() };
        Self {
            loader: Rc::new(loader),
            names: Rc::default(),
            inits: Rc::default(),
            part: false,
            scope: String::new(),
            path: String::new(),
        }
    }

    /// A checkpoint without any tensor: tells what an architecture expects.
    pub fn nothing() -> Self {
        Self::new(TensorSource::Memory(BTreeMap::new()), LoadOptions::default())
    }

    /// The place `segment` (one or several names with dots) below this one.
    pub fn at(&self, segment: impl AsRef<str>) -> Self {
        Self { path: join(&self.path, segment.as_ref()), ..self.clone() }
    }

    /// The place of layer `index` of the list at this place.
    pub fn layer(&self, index: usize) -> Self {
        self.at(index.to_string())
    }

    /// From here on, block names are translated by `names`.
    pub fn named(&self, names: NameTable) -> Self {
        Self { scope: self.stored_path(), names: Rc::new(names), path: String::new(), ..self.clone() }
    }

    /// From here on, new parameters are drawn as `inits` says.
    pub fn drawn_as(&self, inits: Inits) -> Self {
        Self { inits: Rc::new(inits), ..self.clone() }
    }

    /// The same as the place of a body that is part of another model: where the checkpoint has nothing at all, it stands
    /// there without a prefix of its own.
    pub fn as_part(&self) -> Self {
        Self { part: true, ..self.clone() }
    }

    /// Fills `row` of `table` with zeros where it was drawn anew and its architecture has no rule of its own for it: the
    /// vector of padding.
    pub fn clear_if_new(&self, table: &Tensor, row: i64) {
        let log = self.loader.log.borrow();
        if log.blank.iter().any(|fresh| fresh.data_ptr() == table.data_ptr()) {
            tch::no_grad(|| drop(table.get(row).fill_(0.0)));
        }
    }

    /// The first of `places` (stored paths below this one) that the checkpoint has anything under.
    ///
    /// An empty place stands for this one, and fits when no other does. Where the checkpoint has nothing at all, the
    /// first place is what the architecture expects, or the empty one of a part.
    pub fn either(&self, places: &[&str]) -> Self {
        let here = self.stored_path();
        let present = |place: &&&str| {
            let prefix = join(&here, place) + ".";
            !place.is_empty()
                && self.loader.available.range(prefix.clone()..).next().is_some_and(|n| n.starts_with(&prefix))
        };
        let stands_bare = self.part || !self.loader.available.is_empty();
        let bare = || places.iter().find(|place| place.is_empty() && stands_bare);
        let place = places.iter().find(present).or_else(bare).or(places.first()).copied().unwrap_or("");
        Self { scope: join(&here, place), names: Rc::default(), path: String::new(), part: false, ..self.clone() }
    }

    /// The first of `places` (paths below this one) where the checkpoint has a tensor `name`, the first of all where it
    /// has none: a module that older checkpoints call otherwise.
    pub fn having(&self, name: &str, places: &[&str]) -> Self {
        let places: Vec<_> = places.iter().map(|place| self.at(place)).collect();
        if places.len() > 1 {
            let names = places.iter().map(|place| place.resolve(name).0);
            self.loader.log.borrow_mut().interchangeable.extend(names);
        }
        places.iter().find(|place| place.has(name)).or(places.first()).unwrap_or(self).clone()
    }

    /// Whether the checkpoint has nothing below this place.
    pub fn is_empty(&self) -> bool {
        let prefix = self.stored_path() + ".";
        self.loader.available.range(prefix.clone()..).next().is_none_or(|name| !name.starts_with(&prefix))
    }

    /// Whether the checkpoint has a tensor `name` here.
    pub fn has(&self, name: &str) -> bool {
        self.loader.available.contains(&self.resolve(name).0)
    }

    /// Notes that of the parameters `names` only the sum counts.
    pub fn summed(&self, names: &[&str]) {
        let stored = names.iter().map(|name| self.resolve(name).0).collect();
        self.loader.log.borrow_mut().state.commuting.push(stored);
    }

    /// Notes that of the parameters `names` only the product counts.
    pub fn multiplied(&self, names: &[&str]) {
        self.summed(names);
    }

    /// As [`Weights::ignore`], for everything below `place`.
    pub fn ignore_below(&self, place: &str) {
        let prefix = self.at(place).stored_path() + ".";
        let below = self.loader.available.range(prefix.clone()..).take_while(|name| name.starts_with(&prefix));
        self.loader.log.borrow_mut().used.extend(below.cloned());
    }

    /// Notes that the checkpoint may hold `name` although nothing needs it: a copy of a tied parameter or a constant.
    pub fn ignore(&self, name: &str) {
        let (stored, _) = self.resolve(name);
        self.loader.log.borrow_mut().used.insert(stored);
    }

    /// Notes that nothing reads the parameters below `place`: they may be asked for, and the checkpoint may lack them.
    pub fn spare_below(&self, place: &str) {
        let prefix = self.at(place).stored_path() + ".";
        self.loader.log.borrow_mut().spare.push(prefix);
    }

    /// The device of the parameters.
    pub fn device(&self) -> Device {
        self.loader.options.device
    }

    /// What the modules asked for: stored names with their shapes.
    pub fn expected(&self) -> BTreeMap<String, Vec<i64>> {
        self.loader.log.borrow().expected.clone()
    }

    /// Stored names of parameters that a checkpoint may lack, because another name stands in for them.
    pub fn interchangeable(&self) -> BTreeSet<String> {
        self.loader.log.borrow().interchangeable.clone()
    }

    /// Ends loading: what did not fit, and the parameters under their stored names.
    pub fn finish(self) -> (WeightsReport, State) {
        let (report, state) = self.finish_with_report();
        (report.fit, state)
    }

    /// Ends loading: the whole report, and the parameters under their stored names.
    pub fn finish_with_report(self) -> (LoadReport, State) {
        let mut log = self.loader.log.borrow_mut();
        log.last = None;
        let mut report = std::mem::take(&mut log.report);
        report.unused = self.loader.available.difference(&log.used).cloned().collect();
        report.missing.sort();
        report.missing.dedup();
        report.mis_shaped.sort();
        report.mis_shaped.dedup();
        let applied = std::mem::take(&mut log.applied);
        let known = log.used.intersection(&self.loader.available);
        let told = |name: &&String| !applied.contains(*name) && !log.replaced.contains_key(*name);
        let passed_over = known.filter(told).cloned().collect();
        let converted = std::mem::take(&mut log.converted);
        let converted = converted.into_iter().map(|(name, (from, to))| (name, from, to)).collect();
        let replaced = std::mem::take(&mut log.replaced);
        let fresh = std::mem::take(&mut log.fresh);
        let fresh = fresh.into_iter().filter(|name| !replaced.contains_key(name)).collect();
        let replaced = replaced.into_iter().map(|(name, (expected, found))| (name, expected, found)).collect();
        let applied = applied.into_iter().collect();
        let report = LoadReport { applied, converted, passed_over, fresh, replaced, fit: report };
        (report, std::mem::take(&mut log.state))
    }

    fn stored_path(&self) -> String {
        join(&self.scope, &self.names.resolve(&self.path).0)
    }

    fn resolve(&self, name: &str) -> (String, Layout) {
        let (stored, layout) = self.names.resolve(&join(&self.path, name));
        (join(&self.scope, &stored), layout)
    }
}

fn join(path: &str, segment: &str) -> String {
    match (path.is_empty(), segment.is_empty()) {
        (true, _) => segment.to_owned(),
        (_, true) => path.to_owned(),
        _ => format!("{path}.{segment}"),
    }
}
