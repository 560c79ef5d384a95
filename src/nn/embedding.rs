use tch::Tensor;
use tch_transformers_native::Weight;

use crate::weights::Weights;

/// A table of vectors looked up by id.
#[derive(Debug)]
pub struct Embedding {
    table: Weight,
}

impl Embedding {
    /// Loads `weight` `[count, width]`.
    pub fn load(weights: &Weights, count: i64, width: i64) -> Self {
        Self { table: weights.weight("weight", &[count, width]) }
    }

    /// A table that another part of the model has too.
    pub fn tied(table: Weight) -> Self {
        Self { table }
    }

    /// `[…]` ids to `[…, width]` vectors.
    pub fn forward(&self, ids: &Tensor) -> Tensor {
        Tensor::embedding(&self.table, ids, -1, false, false)
    }

    /// Rows `start..start + len` of the table, `[len, width]`.
    pub fn rows(&self, start: i64, len: i64) -> Tensor {
        self.table.narrow(0, start, len)
    }

    /// The table itself, for tying.
    pub fn table(&self) -> Weight {
        self.table.clone()
    }
}
