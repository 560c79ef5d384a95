//! When a generation ends: its rows one by one, or all at once.

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use super::GenerationConfig;
use crate::{Error, Result};

/// Which rows have ended, and how long the others may go on.
#[derive(Debug)]
pub(super) struct Stopping {
    ends: Option<Tensor>,
    padding: i64,
    ended: Tensor,
    deadline: Option<Instant>,
}

impl Stopping {
    /// For `rows` rows that begin now.
    pub fn new(config: &GenerationConfig, rows: i64, device: Device) -> Result<Self> {
        let ends = &config.eos_token_id;
        let deadline = match config.max_time {
            // What exceeds the clock is no limit.
            Some(seconds) if seconds >= 0.0 => {
                Duration::try_from_secs_f64(seconds).ok().and_then(|time| Instant::now().checked_add(time))
            }
            Some(seconds) => return Err(Error::input("max_time", format!("is {seconds}, expected seconds from 0"))),
            None => None,
        };
        Ok(Self {
            ends: (!ends.is_empty()).then(|| Tensor::from_slice(ends).to_device(device)),
            padding: config.pad_token_id.or(ends.first().copied()).unwrap_or(0),
            ended: Tensor::zeros([rows, 1], (Kind::Bool, device)),
            deadline,
        })
    }

    /// The chosen tokens `next` (`[rows, 1]`), and padding for rows that have ended.
    pub fn pad(&self, next: &Tensor) -> Tensor {
        next.masked_fill(&self.ended, self.padding)
    }

    /// Notes which rows end with `next` (`[rows, 1]`), and says whether the generation does.
    pub fn ends_with(&mut self, next: &Tensor) -> bool {
        if let Some(ends) = &self.ends {
            self.ended = self.ended.logical_or(&Tensor::isin(next, ends, false, false));
            if self.ended.all().int64_value(&[]) != 0 {
                return true;
            }
        }
        self.deadline.is_some_and(|deadline| Instant::now() > deadline)
    }

    /// Which rows have ended: `[rows, 1]`, bool.
    pub fn ended(&self) -> &Tensor {
        &self.ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stopping(config: GenerationConfig) -> Result<Stopping> {
        Stopping::new(&config, 2, Device::Cpu)
    }

    fn tokens(tokens: [i64; 2]) -> Tensor {
        Tensor::from_slice(&tokens).unsqueeze(-1)
    }

    #[test]
    fn rows_end_with_any_of_the_ends_and_are_padded_from_then_on() {
        for (pad, padding) in [(Some(0), 0), (None, 5)] {
            let config = GenerationConfig { eos_token_id: vec![5, 6], pad_token_id: pad, ..Default::default() };
            let mut rows = stopping(config).unwrap();
            assert!(!rows.ends_with(&tokens([1, 6])));
            assert!(rows.pad(&tokens([3, 3])).equal(&tokens([3, padding])));
            assert!(!rows.ends_with(&tokens([3, padding])));
            assert!(rows.ends_with(&tokens([5, padding])));
        }
    }

    #[test]
    fn without_ends_only_time_ends_a_generation() {
        let timed = |max_time| stopping(GenerationConfig { max_time, ..Default::default() });
        assert!(!timed(None).unwrap().ends_with(&tokens([0, 0])));
        assert!(!timed(Some(1e6)).unwrap().ends_with(&tokens([0, 0])));
        assert!(!timed(Some(f64::INFINITY)).unwrap().ends_with(&tokens([0, 0])));
        let mut over = timed(Some(0.0)).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        assert!(over.ends_with(&tokens([0, 0])));
        for wrong in [-1.0, f64::NAN] {
            assert!(timed(Some(wrong)).unwrap_err().to_string().contains("max_time"));
        }
    }
}
