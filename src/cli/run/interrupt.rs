//! What Ctrl-C means while somebody converses with a model.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use anyhow::{Context, Result};

/// The exit status of a program that Ctrl-C has ended.
const INTERRUPTED: i32 = 130;

const WAITING: u8 = 0;
const ANSWERING: u8 = 1;
const STOPPED: u8 = 2;

/// Whether an answer is being written, and whether it is to stop.
#[derive(Debug, Clone, Default)]
pub struct Interrupt(Arc<AtomicU8>);

impl Interrupt {
    /// Lets Ctrl-C stop answers. While there is none, it ends the program where `ends` says so.
    pub fn install(ends: bool) -> Result<Self> {
        let interrupt = Self::default();
        let state = interrupt.0.clone();
        ctrlc::set_handler(move || {
            let stops = state.compare_exchange(ANSWERING, STOPPED, Ordering::Relaxed, Ordering::Relaxed);
            if stops == Err(WAITING) && ends {
                std::process::exit(INTERRUPTED);
            }
        })
        .context("cannot be told of Ctrl-C")?;
        Ok(interrupt)
    }

    /// Runs `answer`, which Ctrl-C stops.
    pub fn during<T>(&self, answer: impl FnOnce() -> T) -> T {
        self.0.store(ANSWERING, Ordering::Relaxed);
        let answer = answer();
        self.0.store(WAITING, Ordering::Relaxed);
        answer
    }

    /// Whether the answer is to stop.
    pub fn stops(&self) -> bool {
        self.0.load(Ordering::Relaxed) == STOPPED
    }
}
