//! Trying again what may go well the next time.

use std::thread;
use std::time::Duration;

use crate::{Error, Result};

/// How often something is tried, and how long the waits in between are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// Attempts after the first one.
    pub retries: u32,
    /// The first wait; each further one is twice as long.
    pub delay: Duration,
    /// The longest wait, whatever the hub asks for.
    pub longest: Duration,
    /// How long a connection may say nothing before it counts as broken.
    pub silence: Duration,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            retries: 5,
            delay: Duration::from_millis(250),
            longest: Duration::from_secs(60),
            silence: Duration::from_secs(60),
        }
    }
}

/// Why an attempt has failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// It will not be otherwise next time.
    Final(Error),
    /// It may be, after the given wait where the hub names one.
    After(Error, Option<Duration>),
    /// It got a part of the way, from where the next attempt goes on.
    Advanced(Error),
}

impl Failure {
    /// A failure that may not happen again.
    pub fn again(error: Error) -> Self {
        Self::After(error, None)
    }
}

impl Attempts {
    /// Runs `attempt` until it succeeds, fails for good, or all attempts are used up.
    pub(super) fn run<T>(&self, mut attempt: impl FnMut() -> Result<T, Failure>) -> Result<T> {
        let mut failures = 0;
        loop {
            let (error, wait) = match attempt() {
                Ok(value) => return Ok(value),
                Err(Failure::Final(error)) => return Err(error),
                Err(Failure::After(error, wait)) => (error, wait),
                Err(Failure::Advanced(error)) => {
                    failures = 0;
                    (error, None)
                }
            };
            if failures >= self.retries {
                return Err(error);
            }
            let doubled = self.delay.saturating_mul(1 << failures.min(16));
            let wait = wait.unwrap_or(doubled).min(self.longest);
            tracing::warn!(%error, ?wait, "trying again");
            thread::sleep(wait);
            failures += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failing() -> Error {
        Error::Tokenizer("x".into())
    }

    #[test]
    fn attempts_are_counted_from_the_last_advance() {
        let attempts = Attempts { retries: 2, delay: Duration::ZERO, longest: Duration::ZERO, ..Attempts::default() };
        let count = |fail: fn(u32) -> Option<Failure>| {
            let mut runs = 0;
            let result = attempts.run(|| {
                runs += 1;
                fail(runs).map_or(Ok(()), Err)
            });
            (result.is_ok(), runs)
        };
        assert_eq!(count(|_| None), (true, 1));
        assert_eq!(count(|run| (run < 3).then(|| Failure::again(failing()))), (true, 3));
        assert_eq!(count(|_| Some(Failure::again(failing()))), (false, 3));
        assert_eq!(count(|_| Some(Failure::Final(failing()))), (false, 1));
        assert_eq!(count(|run| (run < 9).then(|| Failure::Advanced(failing()))), (true, 9));
    }
}
