//! The parameters of a loaded model under the names of its checkpoint.

use std::collections::{BTreeMap, BTreeSet};

use tch::{Kind, Tensor};
use tch_transformers_native::{Matrix, Weight};

/// The parameters of a loaded model under the names of its checkpoint.
///
/// The tensors share their storage with the model's modules, save for matrices that lie in memory in blocks: those are
/// put together anew whenever they are asked for.
#[derive(Debug, Default)]
pub struct State {
    stored: BTreeMap<String, Stored>,
    /// Groups of names of which only the sum or the product counts.
    pub(super) commuting: Vec<BTreeSet<String>>,
}

#[derive(Debug)]
struct Stored {
    /// First row and content, sorted by row.
    pieces: Vec<(i64, Piece)>,
    /// As in [`Layout::Rows`].
    groups: i64,
    transposed: bool,
}

/// What a stored tensor is made of.
#[derive(Debug)]
pub(super) enum Piece {
    /// A tensor as it is.
    Tensor(Weight),
    /// So many rows of a matrix, from the first on.
    Rows(Matrix, i64, i64),
    /// One matrix of a stack, transposed or not.
    Stacked(Matrix, bool),
}

impl Piece {
    /// `rows` rows of `matrix`, from `start` on.
    pub fn of(matrix: &Matrix, start: i64, rows: i64) -> Self {
        match matrix.is_prepacked() {
            true => Self::Rows(matrix.clone(), start, rows),
            false => Self::from(&matrix.some_rows(start, rows)),
        }
    }

    fn tensor(&self) -> Tensor {
        match self {
            Self::Tensor(tensor) => tensor.shallow_clone(),
            Self::Rows(matrix, start, rows) => matrix.some_rows(*start, *rows),
            Self::Stacked(matrix, false) => matrix.rows().unsqueeze(0),
            Self::Stacked(matrix, true) => matrix.rows().tr().unsqueeze(0),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Tensor(tensor) => tensor.kind(),
            Self::Rows(matrix, ..) | Self::Stacked(matrix, _) => matrix.kind(),
        }
    }

    fn elements(&self) -> usize {
        let of = |sizes: &[i64]| sizes.iter().map(|size| usize::try_from(*size).unwrap_or(0)).product();
        match self {
            Self::Tensor(tensor) => tensor.numel(),
            Self::Rows(matrix, _, rows) => of(&[*rows, matrix.size()[1]]),
            Self::Stacked(matrix, _) => of(&matrix.size()),
        }
    }
}

impl From<&Tensor> for Piece {
    fn from(tensor: &Tensor) -> Self {
        Self::Tensor(Weight::new(tensor.shallow_clone()))
    }
}

impl State {
    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.stored.keys().map(String::as_str)
    }

    /// Whether only the sum or the product of these two counts, so that they can change places.
    pub fn commute(&self, first: &str, second: &str) -> bool {
        self.commuting.iter().any(|names| names.contains(first) && names.contains(second))
    }

    /// The kind of the first parameter.
    pub fn kind(&self) -> Option<Kind> {
        let (_, leaf) = self.stored.values().next()?.pieces.first()?;
        Some(leaf.kind())
    }

    /// Every tensor as the checkpoint stores it.
    pub fn tensors(&self) -> BTreeMap<String, Tensor> {
        self.stored.iter().map(|(name, stored)| (name.clone(), stored.assemble())).collect()
    }

    /// One tensor as the checkpoint stores it.
    pub fn tensor(&self, name: &str) -> Option<Tensor> {
        self.stored.get(name).map(Stored::assemble)
    }

    /// The bytes that each tensor takes.
    pub(super) fn sizes(&self) -> BTreeMap<&str, u64> {
        let bytes = |(_, piece): &(i64, Piece)| (piece.elements() * piece.kind().elt_size_in_bytes()) as u64;
        self.stored.iter().map(|(name, stored)| (name.as_str(), stored.pieces.iter().map(bytes).sum())).collect()
    }

    /// The gradients that the last backward pass left, by checkpoint name; parameters it did not reach are absent.
    pub fn gradients(&self) -> BTreeMap<String, Tensor> {
        let gradient = |stored: &Stored| {
            let [(_, Piece::Tensor(leaf))] = &stored.pieces[..] else { return None };
            let gradient = leaf.grad();
            gradient.defined().then_some(gradient)
        };
        self.stored.iter().filter_map(|(name, stored)| Some((name.clone(), gradient(stored)?))).collect()
    }

    pub(super) fn add(&mut self, name: &str, start: i64, (groups, transposed): (i64, bool), piece: Piece) {
        let new = || Stored { pieces: Vec::new(), groups, transposed };
        let stored = self.stored.entry(name.to_owned()).or_insert_with(new);
        let at = stored.pieces.partition_point(|(row, _)| *row < start);
        let piece = (start, piece);
        match stored.pieces.get_mut(at) {
            Some(present) if present.0 == start => *present = piece,
            _ => stored.pieces.insert(at, piece),
        }
    }
}

impl Stored {
    fn assemble(&self) -> Tensor {
        let whole = match &self.pieces[..] {
            [(_, only)] => only.tensor(),
            pieces if self.groups > 1 => {
                let pieces: Vec<_> = pieces.iter().map(|(_, piece)| grouped(&piece.tensor(), self.groups)).collect();
                Tensor::cat(&pieces, 1).flatten(0, 1)
            }
            pieces => Tensor::cat(&pieces.iter().map(|(_, piece)| piece.tensor()).collect::<Vec<_>>(), 0),
        };
        if self.transposed && whole.dim() == 2 { whole.tr().contiguous() } else { whole }
    }
}

/// `[rows, …]` as `[groups, rows of a group, …]`.
pub(super) fn grouped(tensor: &Tensor, groups: i64) -> Tensor {
    let size = tensor.size();
    let rows = size.first().copied().unwrap_or(0);
    tensor.reshape([&[groups, rows / groups], size.get(1..).unwrap_or(&[])].concat())
}
