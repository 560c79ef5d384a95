use tch::Tensor;
use tch_transformers_native::Weight;

use crate::weights::Weights;

/// A table of vectors looked up by id.
#[derive(Debug)]
pub struct Embedding {
    table: Weight,
    /// The row that training leaves alone; -1 for none.
    padding: i64,
}

impl Embedding {
    /// Loads `weight` `[count, width]`.
    pub fn load(weights: &Weights, count: i64, width: i64) -> Self {
        Self { table: weights.weight("weight", &[count, width]), padding: -1 }
    }

    /// With a row that gets no gradient from looking it up (`padding_idx`, from the end where negative), where there
    /// is one; it is zero in a table that `weights` had to make anew.
    pub fn with_padding(self, weights: &Weights, row: Option<i64>) -> Self {
        let count = self.table.size()[0];
        let row = row.map(|row| if row < 0 { row + count } else { row }).filter(|row| (0..count).contains(row));
        if let Some(row) = row {
            weights.clear_if_new(&self.table, row);
        }
        Self { padding: row.unwrap_or(-1), ..self }
    }

    /// A table that another part of the model has too.
    pub fn tied(table: Weight) -> Self {
        Self { table, padding: -1 }
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
