use tch::{Kind, Tensor};

/// Biases of attention scores that fall with distance, each head with a slope of its own (ALiBi; Press et al., 2021).
///
/// A softmax takes away what all scores of a query have in common, so a bias counts the position of its key and leaves
/// the query out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlibiSpec {
    /// Attention heads.
    pub heads: i64,
    /// Where keys are counted from.
    pub origin: AlibiOrigin,
    /// What the biases are multiplied by.
    pub scale: f64,
    /// Whether slopes and biases are rounded to bfloat16.
    pub rounded: bool,
}

/// Where the keys of [`AlibiSpec`] are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlibiOrigin {
    /// The first token that is no padding; padding takes its place, too.
    FirstToken,
    /// The last key, whatever it is: the others are negative.
    LastKey,
}

impl AlibiSpec {
    /// Biases of `heads` heads as they are.
    pub fn new(heads: i64, origin: AlibiOrigin) -> Self {
        Self { heads, origin, scale: 1.0, rounded: false }
    }

    /// The biases of `keys` keys, `[batch or 1, heads, 1, keys]`, on the device and in the kind of `like`.
    ///
    /// `attention_mask` is `[batch, keys]`, 0 for padding.
    pub fn bias(&self, attention_mask: Option<&Tensor>, keys: i64, like: &Tensor) -> Tensor {
        let options = (Kind::Int64, like.device());
        let positions = match (self.origin, attention_mask) {
            (AlibiOrigin::LastKey, _) => Tensor::arange_start(1 - keys, 1, options).unsqueeze(0),
            (AlibiOrigin::FirstToken, None) => Tensor::arange(keys, options).unsqueeze(0),
            (AlibiOrigin::FirstToken, Some(mask)) => {
                let real = mask.to_kind(Kind::Int64);
                (real.cumsum(-1, Kind::Int64) - 1) * real
            }
        };
        let slopes = Tensor::from_slice(&self.slopes()).to_device(like.device()).unsqueeze(-1);
        let slopes = if self.rounded { slopes.to_kind(Kind::BFloat16) } else { slopes };
        (slopes * positions.unsqueeze(1)).unsqueeze(2).to_kind(like.kind()) * self.scale
    }

    /// One slope per head: a geometric series down to 2⁻⁸ over a power of two of heads; further heads take every other
    /// slope of the series over twice as many.
    fn slopes(&self) -> Vec<f32> {
        let whole = 1 << self.heads.max(1).ilog2();
        let series = |heads: i64, step| {
            let slope = move |head| (-8.0 * head as f64 / heads as f64).exp2() as f32;
            (1..=heads).step_by(step).map(slope)
        };
        series(whole, 1).chain(series(2 * whole, 2)).take(self.heads as usize).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_heads_stand_between_those_of_a_power_of_two() {
        let slopes = |heads| AlibiSpec::new(heads, AlibiOrigin::FirstToken).slopes();
        let powers = |exponents: &[i32]| exponents.iter().map(|exponent| 2f32.powi(-exponent)).collect::<Vec<_>>();
        assert_eq!(slopes(1), powers(&[8]));
        assert_eq!(slopes(4), powers(&[2, 4, 6, 8]));
        assert_eq!(slopes(7), powers(&[2, 4, 6, 8, 1, 3, 5]));
    }
}
