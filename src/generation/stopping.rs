//! When a generation ends: its rows one by one, or all at once.

use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use super::decoding::numbers;
use super::{GenerationConfig, StopStrings, TokenTexts};
use crate::{Error, Result};

/// What ends a row, which rows have ended, and how long the others may go on.
#[derive(Debug)]
pub(super) struct Stopping {
    ends: Vec<i64>,
    padding: i64,
    ended: Tensor,
    strings: Option<StopStrings>,
    deadline: Option<Instant>,
}

impl Stopping {
    /// For `rows` rows that begin now; `texts` are those of tokens, for strings that end a row.
    pub fn new(config: &GenerationConfig, texts: Option<&TokenTexts>, rows: i64, device: Device) -> Result<Self> {
        let deadline = match config.max_time {
            // What exceeds the clock is no limit.
            Some(seconds) if seconds >= 0.0 => {
                Duration::try_from_secs_f64(seconds).ok().and_then(|time| Instant::now().checked_add(time))
            }
            Some(seconds) => return Err(Error::input("max_time", format!("is {seconds}, expected seconds from 0"))),
            None => None,
        };
        let strings = match (config.stop_strings.as_slice(), texts) {
            ([], _) => None,
            (strings, Some(texts)) => Some(StopStrings::new(texts, strings)?),
            (strings, None) => {
                let message = format!(
                    "are {strings:?}, for which the texts of tokens must be known: give `TokenTexts` of the model's \
                     tokenizer to `Generator::token_texts`"
                );
                return Err(Error::input("stop_strings", message));
            }
        };
        let ends = config.eos_token_id.clone();
        let padding = config.pad_token_id.or(ends.first().copied()).unwrap_or(0);
        Ok(Self { ends, padding, ended: Tensor::zeros([rows, 1], (Kind::Bool, device)), strings, deadline })
    }

    /// The chosen tokens `next` (`[rows, 1]`), and padding for rows that have ended. As in Python, a row that a string
    /// has ended goes on until the others have, where there are no ends.
    pub fn pad(&self, next: &Tensor) -> Tensor {
        match self.ends.is_empty() {
            true => next.shallow_clone(),
            false => next.masked_fill(&self.ended, self.padding),
        }
    }

    /// Notes which rows end with the last of `ids` (`[rows, tokens]`), and says whether the generation does.
    pub fn ends_with(&mut self, ids: &Tensor) -> Result<bool> {
        if !self.ends.is_empty() {
            let ends = Tensor::from_slice(&self.ends).to_device(ids.device());
            let last = ids.narrow(1, -1, 1);
            self.ended = self.ended.logical_or(&Tensor::isin(&last, &ends, false, false));
        }
        if let Some(strings) = &self.strings {
            let tail = self.tail(ids);
            let tokens = usize::try_from(tail.size()[1]).unwrap_or(0).max(1);
            let tail = numbers(&tail)?;
            let completed: Vec<bool> = tail.chunks(tokens).map(|row| strings.completed_by(row)).collect();
            self.ended = self.ended.logical_or(&Tensor::from_slice(&completed).view([-1, 1]).to_device(ids.device()));
        }
        let watched = !self.ends.is_empty() || self.strings.is_some();
        Ok(watched && self.ended.all().int64_value(&[]) != 0 || self.is_late())
    }

    /// The last tokens of `ids` (`[rows, tokens]`), as many as strings that end a row may be made of.
    pub fn tail(&self, ids: &Tensor) -> Tensor {
        let tokens = ids.size()[1];
        let tail = self.strings.as_ref().map_or(0, |strings| i64::try_from(strings.reach()).unwrap_or(i64::MAX));
        ids.narrow(1, tokens - tail.min(tokens), tail.min(tokens))
    }

    /// Whether a row with the tokens `ids` has just ended.
    pub fn ends_row(&self, ids: &[i64]) -> bool {
        ids.last().is_some_and(|last| self.ends.contains(last))
            || self.strings.as_ref().is_some_and(|strings| strings.completed_by(ids))
    }

    /// Whether time is up.
    pub fn is_late(&self) -> bool {
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
        Stopping::new(&config, None, 2, Device::Cpu)
    }

    fn tokens(tokens: [i64; 2]) -> Tensor {
        Tensor::from_slice(&tokens).unsqueeze(-1)
    }

    #[test]
    fn rows_end_with_any_of_the_ends_and_are_padded_from_then_on() {
        for (pad, padding) in [(Some(0), 0), (None, 5)] {
            let config = GenerationConfig { eos_token_id: vec![5, 6], pad_token_id: pad, ..Default::default() };
            let mut rows = stopping(config).unwrap();
            assert!(!rows.ends_with(&tokens([1, 6])).unwrap());
            assert!(rows.pad(&tokens([3, 3])).equal(&tokens([3, padding])));
            assert!(!rows.ends_with(&tokens([3, padding])).unwrap());
            assert!(rows.ends_with(&tokens([5, padding])).unwrap());
        }
    }

    #[test]
    fn without_ends_only_time_ends_a_generation() {
        let timed = |max_time| stopping(GenerationConfig { max_time, ..Default::default() });
        assert!(!timed(None).unwrap().ends_with(&tokens([0, 0])).unwrap());
        assert!(!timed(Some(1e6)).unwrap().ends_with(&tokens([0, 0])).unwrap());
        assert!(!timed(Some(f64::INFINITY)).unwrap().ends_with(&tokens([0, 0])).unwrap());
        let mut over = timed(Some(0.0)).unwrap();
        std::thread::sleep(Duration::from_millis(1));
        assert!(over.ends_with(&tokens([0, 0])).unwrap());
        for wrong in [-1.0, f64::NAN] {
            assert!(timed(Some(wrong)).unwrap_err().to_string().contains("max_time"));
        }
    }
}
