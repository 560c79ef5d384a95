//! Task tags of Hugging Face as types, so that "this architecture has a head for this task" is a trait bound.

/// A Hugging Face task.
pub trait Task {
    /// The tag as registry entries and the hub spell it.
    const TAG: &'static str;
}

macro_rules! tasks {
    ($($name:ident = $tag:literal),* $(,)?) => {
        $(
            #[doc = concat!("`", $tag, "`.")]
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl Task for $name {
                const TAG: &'static str = $tag;
            }
        )*

        /// All tags.
        pub const TAGS: &[&str] = &[$($tag),*];
    };
}

tasks! {
    FeatureExtraction = "feature-extraction",
    FillMask = "fill-mask",
    TextGeneration = "text-generation",
    Text2textGeneration = "text2text-generation",
    TextClassification = "text-classification",
    TokenClassification = "token-classification",
    QuestionAnswering = "question-answering",
    MultipleChoice = "multiple-choice",
    NextSentencePrediction = "next-sentence-prediction",
    Pretraining = "pretraining",
    DoubleHeads = "double-heads",
    TextEncoding = "text-encoding",
    ImageClassification = "image-classification",
    MaskedImageModeling = "masked-image-modeling",
    Backbone = "backbone",
    ZeroShotImageClassification = "zero-shot-image-classification",
    TextEmbedding = "text-embedding",
    ImageEmbedding = "image-embedding",
    AudioClassification = "audio-classification",
    AudioFrameClassification = "audio-frame-classification",
    AudioXvector = "audio-xvector",
    AutomaticSpeechRecognition = "automatic-speech-recognition",
    ImageTextToText = "image-text-to-text",
}
