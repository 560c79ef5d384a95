use std::f64::consts::TAU;

use tch::{Kind, Tensor};

use crate::nn::Embedding;
use crate::weights::Weights;

/// What says where in a map a place is.
#[derive(Debug)]
pub enum MapPositions {
    /// Sines and cosines of row and column, as shares of the real part of the map; half of `width` each.
    Sine {
        /// Width of a position.
        width: i64,
    },
    /// A learned vector for each column and each row, side by side.
    Learned {
        /// Of columns.
        columns: Embedding,
        /// Of rows.
        rows: Embedding,
    },
}

/// Rows and columns that learned positions reach.
pub const MOST_LEARNED: i64 = 50;

impl MapPositions {
    /// Learned positions `width` wide: `column_embeddings` and `row_embeddings`.
    pub fn learned(weights: &Weights, width: i64) -> Self {
        let table = |name: &str| Embedding::load(&weights.at(name), MOST_LEARNED, width / 2);
        Self::Learned { columns: table("column_embeddings"), rows: table("row_embeddings") }
    }

    /// The positions of a map whose real places `real` (`[batch, height, width]`) tells: `[batch, height * width, width]`
    /// in `kind`.
    pub fn of(&self, real: &Tensor, kind: Kind) -> Tensor {
        let size = real.size();
        match self {
            Self::Sine { width } => {
                let share = |dim: i64| {
                    let counted = real.to_kind(Kind::Float).cumsum(dim, Kind::Float);
                    let whole = counted.narrow(dim, size[dim as usize] - 1, 1) + 1e-6;
                    waves(&(counted / whole * TAU), width / 2)
                };
                Tensor::cat(&[share(1), share(2)], 3).flatten(1, 2).to_kind(kind)
            }
            Self::Learned { columns, rows } => {
                let (height, width) = (size[1], size[2]);
                let columns = columns.rows(0, width).unsqueeze(0).expand([height, -1, -1], false);
                let rows = rows.rows(0, height).unsqueeze(1).expand([-1, width, -1], false);
                Tensor::cat(&[columns, rows], 2).flatten(0, 1).unsqueeze(0).expand([size[0], -1, -1], false)
            }
        }
    }
}

/// `angles` at `count` wavelengths up to 10000 times the shortest, sines and cosines in turn.
fn waves(angles: &Tensor, count: i64) -> Tensor {
    let exponents = (Tensor::arange(count, (Kind::Float, angles.device())) / 2.0).floor() * (2.0 / count as f64);
    let angles = angles.unsqueeze(-1) / (exponents * 10_000f64.ln()).exp();
    let (even, odd) = (angles.slice(3, 0, None, 2), angles.slice(3, 1, None, 2));
    Tensor::stack(&[even.sin(), odd.cos()], 4).flatten(3, 4)
}
