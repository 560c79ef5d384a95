//! From raw inputs to answers: a checkpoint's directory with its tokenizer and model, behind one call per task.

mod feature_extraction;
mod sentence;

pub use feature_extraction::{FeatureExtraction, cosine_similarity};
pub use sentence::{Pooling, PoolingMode};
