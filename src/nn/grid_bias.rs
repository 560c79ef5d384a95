use tch::{Device, Kind, Tensor};
use tch_transformers_native::Weight;

use crate::weights::Weights;

/// Learned biases of attention scores between the tokens of a grid, one per head and offset (Liu et al., 2021).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GridBiasSpec {
    /// Attention heads.
    pub heads: i64,
    /// Rows and columns of the grid that biases are learned for.
    pub grid: [i64; 2],
    /// Whether a class token comes before the grid: it has biases of its own, towards others, from them, and to itself.
    pub class: bool,
}

impl GridBiasSpec {
    /// Offsets between two tokens of a grid: rows and columns.
    fn offsets([rows, columns]: [i64; 2]) -> [i64; 2] {
        [2 * rows - 1, 2 * columns - 1]
    }
}

/// [`GridBiasSpec`] with its table.
#[derive(Debug)]
pub struct GridBias {
    spec: GridBiasSpec,
    /// `[offsets, heads]`; after them three rows for a class token.
    table: Weight,
}

impl GridBias {
    /// Loads `table`.
    pub fn load(weights: &Weights, spec: GridBiasSpec) -> Self {
        // Which row belongs to which pair of tokens, a constant that older checkpoints hold.
        weights.ignore("index");
        let rows = GridBiasSpec::offsets(spec.grid).iter().product::<i64>() + if spec.class { 3 } else { 0 };
        Self { spec, table: weights.weight("table", &[rows, spec.heads]) }
    }

    /// The biases between the tokens of the grid that they are learned for: `[1, heads, tokens, tokens]`.
    pub fn forward(&self) -> Tensor {
        self.looked_up(&self.table, self.spec.grid)
    }

    /// The biases between the tokens of `grid`, to which those of offsets are resized.
    pub fn resized(&self, grid: [i64; 2]) -> Tensor {
        let [rows, columns] = GridBiasSpec::offsets(self.spec.grid);
        let offsets = self.table.narrow(0, 0, rows * columns);
        // The reference takes rows for columns here, which matters where the learned grid is not square.
        let offsets = offsets.reshape([1, columns, rows, self.spec.heads]).permute([0, 3, 1, 2]);
        let resized = offsets.upsample_bilinear2d(GridBiasSpec::offsets(grid), false, None, None);
        let resized = resized.permute([0, 2, 3, 1]).reshape([-1, self.spec.heads]);
        let rest = self.table.slice(0, rows * columns, None, 1);
        self.looked_up(&Tensor::cat(&[resized, rest], 0), grid)
    }

    fn looked_up(&self, table: &Tensor, grid: [i64; 2]) -> Tensor {
        let pairs = pairs(grid, self.spec.class, table.device());
        let tokens = pairs.size()[0];
        let biases = table.index_select(0, &pairs.flatten(0, -1));
        biases.view([tokens, tokens, self.spec.heads]).permute([2, 0, 1]).unsqueeze(0)
    }
}

/// The row of the table for each query and key: `[tokens, tokens]`.
fn pairs([rows, columns]: [i64; 2], class: bool, device: Device) -> Tensor {
    let [row_offsets, column_offsets] = GridBiasSpec::offsets([rows, columns]);
    let tokens = Tensor::arange(rows * columns, (Kind::Int64, device));
    let (row, column) = (tokens.divide_scalar_mode(columns, "floor"), tokens.remainder(columns));
    let offset = |place: &Tensor, most: i64| place.unsqueeze(1) - place.unsqueeze(0) + most;
    let pairs = offset(&row, rows - 1) * column_offsets + offset(&column, columns - 1);
    if !class {
        return pairs;
    }
    let [from_class, to_class, itself] = [0, 1, 2].map(|row| row_offsets * column_offsets + row);
    let filled = |shape: [i64; 2], value: i64| Tensor::full(shape, value, (Kind::Int64, device));
    let count = rows * columns;
    let first = Tensor::cat(&[filled([1, 1], itself), filled([1, count], from_class)], 1);
    Tensor::cat(&[first, Tensor::cat(&[filled([count, 1], to_class), pairs], 1)], 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_the_same_offset_share_a_row() {
        let rows = |class| Vec::<Vec<i64>>::try_from(pairs([1, 3], class, Device::Cpu)).unwrap();
        assert_eq!(rows(false), [[2, 1, 0], [3, 2, 1], [4, 3, 2]]);
        assert_eq!(rows(true), [[7, 5, 5, 5], [6, 2, 1, 0], [6, 3, 2, 1], [6, 4, 3, 2]]);
    }
}
