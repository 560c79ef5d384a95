//! Rotary position embeddings (Su et al., RoFormer): frequencies, tables, rotation.

use tch::{Kind, Tensor};

/// Which elements of a head form a pair that is rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pairing {
    /// Element `i` and element `i + width / 2`.
    #[default]
    Half,
    /// Elements `2 i` and `2 i + 1`.
    Interleaved,
}

/// The rotation of the tokens of one pass.
#[derive(Debug)]
pub struct Rotation {
    /// `[batch or 1, 1, tokens, width]`.
    cos: Tensor,
    /// The same, negative on the first element of each pair.
    sin: Tensor,
    pairing: Pairing,
    width: i64,
}

impl Rotation {
    /// The rotation of tokens at `positions` (`[batch or 1, tokens]`) with one inverse frequency per pair;
    /// `attention_factor` scales queries and keys. Tables are computed in float and returned in `kind`.
    pub fn new(
        positions: &Tensor,
        inverse_frequencies: &Tensor,
        attention_factor: f64,
        pairing: Pairing,
        kind: Kind,
    ) -> Self {
        let angles = positions.unsqueeze(-1).to_kind(Kind::Float) * inverse_frequencies;
        let (cos, sin) = (angles.cos() * attention_factor, angles.sin() * attention_factor);
        let pairs = |first: &Tensor, second: &Tensor| match pairing {
            Pairing::Half => Tensor::cat(&[first, second], -1),
            Pairing::Interleaved => Tensor::stack(&[first, second], -1).flatten(-2, -1),
        };
        let width = 2 * inverse_frequencies.size()[0];
        Self {
            cos: pairs(&cos, &cos).to_kind(kind).unsqueeze(1),
            sin: pairs(&sin.neg(), &sin).to_kind(kind).unsqueeze(1),
            pairing,
            width,
        }
    }

    /// Rotates `[batch, heads, tokens, head_dim]`; elements beyond the table's width stay as they are.
    pub fn apply(&self, x: &Tensor) -> Tensor {
        let head_dim = x.size()[3];
        if head_dim == self.width {
            return self.rotate(x);
        }
        let rotated = self.rotate(&x.narrow(3, 0, self.width));
        Tensor::cat(&[rotated, x.narrow(3, self.width, head_dim - self.width)], 3)
    }

    fn rotate(&self, x: &Tensor) -> Tensor {
        let swapped = match self.pairing {
            Pairing::Half => x.roll([self.width / 2], [3]),
            Pairing::Interleaved => {
                let size = x.size();
                x.reshape([size[0], size[1], size[2], self.width / 2, 2]).flip([4]).reshape(&size[..])
            }
        };
        x * &self.cos + swapped * &self.sin
    }
}
