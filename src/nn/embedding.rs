use tch::Tensor;
use tch_transformers_native::Weight;

use crate::weights::Weights;

/// A table of vectors looked up by id.
#[derive(Debug)]
pub struct Embedding {
    table: Weight,
    padding: i64,
}

impl Embedding {
    /// Loads `weight` `[count, width]`.
    pub fn load(weights: &Weights, count: i64, width: i64) -> Self {
        Self { table: weights.weight("weight", &[count, width]), padding: -1 }
    }

    /// The vector of the id `padding` (from the end where negative) is never trained.
    pub fn padded(mut self, padding: Option<i64>) -> Self {
        let count = self.table.size()[0];
        self.padding = padding.map_or(-1, |id| if id < 0 { id + count } else { id });
        self
    }

    /// `[…]` ids to `[…, width]` vectors.
    pub fn forward(&self, ids: &Tensor) -> Tensor {
        Tensor::embedding(&self.table, ids, self.padding, false, false)
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
