//! The Auto classes: each stands for one class of any architecture, chosen by task.

use std::collections::BTreeMap;

use super::load::load_class;
use super::{AutoConfig, Checkpoint, Class, Pretrained};
use crate::tasks::{self, Task};
use crate::weights::{LoadOptions, TensorSource};
use crate::{Error, Model, Result};

/// Which class of an architecture an Auto class stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoClass {
    /// Its name, as in Python.
    pub name: &'static str,
    /// Its tasks: it stands for the class that serves the first of them that the architecture has.
    pub tasks: &'static [&'static str],
    /// Further tasks, whose class it stands for where `architectures` of `config.json` names it.
    pub if_named: &'static [&'static str],
    /// How the name of the class ends, where several Auto classes share a task.
    pub endings: &'static [&'static str],
    /// A category, and the task whose class it stands for where an architecture of that category has none of `tasks`.
    pub otherwise: &'static [(&'static str, &'static str)],
}

impl AutoClass {
    /// The class that it stands for where `config` is the configuration.
    ///
    /// # Errors
    /// [`Error::NoClassForTask`] with the classes that the architecture has instead.
    pub fn class_of(&self, config: &AutoConfig) -> Result<&'static Class> {
        let none = || self.none(config);
        if let Some(part) = config.part() {
            let whole = self.tasks.contains(&tasks::FeatureExtraction::TAG);
            return whole.then_some(&part.class).ok_or_else(none);
        }
        let entry = config.entry();
        let ends = |class: &&'static Class| {
            self.endings.is_empty() || self.endings.iter().any(|ending| class.name.ends_with(ending))
        };
        let serving = |task: &&str| entry.class_for(task).filter(ends);
        let is_named = |class: &&'static Class| config.architectures().any(|name| name == class.name);
        let named = self.if_named.iter().filter_map(&serving).find(is_named);
        let served = || self.tasks.iter().find_map(&serving);
        let otherwise = || self.otherwise.iter().find(|(category, _)| *category == entry.category);
        named.or_else(served).or_else(|| serving(&otherwise()?.1)).ok_or_else(none)
    }

    /// The checkpoint as the class that it stands for, with settings that can still be changed.
    pub fn builder(self, checkpoint: impl Into<Checkpoint>) -> Pretrained {
        Pretrained::new(self, checkpoint.into())
    }

    /// The class that it stands for with new weights, drawn as Python initialises them.
    ///
    /// # Errors
    /// As [`AutoClass::class_of`], and when libtorch fails.
    pub fn from_config(&self, config: &AutoConfig, options: LoadOptions) -> Result<Model> {
        let options = LoadOptions { allow_new_heads: true, ..options };
        let nothing = TensorSource::Memory(BTreeMap::new());
        load_class(self.class_of(config)?, config.json().clone(), nothing, options).map(|(model, _)| model)
    }

    fn none(&self, config: &AutoConfig) -> Error {
        let available = match config.part() {
            Some(part) => vec![(tasks::FeatureExtraction::TAG, part.class.name)],
            None => {
                let classes = config.entry().classes.iter();
                classes.flat_map(|class| class.tasks.iter().map(|task| (*task, class.name))).collect()
            }
        };
        let model_type = config.model_type().to_owned();
        Error::NoClassForTask { asked: self.name, model_type, tasks: self.tasks, available }
    }
}

macro_rules! auto_classes {
    ($($(#[$doc:meta])* $name:ident: $($task:ident)+
        $(, if named $($named:ident)+)? $(, ending $($ending:literal)+)? $(, else of $category:literal $other:ident)?;)*) => {
        $(
            $(#[$doc])*
            ///
            /// Loading is strict: see [`Pretrained`] for what can be set.
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl $name {
                /// Which class of an architecture this is.
                pub const CLASS: AutoClass = AutoClass {
                    name: stringify!($name),
                    tasks: &[$(tasks::$task::TAG),+],
                    if_named: &[$($(tasks::$named::TAG),+)?],
                    endings: &[$($($ending),+)?],
                    otherwise: &[$(($category, tasks::$other::TAG))?],
                };

                /// Loads a checkpoint in its own kind, on the CPU.
                ///
                /// # Errors
                /// As [`Pretrained::load`].
                pub fn from_pretrained(checkpoint: impl Into<Checkpoint>) -> Result<Model> {
                    Self::builder(checkpoint).load()
                }

                /// A model with new weights, drawn from the seed of `options` as Python initialises them.
                ///
                /// # Errors
                /// As [`AutoClass::from_config`].
                pub fn from_config(config: &AutoConfig, options: LoadOptions) -> Result<Model> {
                    Self::CLASS.from_config(config, options)
                }

                /// A checkpoint with settings of how it is loaded.
                pub fn builder(checkpoint: impl Into<Checkpoint>) -> Pretrained {
                    Self::CLASS.builder(checkpoint)
                }
            }
        )*

        /// All Auto classes.
        pub const AUTO_CLASSES: &[AutoClass] = &[$($name::CLASS),*];
    };
}

auto_classes! {
    /// The body of a model without a head: hidden states.
    AutoModel: FeatureExtraction;
    /// The class that an architecture was pretrained as.
    ///
    /// Python lists some architectures only; here it is the class for whatever task of pretraining there is.
    AutoModelForPreTraining:
        Pretraining FillMask Text2textGeneration TextGeneration ImageTextToText AudioTextToText;
    /// A decoder that continues text.
    AutoModelForCausalLM: TextGeneration;
    /// An encoder that fills masked tokens in.
    AutoModelForMaskedLM: FillMask;
    /// An encoder-decoder that makes text of text.
    AutoModelForSeq2SeqLM: Text2textGeneration AudioTextToText;
    /// A text as a whole is classified.
    AutoModelForSequenceClassification: TextClassification;
    /// Each token of a text is classified.
    AutoModelForTokenClassification: TokenClassification;
    /// The span of a text that answers a question.
    AutoModelForQuestionAnswering: QuestionAnswering;
    /// The one of several texts that fits.
    AutoModelForMultipleChoice: MultipleChoice;
    /// Whether a sentence follows another.
    AutoModelForNextSentencePrediction: NextSentencePrediction;
    /// The encoder of text alone, of an encoder-decoder too.
    AutoModelForTextEncoding: TextEncoding, else of "encoder-only" FeatureExtraction;
    /// The span of a document that answers a question.
    AutoModelForDocumentQuestionAnswering: DocumentQuestionAnswering;
    /// An answer to a question about an image.
    AutoModelForVisualQuestionAnswering: VisualQuestionAnswering;
    /// A model that reads images and text, and writes text.
    AutoModelForImageTextToText: ImageTextToText;
    /// A model that reads images, sounds and text, and writes text.
    AutoModelForMultimodalLM: ImageTextToText AudioTextToText;
    /// Feature maps of an image, for another model to build on.
    AutoBackbone: Backbone;
    /// An image as a whole is classified.
    AutoModelForImageClassification: ImageClassification, if named ImageClassificationWithTeacher;
    /// An image is classified by how well texts fit it.
    AutoModelForZeroShotImageClassification: ZeroShotImageClassification;
    /// Masked patches of an image are filled in.
    AutoModelForMaskedImageModeling: MaskedImageModeling;
    /// Boxes of the objects in an image.
    AutoModelForObjectDetection: ObjectDetection;
    /// Boxes of the objects in an image that texts describe.
    AutoModelForZeroShotObjectDetection: ZeroShotObjectDetection;
    /// Masks of the objects in an image.
    AutoModelForImageSegmentation: ImageSegmentation, ending "ForSegmentation";
    /// Masks of the objects and regions of an image.
    AutoModelForUniversalSegmentation: ImageSegmentation, ending "ForSegmentation";
    /// Each pixel of an image is classified.
    AutoModelForSemanticSegmentation: ImageSegmentation, ending "ForSemanticSegmentation";
    /// A sound as a whole is classified.
    AutoModelForAudioClassification: AudioClassification;
    /// Each moment of a sound is classified.
    AutoModelForAudioFrameClassification: AudioFrameClassification;
    /// The vector of a speaker.
    AutoModelForAudioXVector: AudioXvector;
    /// Speech to the letters of each moment.
    AutoModelForCTC: AutomaticSpeechRecognition, ending "ForCTC";
    /// Speech to text, token by token.
    AutoModelForSpeechSeq2Seq:
        AutomaticSpeechRecognition, ending "ForConditionalGeneration" "ForSpeechToText";
    /// Text to a spectrogram.
    AutoModelForTextToSpectrogram: TextToAudio;
    /// Sound to codes and back.
    AutoModelForAudioTokenization: AudioTokenization;
}
