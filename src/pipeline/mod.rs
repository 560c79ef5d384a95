//! From raw inputs to answers: a checkpoint's directory with its tokenizer and model, behind one call per task.
//!
//! [`load`] takes the task by name and speaks JSON, as the command does; each task has a type of its own besides.

mod feature_extraction;
mod options;
mod sentence;
mod task;
mod text;

pub use feature_extraction::{FeatureExtraction, FeatureExtractionSettings, cosine_similarity};
pub use options::{Options, Progress};
pub use sentence::{Pooling, PoolingMode};
pub use task::{Pipeline, TypedPipeline, load, tasks};
pub use text::{Batch, Text};
