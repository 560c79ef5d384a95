//! What modules ask for: vectors, matrices, and several of them as one.

use tch::{Kind, Tensor};
use tch_transformers_native::{Matrix, Prepack, Weight};

use super::Weights;
use crate::weights::Layout;
use crate::weights::state::Piece;

/// A part of fused parameters: its name in the checkpoint, how it lies there, and its rows in the whole.
struct FusedPiece {
    stored: String,
    layout: Layout,
    start: i64,
    rows: i64,
}

impl Weights {
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
}
