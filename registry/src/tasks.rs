//! The tasks of Hugging Face: one list for entries, declarations and types.

use std::fmt;

use crate::{Category, nearest};

/// Calls `$callback! { TypeName = "task-tag" [Category …], … }` with every task.
#[macro_export]
macro_rules! for_each_task {
    ($callback:path) => {
        $callback! {
            FeatureExtraction = "feature-extraction" [EncoderOnly DecoderOnly EncoderDecoder Vision VisionText Speech Multimodal Other],
            FillMask = "fill-mask" [EncoderOnly DecoderOnly EncoderDecoder VisionText Multimodal Other],
            TextGeneration = "text-generation" [EncoderOnly DecoderOnly EncoderDecoder VisionText Speech Multimodal],
            Text2textGeneration = "text2text-generation" [EncoderDecoder Speech],
            Text2textGenerationSequence = "text2text-generation-sequence" [EncoderDecoder],
            Pretraining = "pretraining" [EncoderOnly Vision VisionText Speech Multimodal Other],
            TextClassification = "text-classification" [EncoderOnly DecoderOnly EncoderDecoder VisionText Multimodal Other],
            TokenClassification = "token-classification" [EncoderOnly DecoderOnly EncoderDecoder VisionText Speech Multimodal Other],
            QuestionAnswering = "question-answering" [EncoderOnly DecoderOnly EncoderDecoder VisionText],
            MultipleChoice = "multiple-choice" [EncoderOnly DecoderOnly VisionText],
            NextSentencePrediction = "next-sentence-prediction" [EncoderOnly],
            DoubleHeads = "double-heads" [DecoderOnly],
            TextEncoding = "text-encoding" [EncoderDecoder VisionText Multimodal],
            QuestionEncoding = "question-encoding" [EncoderOnly],
            OpenQuestionAnswering = "open-question-answering" [EncoderOnly],
            TableQuestionAnswering = "table-question-answering" [EncoderOnly],
            DocumentQuestionAnswering = "document-question-answering" [EncoderOnly VisionText],
            EntityClassification = "entity-classification" [EncoderOnly],
            EntityPairClassification = "entity-pair-classification" [EncoderOnly],
            EntitySpanClassification = "entity-span-classification" [EncoderOnly],
            EntityLinking = "entity-linking" [EncoderOnly],
            EntityExtraction = "entity-extraction" [EncoderOnly],
            InformationExtraction = "information-extraction" [EncoderOnly],
            Backbone = "backbone" [Vision VisionText],
            ImageClassification = "image-classification" [Vision VisionText Multimodal],
            ImageClassificationWithTeacher = "image-classification-with-teacher" [Vision],
            ImageFeatureExtraction = "image-feature-extraction" [Vision Multimodal],
            MaskedImageModeling = "masked-image-modeling" [Vision],
            CausalImageModeling = "causal-image-modeling" [Vision],
            ImageSegmentation = "image-segmentation" [Vision VisionText],
            PromptableSegmentation = "promptable-segmentation" [Vision],
            MaskGeneration = "mask-generation" [Vision],
            VideoMaskGeneration = "video-mask-generation" [Vision],
            ObjectDetection = "object-detection" [Vision],
            DepthEstimation = "depth-estimation" [Vision],
            NormalEstimation = "normal-estimation" [Vision],
            PointmapEstimation = "pointmap-estimation" [Vision],
            PoseEstimation = "pose-estimation" [Vision],
            KeypointDetection = "keypoint-detection" [Vision],
            KeypointMatching = "keypoint-matching" [Vision],
            OpticalFlow = "optical-flow" [Multimodal],
            ImageMatting = "image-matting" [Vision],
            ImageToImage = "image-to-image" [Vision],
            DocumentUnwarping = "document-unwarping" [Vision],
            TextRecognition = "text-recognition" [Vision VisionText],
            TableRecognition = "table-recognition" [Vision],
            VideoClassification = "video-classification" [Vision],
            ZeroShotImageClassification = "zero-shot-image-classification" [VisionText],
            ZeroShotObjectDetection = "zero-shot-object-detection" [VisionText],
            ZeroShotVideoClassification = "zero-shot-video-classification" [Vision VisionText],
            TextEmbedding = "text-embedding" [VisionText],
            ImageEmbedding = "image-embedding" [VisionText],
            Contrastive = "contrastive" [VisionText Speech Multimodal],
            ImageTextRetrieval = "image-text-retrieval" [VisionText],
            VisualDocumentRetrieval = "visual-document-retrieval" [VisionText],
            VisualQuestionAnswering = "visual-question-answering" [VisionText],
            VisualReasoning = "visual-reasoning" [VisionText],
            ImagesAndTextClassification = "images-and-text-classification" [VisionText],
            RegionToPhraseAlignment = "region-to-phrase-alignment" [VisionText],
            VideoGrounding = "video-grounding" [VisionText],
            Classification = "classification" [VisionText],
            AudioClassification = "audio-classification" [Speech],
            AudioFrameClassification = "audio-frame-classification" [Speech],
            AudioXvector = "audio-xvector" [Speech],
            AutomaticSpeechRecognition = "automatic-speech-recognition" [Speech Multimodal],
            ZeroShotAudioClassification = "zero-shot-audio-classification" [Speech],
            AudioTokenization = "audio-tokenization" [Speech],
            TextToAudio = "text-to-audio" [Speech Multimodal],
            TextToAudioWithVocoder = "text-to-audio-with-vocoder" [Speech],
            Vocoder = "vocoder" [Speech],
            SpeechToSpeech = "speech-to-speech" [Speech],
            AudioToMidi = "audio-to-midi" [Speech],
            AudioVisualClassification = "audio-visual-classification" [Multimodal],
            AudioTextToText = "audio-text-to-text" [Speech Multimodal],
            ImageTextToText = "image-text-to-text" [DecoderOnly EncoderDecoder VisionText Multimodal],
            AnyToAny = "any-to-any" [Multimodal],
            TextToImage = "text-to-image" [Multimodal],
            MultimodalAutoencoding = "multimodal-autoencoding" [Multimodal],
            Robotics = "robotics" [Multimodal],
            TimeSeriesForecasting = "time-series-forecasting" [Other],
            TimeSeriesClassification = "time-series-classification" [Other],
            TimeSeriesRegression = "time-series-regression" [Other],
            GraphClassification = "graph-classification" [Other],
            ProteinFolding = "protein-folding" [Other],
            ProteinTextToText = "protein-text-to-text" [Other],
            Decision = "decision" [Other],
        }
    };
}

/// A task tag, and where it may stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// The tag as the hub spells it, e.g. `fill-mask`.
    pub tag: &'static str,
    /// The type of that task in the library, e.g. `FillMask`.
    pub type_name: &'static str,
    /// The categories whose architectures have classes for it.
    pub categories: &'static [Category],
}

macro_rules! table {
    ($($name:ident = $tag:literal [$($category:ident)*],)*) => {
        /// All tasks, text first, then vision, speech, multimodal and the rest.
        pub const TASKS: &[Task] = &[$(
            Task { tag: $tag, type_name: stringify!($name), categories: &[$(Category::$category),*] },
        )*];
    };
}

for_each_task!(table);

impl fmt::Debug for Task {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.tag)
    }
}

impl Task {
    /// The task of that tag.
    pub fn find(tag: &str) -> Option<&'static Self> {
        TASKS.iter().find(|task| task.tag == tag)
    }

    /// The task whose tag maps to that identifier (`fill_mask`).
    pub fn from_ident(ident: &str) -> Option<&'static Self> {
        TASKS.iter().find(|task| task.ident() == ident)
    }

    /// The tag as an identifier: `fill_mask`.
    pub fn ident(&self) -> String {
        self.tag.replace('-', "_")
    }

    /// The task of that tag, or what to say about it.
    pub fn parse(tag: &str) -> Result<&'static Self, String> {
        Self::find(tag)
            .ok_or_else(|| format!("unknown task `{tag}`{}", nearest::hint(tag, TASKS.iter().map(|task| task.tag))))
    }
}
