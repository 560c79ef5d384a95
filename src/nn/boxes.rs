use tch::{Kind, Tensor};

use super::Embedding;
use crate::weights::Weights;

/// Vectors of where tokens stand on a page: tables of the coordinates, heights and widths of their boxes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BoxSpec {
    /// Rows of each table, one for each coordinate.
    pub count: i64,
    /// Width of the vectors of the four coordinates.
    pub coordinate: i64,
    /// Width of the vectors of height and width.
    pub extent: i64,
}

/// Heights and widths beyond this count as this: pages are 1000 high and wide.
const LONGEST: i64 = 1023;

/// [`BoxSpec`] with its tables.
#[derive(Debug)]
pub struct BoxEmbedding {
    x: Embedding,
    y: Embedding,
    height: Embedding,
    width: Embedding,
    longest: i64,
}

impl BoxEmbedding {
    /// Loads `x`, `y`, `height` and `width`.
    pub fn load(weights: &Weights, spec: BoxSpec) -> Self {
        let table = |name: &str, width| Embedding::load(&weights.at(name), spec.count, width);
        Self {
            x: table("x", spec.coordinate),
            y: table("y", spec.coordinate),
            height: table("height", spec.extent),
            width: table("width", spec.extent),
            longest: LONGEST.min(spec.count - 1),
        }
    }

    /// Boxes `[batch, tokens, 4]` (left, upper, right, lower) to vectors `[batch, tokens, 4 * coordinate + 2 * extent]`.
    pub fn forward(&self, boxes: &Tensor) -> Tensor {
        let boxes = boxes.to_kind(Kind::Int64);
        let [left, upper, right, lower] = [0, 1, 2, 3].map(|at| boxes.select(-1, at));
        let extent = |from: &Tensor, to: &Tensor| (to - from).clamp(0, self.longest);
        let vectors = [
            self.x.forward(&left),
            self.y.forward(&upper),
            self.x.forward(&right),
            self.y.forward(&lower),
            self.height.forward(&extent(&upper, &lower)),
            self.width.forward(&extent(&left, &right)),
        ];
        Tensor::cat(&vectors, -1)
    }
}
