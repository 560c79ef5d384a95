//! From raw inputs to answers: a checkpoint's directory with its tokenizer and model, behind one call per task.
//!
//! [`load`] takes the task by name and speaks JSON, as the command does; each task has a type of its own besides.

mod conversation;
mod entities;
mod feature_extraction;
mod fill_mask;
mod generating;
mod labels;
mod languages;
mod options;
mod question_answering;
mod sentence;
mod task;
mod text;
mod text_classification;
mod text_generation;
mod text_to_text;
mod token_classification;
mod values;
mod zero_shot_classification;

pub use conversation::{Conversation, Ending, Turn};
pub use entities::Strategy;
pub use feature_extraction::{FeatureExtraction, FeatureExtractionSettings, cosine_similarity};
pub use fill_mask::{Fill, FillMask, FillMaskSettings, FillMaskTruncation, Fills};
pub use labels::{Function, Label};
pub use options::{Options, Progress};
pub use question_answering::{Answer, Answers, Question, QuestionAnswering, QuestionAnsweringSettings};
pub use sentence::{Pooling, PoolingMode};
pub use task::{Pipeline, TypedPipeline, load, tasks};
pub use text::{Batch, Text};
pub use text_classification::{Labelled, TextClassification, TextClassificationSettings, TextInput, TopK};
pub use text_generation::{Continued, Prompt, TextGeneration, TextGenerationSettings, Written};
pub use text_to_text::{
    AnyText, InAnotherLanguage, Summarization, Summary, Text2TextGeneration, TextToText, TextToTextSettings,
    Translation, Wording, WrittenText,
};
pub use token_classification::{Entity, TokenClassification, TokenClassificationSettings, Words};
pub use values::OneOrMany;
pub use zero_shot_classification::{ZeroShot, ZeroShotClassification, ZeroShotSettings};
