use tch::{Kind, Tensor};

use super::{Attend, Attention, AttentionSpec, Context, GridBias, GridBiasSpec, Mask};
use crate::weights::Weights;

/// Attention of the tokens of a grid within windows, perhaps shifted against the grid (Liu et al., 2021).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WindowsSpec {
    /// The attention within a window.
    pub attention: AttentionSpec,
    /// Rows and columns of a window.
    pub window: i64,
    /// By how many rows and columns windows are shifted.
    pub shift: i64,
    /// Whether windows shift even where one holds the whole grid.
    pub always_shifted: bool,
}

/// [`WindowsSpec`] with its parameters.
#[derive(Debug)]
pub struct Windows {
    spec: WindowsSpec,
    attention: Attention,
    bias: GridBias,
}

impl Windows {
    /// Loads the attention, and `bias.table`.
    pub fn load(weights: &Weights, spec: WindowsSpec) -> Self {
        let bias = GridBiasSpec { heads: spec.attention.heads, grid: [spec.window; 2], class: false };
        Self {
            spec,
            attention: Attention::load(weights, spec.attention),
            bias: GridBias::load(&weights.at("bias"), bias),
        }
    }

    /// `[batch, rows * columns, hidden]` to the same shape, and the attention weights within windows if wanted:
    /// `[batch * windows, heads, tokens, tokens]`. Without a grid in `context`, the tokens are one row.
    pub fn forward(&self, x: &Tensor, context: &Context) -> (Tensor, Option<Tensor>) {
        let size = x.size();
        let (batch, hidden) = (size[0], size[2]);
        let [rows, columns] = context.grid.unwrap_or([1, size[1]]);
        let window = self.spec.window;
        let fits = rows.min(columns) <= window && !self.spec.always_shifted;
        let shift = if fits { 0 } else { self.spec.shift };

        let missing = |side: i64| (window - side % window) % window;
        let map = x.view([batch, rows, columns, hidden]);
        let map = map.constant_pad_nd([0, 0, 0, missing(columns), 0, missing(rows)]);
        let whole = [rows + missing(rows), columns + missing(columns)];
        let map = if shift > 0 { map.roll([-shift, -shift], [1, 2]) } else { map };
        let mask = if shift > 0 { Mask::Allowed(self.together(whole, shift, batch, x)) } else { Mask::None };

        let bias = self.bias.forward();
        let attend = Attend { mask: &mask, bias: Some(&bias), ..context.attend() };
        let (mixed, weights) = self.attention.forward(&self.split(&map), attend, None);

        let map = self.joined(&mixed, batch, whole);
        let map = if shift > 0 { map.roll([shift, shift], [1, 2]) } else { map };
        let map = map.narrow(1, 0, rows).narrow(2, 0, columns);
        (map.reshape([batch, rows * columns, hidden]), weights)
    }

    /// `[batch, rows, columns, hidden]` to `[batch * windows, window * window, hidden]`.
    fn split(&self, map: &Tensor) -> Tensor {
        let (size, window) = (map.size(), self.spec.window);
        map.reshape([size[0], size[1] / window, window, size[2] / window, window, size[3]]).transpose(2, 3).reshape([
            -1,
            window * window,
            size[3],
        ])
    }

    /// The reverse of [`Windows::split`].
    fn joined(&self, windows: &Tensor, batch: i64, [rows, columns]: [i64; 2]) -> Tensor {
        let (hidden, window) = (windows.size()[2], self.spec.window);
        windows
            .reshape([batch, rows / window, columns / window, window, window, hidden])
            .transpose(2, 3)
            .reshape([batch, rows, columns, hidden])
    }

    /// Which tokens of each shifted window stood together before the shift brought ends of the grid next to each other:
    /// `[batch * windows, 1, tokens, tokens]`.
    fn together(&self, [rows, columns]: [i64; 2], shift: i64, batch: i64, like: &Tensor) -> Tensor {
        let regions = |side: i64| {
            let places = Tensor::arange(side, (Kind::Int64, like.device()));
            places.ge(side - self.spec.window).to_kind(Kind::Int64) + places.ge(side - shift).to_kind(Kind::Int64)
        };
        let regions = regions(rows).view([1, -1, 1, 1]) * 3 + regions(columns).view([1, 1, -1, 1]);
        let regions = self.split(&regions).squeeze_dim(-1);
        let together = regions.unsqueeze(1).eq_tensor(&regions.unsqueeze(2));
        together.repeat([batch, 1, 1]).unsqueeze(1)
    }
}
