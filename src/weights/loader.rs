use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use tch::{Device, Kind, Tensor};
use tch_transformers_native::{Matrix, Prepack, Weight};

use super::init::{Drawing, Inits};
use super::state::{Piece, grouped};
use super::{Layout, LoadReport, NameTable, State, TensorSource, WeightsReport, is_float, transfer};

/// Where parameters go and in which form.
#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    /// The device that holds the parameters.
    pub device: Device,
    /// The floating-point kind that parameters are brought to; `None` is the checkpoint's own, as Python's
    /// `dtype="auto"`: the one that `dtype` (`torch_dtype`) of `config.json` names, else that of the first
    /// floating-point tensor by name. See [`Dtype`](super::Dtype).
    pub kind: Option<Kind>,
    /// Whether gradients flow into the parameters.
    pub trainable: bool,
    /// Whether tensors that nothing asks for are passed over in silence, such as the heads of another class.
    pub allow_unused: bool,
    /// Whether parameters that the checkpoint lacks are drawn anew, as Python initialises them, such as the head of a
    /// model that is to be trained for another task. [`LoadReport::fresh`] names them.
    pub allow_new_heads: bool,
    /// Whether parameters that the checkpoint has in another shape are drawn anew, such as a head for other labels.
    /// [`LoadReport::replaced`] names them.
    pub ignore_mismatched_sizes: bool,
    /// Decides, together with its name, what a new parameter is drawn as.
    pub seed: u64,
    /// Which matrices are laid out for oneDNN; none of a trainable model.
    pub prepack: Prepack,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            device: Device::Cpu,
            kind: Some(Kind::Float),
            trainable: false,
            allow_unused: false,
            allow_new_heads: false,
            ignore_mismatched_sizes: false,
            seed: 0,
            prepack: Prepack::Auto,
        }
    }
}

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

    /// The parameter `name` of `shape`.
    pub fn weight(&self, name: &str, shape: &[i64]) -> Weight {
        Weight::new(self.tensor(name, shape))
    }

    /// The parameter `name` of `shape` where `wanted`.
    pub fn weight_if(&self, wanted: bool, name: &str, shape: &[i64]) -> Option<Weight> {
        wanted.then(|| self.weight(name, shape))
    }

    /// The parameter under the first of `names` that the checkpoint has; otherwise the first is missing.
    pub fn weight_of(&self, names: &[&str], shape: &[i64]) -> Weight {
        let name = names.iter().find(|name| self.has(name)).or(names.first()).copied().unwrap_or_default();
        self.loader.log.borrow_mut().interchangeable.extend(names.iter().map(|name| self.resolve(name).0));
        self.weight(name, shape)
    }

    /// The tensor `name` of `shape`, as [`Weights::weight`] but free to be worked on before it becomes a parameter.
    pub fn tensor(&self, name: &str, shape: &[i64]) -> Tensor {
        let (stored, layout) = self.resolve(name);
        let tensor = self.read(&stored, layout, shape);
        self.keep(&stored, layout, Piece::from(&tensor));
        tensor
    }

    /// The tensor `name` of `shape` where the checkpoint has it: it need not.
    pub fn tensor_if_stored(&self, name: &str, shape: &[i64]) -> Option<Tensor> {
        self.loader.log.borrow_mut().interchangeable.insert(self.resolve(name).0);
        self.has(name).then(|| self.tensor(name, shape))
    }

    /// The matrix `name`, `[outputs, inputs]`, that vectors are multiplied with.
    pub fn matrix(&self, name: &str, [outputs, inputs]: [i64; 2]) -> Matrix {
        let (stored, layout) = self.resolve(name);
        let tensor = self.read(&stored, layout, &[outputs, inputs]);
        let matrix = self.laid_out(&tensor);
        self.keep(&stored, layout, Piece::of(&matrix, 0, outputs));
        matrix
    }

    /// The matrix `name`, or `other` as [`Weights::weight_tied`] has it.
    pub fn matrix_tied(&self, name: &str, other: &Weight) -> Matrix {
        self.laid_out(&self.weight_tied(name, other))
    }

    /// The `count` matrices of the stack `name`, `[count, outputs, inputs]`, or `[count, inputs, outputs]` where they are
    /// `transposed`; each `[outputs, inputs]`.
    pub fn matrices(&self, name: &str, count: i64, [outputs, inputs]: [i64; 2], transposed: bool) -> Vec<Matrix> {
        let shape = if transposed { [count, inputs, outputs] } else { [count, outputs, inputs] };
        let (stored, layout) = self.resolve(name);
        let stack = self.read(&stored, layout, &shape);
        let matrix = |matrix: Tensor| self.laid_out(&if transposed { matrix.tr() } else { matrix });
        let matrices: Vec<Matrix> = stack.unbind(0).into_iter().map(matrix).collect();
        if matrices.iter().all(Matrix::is_prepacked) {
            for (index, matrix) in (0..).zip(&matrices) {
                self.keep_at(&stored, layout, index, Piece::Stacked(matrix.clone(), transposed));
            }
        } else {
            self.keep(&stored, layout, Piece::from(&stack));
        }
        matrices
    }

    /// `matrix` as vectors are multiplied with it.
    pub fn laid_out(&self, matrix: &Tensor) -> Matrix {
        Matrix::new(matrix, self.prepack())
    }

    fn prepack(&self) -> Prepack {
        if self.loader.options.trainable { Prepack::Never } else { self.loader.options.prepack }
    }

    /// Several vectors as one: `parts` are `(path, length)`, laid one after the other.
    ///
    /// Each part stays a parameter of its own in the checkpoint.
    pub fn fused(&self, parts: &[(&str, i64)], name: &str) -> Weight {
        let parts: Vec<_> = parts.iter().map(|(path, rows)| (*path, *rows, true)).collect();
        self.fused_some(&parts, name)
    }

    /// As [`Weights::fused`], with zeros for the parts that do not exist: `(path, length, exists)` each.
    pub fn fused_some(&self, parts: &[(&str, i64, bool)], name: &str) -> Weight {
        let (tensors, pieces) = self.fuse(parts, name, &[]);
        let whole = Tensor::cat(&tensors, 0);
        for FusedPiece { stored, layout, start, rows } in pieces {
            self.keep(&stored, layout, Piece::from(&whole.narrow(0, start, rows)));
        }
        Weight::new(whole)
    }

    /// Several matrices on the same `inputs` as one: `parts` are `(path, outputs)`, their rows one after the other.
    ///
    /// Each part stays a parameter of its own in the checkpoint.
    pub fn fused_matrix(&self, parts: &[(&str, i64)], name: &str, inputs: i64) -> Matrix {
        if let [(path, outputs)] = parts {
            return self.at(path).matrix(name, [*outputs, inputs]);
        }
        let parts: Vec<_> = parts.iter().map(|(path, rows)| (*path, *rows, true)).collect();
        let (tensors, pieces) = self.fuse(&parts, name, &[inputs]);
        let matrix = Matrix::of_parts(tensors, self.prepack());
        for FusedPiece { stored, layout, start, rows } in pieces {
            self.keep(&stored, layout, Piece::of(&matrix, start, rows));
        }
        matrix
    }

    fn fuse(&self, parts: &[(&str, i64, bool)], name: &str, rest: &[i64]) -> (Vec<Tensor>, Vec<FusedPiece>) {
        let mut tensors: Vec<Tensor> = Vec::with_capacity(parts.len());
        let mut pieces = Vec::with_capacity(parts.len());
        let mut start = 0;
        for (path, rows, exists) in parts {
            let shape = [&[*rows][..], rest].concat();
            tensors.push(if *exists {
                let (stored, layout) = self.at(path).resolve(name);
                let tensor = self.read(&stored, layout, &shape);
                pieces.push(FusedPiece { stored, layout, start, rows: *rows });
                tensor
            } else {
                let kind = tensors.first().map_or(self.loader.options.kind.unwrap_or(Kind::Float), Tensor::kind);
                Tensor::zeros([0i64; 0], (kind, self.device())).expand(&shape, false)
            });
            start += rows;
        }
        if !self.loader.log.borrow().report.is_usable() {
            // Loading has failed already: whatever a wrong configuration asks for is not allocated.
            let shape = [&[start], rest].concat();
            let placeholder = Tensor::zeros([0i64; 0], (Kind::Float, self.device())).expand(shape, false);
            return (vec![placeholder], Vec::new());
        }
        (tensors, pieces)
    }

    /// The parameter `name`, or `other` where the checkpoint lacks it or holds a copy of `other`.
    ///
    /// So Python ties: a checkpoint that has both, with different values, is taken at its word.
    pub fn weight_tied(&self, name: &str, other: &Weight) -> Weight {
        if !self.has(name) {
            return other.clone();
        }
        let (stored, layout) = self.resolve(name);
        self.loader.log.borrow_mut().interchangeable.insert(stored.clone());
        let own = self.read(&stored, layout, &other.size());
        if own.equal(other) {
            return other.clone();
        }
        self.keep(&stored, layout, Piece::from(&own));
        Weight::new(own)
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

    /// Reads what a block asks for out of the stored tensor.
    fn read(&self, stored: &str, layout: Layout, shape: &[i64]) -> Tensor {
        let mut full = shape.to_vec();
        if let (Layout::Rows { total, .. }, [rows, ..]) = (layout, &mut full[..]) {
            *rows = total;
        }
        let transposed = matches!(layout, Layout::Transposed | Layout::Rows { transposed: true, .. });
        if transposed && full.len() == 2 {
            full.reverse();
        }
        let tensor = self.leaf(stored, &full, self.kind_in(layout));
        let tensor = if transposed && tensor.dim() == 2 { tensor.tr() } else { tensor };
        match layout {
            Layout::Rows { start, groups: 1, .. } => tensor.narrow(0, start, shape[0]),
            Layout::Rows { start, groups, .. } => {
                grouped(&tensor, groups).narrow(1, start, shape[0] / groups).reshape(shape)
            }
            _ => tensor,
        }
    }

    /// The kind of a parameter that is stored as `layout` says; `None` keeps that of the checkpoint.
    fn kind_in(&self, layout: Layout) -> Option<Kind> {
        match (layout, self.loader.options.kind) {
            (Layout::Wide, Some(Kind::Half)) | (Layout::Precise, Some(Kind::Half | Kind::BFloat16)) => {
                Some(Kind::Float)
            }
            (_, kind) => kind,
        }
    }

    /// The stored tensor itself, on the device of the options and in `kind`; a placeholder where it does not fit.
    fn leaf(&self, stored: &str, shape: &[i64], kind: Option<Kind>) -> Tensor {
        let Loader { source, options, log, .. } = &*self.loader;
        let mut log = log.borrow_mut();
        log.expected.insert(stored.to_owned(), shape.to_vec());
        log.used.insert(stored.to_owned());
        if let Some(leaf) = log.leaves.get(stored) {
            return leaf.shallow_clone();
        }
        if let Some((_, _, last)) = log.last.as_ref().filter(|(name, of, _)| name == stored && *of == kind) {
            return last.shallow_clone();
        }
        let placeholder =
            || Tensor::zeros([0i64; 0], (kind.unwrap_or(Kind::Float), options.device)).expand(shape, false);
        let spare = log.spare.iter().any(|prefix| stored.starts_with(prefix));
        if spare {
            log.interchangeable.insert(stored.to_owned());
        }
        let Some(found) = source.shape(stored) else {
            if spare {
                return placeholder();
            }
            if options.allow_new_heads {
                return self.fresh(&mut log, stored, shape, kind);
            }
            log.report.missing.push((stored.to_owned(), shape.to_vec()));
            return placeholder();
        };
        if found != shape && options.ignore_mismatched_sizes {
            log.replaced.insert(stored.to_owned(), (shape.to_vec(), found));
            return self.fresh(&mut log, stored, shape, kind);
        }
        if found != shape {
            log.report.mis_shaped.push((stored.to_owned(), shape.to_vec(), found));
            return placeholder();
        }
        let tensor = match source.tensor(stored) {
            Ok(tensor) => tensor,
            Err(error) => {
                log.report.wrong_dtype.push((stored.to_owned(), error.to_string()));
                return placeholder();
            }
        };
        if !is_float(tensor.kind()) {
            log.report.wrong_dtype.push((stored.to_owned(), format!("{:?}", tensor.kind())));
            return placeholder();
        }
        let (from, to) = (tensor.kind(), kind.unwrap_or(tensor.kind()));
        log.applied.insert(stored.to_owned());
        if from != to {
            log.converted.insert(stored.to_owned(), (from, to));
        }
        let tensor = transfer::bring(tensor, options.device, to);
        if transfer::has_nan(&tensor) {
            log.report.not_a_number.push(stored.to_owned());
        }
        let tensor = self.settled(&mut log, stored, tensor);
        log.last = Some((stored.to_owned(), kind, tensor.shallow_clone()));
        tensor
    }

    /// A tensor that the checkpoint lacks, drawn as its architecture has it.
    fn fresh(&self, log: &mut Log, stored: &str, shape: &[i64], kind: Option<Kind>) -> Tensor {
        let LoadOptions { device, seed, .. } = self.loader.options;
        let drawing = Drawing { seed, name: stored, shape, known: &log.expected };
        let (init, common) = self.inits.of(stored, shape.len());
        let tensor = drawing.values(init).to_kind(kind.unwrap_or(Kind::Float)).to_device(device);
        log.fresh.insert(stored.to_owned());
        if common && shape.len() == 2 {
            log.blank.push(tensor.shallow_clone());
        }
        self.settled(log, stored, tensor)
    }

    /// `tensor` as the parameter of that name: of a trainable model, a leaf that gradients reach.
    fn settled(&self, log: &mut Log, stored: &str, tensor: Tensor) -> Tensor {
        if !self.loader.options.trainable {
            return tensor;
        }
        let tensor = tensor.detach().set_requires_grad(true);
        log.leaves.insert(stored.to_owned(), tensor.shallow_clone());
        log.state.add(stored, 0, (1, false), Piece::from(&tensor));
        tensor
    }

    /// Remembers the parameter under its stored name.
    ///
    /// A trainable model remembers the stored tensors themselves, which are the leaves that gradients reach.
    fn keep(&self, stored: &str, layout: Layout, piece: Piece) {
        let start = if let Layout::Rows { start, .. } = layout { start } else { 0 };
        self.keep_at(stored, layout, start, piece);
    }

    /// As [`Weights::keep`], where the piece's first row is `start`.
    fn keep_at(&self, stored: &str, layout: Layout, start: i64, piece: Piece) {
        let mut log = self.loader.log.borrow_mut();
        if self.loader.options.trainable || !(self.loader.available.contains(stored) || log.fresh.contains(stored)) {
            return;
        }
        let form = match layout {
            Layout::Plain | Layout::Wide | Layout::Precise => (1, false),
            Layout::Transposed => (1, true),
            Layout::Rows { groups, transposed, .. } => (groups, transposed),
        };
        log.state.add(stored, start, form, piece);
    }
}

/// A part of fused parameters: its name in the checkpoint, how it lies there, and its rows in the whole.
struct FusedPiece {
    stored: String,
    layout: Layout,
    start: i64,
    rows: i64,
}

fn join(path: &str, segment: &str) -> String {
    match (path.is_empty(), segment.is_empty()) {
        (true, _) => segment.to_owned(),
        (_, true) => path.to_owned(),
        _ => format!("{path}.{segment}"),
    }
}
