use std::fmt;
use std::sync::Arc;

use crate::weights::LoadOptions;

/// How a pipeline loads its model and runs it.
#[derive(Debug, Clone)]
pub struct Options {
    /// Device and kind of the model. Default: the CPU, and the checkpoint's own kind, as in Python. Tensors of other
    /// classes, such as a language model's head, are passed over whatever it says.
    pub load: LoadOptions,
    /// The most texts (or pieces of long ones) of one pass. Default: 32.
    pub batch_size: usize,
    /// Told after every pass.
    pub progress: Option<Progress>,
}

impl Default for Options {
    fn default() -> Self {
        let load = LoadOptions { kind: None, ..LoadOptions::default() };
        Self { load, batch_size: 32, progress: None }
    }
}

/// A function that is told how many of the texts (or pieces of long ones) of a call are done, and how many there are.
#[derive(Clone)]
pub struct Progress(Arc<dyn Fn(usize, usize) + Send + Sync>);

impl Progress {
    /// Calls `tell(done, all)`.
    pub fn new(tell: impl Fn(usize, usize) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// Says that `done` of `all` are done.
    pub fn tell(&self, done: usize, all: usize) {
        (self.0)(done, all);
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Progress")
    }
}
