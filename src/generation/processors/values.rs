//! Processors that map all scores alike.

use tch::{Kind, Tensor};

use super::{LogitsProcessor, unfit};
use crate::Result;

/// Divides scores: below 1 makes likely tokens likelier, above 1 evens them out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperature(f64);

impl Temperature {
    /// # Errors
    /// Unless `temperature` is above 0.
    pub fn new(temperature: f64) -> Result<Self> {
        let fits = temperature > 0.0 && temperature.is_finite();
        fits.then_some(Self(temperature))
            .ok_or_else(|| unfit("temperature", temperature, "a number above 0; for the likeliest token do not sample"))
    }
}

impl LogitsProcessor for Temperature {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        Ok(scores / self.0)
    }
}

/// Replaces what is no number by 0, and infinities by the largest numbers of their sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RemoveInvalid;

impl LogitsProcessor for RemoveInvalid {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        Ok(scores.nan_to_num(0.0, None, None))
    }
}

/// Turns scores into logarithms of probabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogNormalization;

impl LogitsProcessor for LogNormalization {
    fn process(&self, _ids: &Tensor, scores: &Tensor) -> Result<Tensor> {
        Ok(scores.log_softmax(-1, None::<Kind>))
    }
}
