//! From the stored tensor to the parameter.

use tch::{Kind, Tensor};

use super::{Loader, Log, Weights};
use crate::weights::init::Drawing;
use crate::weights::state::{Piece, grouped};
use crate::weights::{Layout, LoadOptions, is_float, transfer};

impl Weights {
    /// Reads what a block asks for out of the stored tensor.
    pub(super) fn read(&self, stored: &str, layout: Layout, shape: &[i64]) -> Tensor {
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
    pub(super) fn keep(&self, stored: &str, layout: Layout, piece: Piece) {
        let start = if let Layout::Rows { start, .. } = layout { start } else { 0 };
        self.keep_at(stored, layout, start, piece);
    }

    /// As [`Weights::keep`], where the piece's first row is `start`.
    pub(super) fn keep_at(&self, stored: &str, layout: Layout, start: i64, piece: Piece) {
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
