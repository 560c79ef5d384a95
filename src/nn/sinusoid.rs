use tch::{Kind, Tensor};

/// Vectors of positions that nobody learns (Vaswani et al., 2017): sines in the first half, cosines in the second, each
/// pair of them of another wavelength.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sinusoid {
    /// Width of a vector.
    pub width: i64,
    /// How the wavelengths grow.
    pub growth: Growth,
}

/// How wavelengths grow from 2 pi towards 20000 pi.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Growth {
    /// As the paper has it: the last of them falls short of the end. Computed in double precision.
    Open,
    /// The same in single precision, with sines and cosines that take turns instead of halves.
    Alternating,
    /// As tensor2tensor has it: the last of them is the end. Computed in single precision, and the last element of an
    /// odd width is 0.
    Closed,
}

/// The longest wavelength, over 2 pi.
const LONGEST: f64 = 10_000.0;

impl Sinusoid {
    /// `[…]` positions to `[…, width]` vectors in single precision.
    pub fn at(self, positions: &Tensor) -> Tensor {
        let device = positions.device();
        match self.growth {
            Growth::Open => {
                let exponents =
                    Tensor::arange((self.width + 1) / 2, (Kind::Double, device)) * (2.0 / self.width as f64);
                let periods = Tensor::full([1], LONGEST, (Kind::Double, device)).pow(&exponents);
                let angles = positions.to_kind(Kind::Double).unsqueeze(-1) / periods;
                Tensor::cat(&[angles.sin(), angles.cos().narrow(-1, 0, self.width / 2)], -1).to_kind(Kind::Float)
            }
            Growth::Alternating => {
                let even = Tensor::arange_start_step(0, self.width, 2, (Kind::Float, device));
                let frequencies = (even * (-LONGEST.ln() / self.width as f64)).exp();
                let angles = positions.to_kind(Kind::Float).unsqueeze(-1) * frequencies;
                Tensor::stack(&[angles.sin(), angles.cos()], -1).flatten(-2, -1).narrow(-1, 0, self.width)
            }
            Growth::Closed => {
                let half = self.width / 2;
                let step = -LONGEST.ln() / (half - 1) as f64;
                let frequencies = (Tensor::arange(half, (Kind::Float, device)) * step).exp();
                let angles = positions.to_kind(Kind::Float).unsqueeze(-1) * frequencies;
                Tensor::cat(&[angles.sin(), angles.cos()], -1).constant_pad_nd([0, self.width % 2])
            }
        }
    }

    /// The vectors of the tokens `ids` (`[batch, tokens]`), which come after `past` others, by places that count the tokens
    /// of a row that are not `padding`, from `padding + 1` on; padding itself has zeros. `[batch, tokens, width]` in single
    /// precision.
    pub fn of_tokens(self, ids: &Tensor, padding: i64, past: i64) -> Tensor {
        let real = ids.ne(padding);
        let places = real.cumsum(1, Kind::Int64) + (past + padding);
        self.at(&places).masked_fill(&real.logical_not().unsqueeze(-1), 0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_hold_sines_and_cosines() {
        let positions = Tensor::from_slice(&[0_i64, 3]);
        for (width, growth, frequencies) in [
            (5, Growth::Open, vec![1.0, 10_000_f64.powf(-0.4), 10_000_f64.powf(-0.8)]),
            (6, Growth::Closed, vec![1.0, 0.01, 0.0001]),
        ] {
            let vectors = Sinusoid { width, growth }.at(&positions);
            assert_eq!(vectors.size(), [2, width]);
            let found = Vec::<f64>::try_from(vectors.select(0, 1).to_kind(Kind::Double)).unwrap();
            let sines = frequencies.iter().map(|frequency| (3.0 * frequency).sin());
            let expected: Vec<_> = sines.chain(frequencies.iter().map(|frequency| (3.0 * frequency).cos())).collect();
            let close = found.iter().zip(&expected).all(|(found, expected)| (found - expected).abs() < 1e-6);
            assert!(close, "{found:?} is not {expected:?}");
        }
        let turns = Sinusoid { width: 4, growth: Growth::Alternating }.at(&positions).select(0, 1);
        let expected = [3_f64.sin(), 3_f64.cos(), 0.03_f64.sin(), 0.03_f64.cos()];
        assert!(turns.allclose(&Tensor::from_slice(&expected).to_kind(Kind::Float), 0.0, 1e-6, false), "{turns}");
        let odd = Sinusoid { width: 7, growth: Growth::Closed }.at(&positions);
        assert_eq!((odd.size(), odd.double_value(&[1, 6])), (vec![2, 7], 0.0));
    }
}
