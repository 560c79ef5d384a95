//! The folders of the registry.

use std::fmt;

use crate::nearest;

/// A category: a folder of the registry, and a test target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Bidirectional text encoders.
    EncoderOnly,
    /// Causal text decoders.
    DecoderOnly,
    /// Text to text with an encoder and a decoder.
    EncoderDecoder,
    /// Images and video.
    Vision,
    /// Images and text in two towers, or text read off images.
    VisionText,
    /// Speech and audio.
    Speech,
    /// Language models that take images, video or audio.
    Multimodal,
    /// Everything else: time series, proteins, graphs, decisions.
    Other,
}

impl Category {
    /// All categories, in the order in which they are reported.
    pub const ALL: [Self; 8] = [
        Self::EncoderOnly,
        Self::DecoderOnly,
        Self::EncoderDecoder,
        Self::Vision,
        Self::VisionText,
        Self::Speech,
        Self::Multimodal,
        Self::Other,
    ];

    /// The folder's name, e.g. `encoder-only`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::EncoderOnly => "encoder-only",
            Self::DecoderOnly => "decoder-only",
            Self::EncoderDecoder => "encoder-decoder",
            Self::Vision => "vision",
            Self::VisionText => "vision-text",
            Self::Speech => "speech",
            Self::Multimodal => "multimodal",
            Self::Other => "other",
        }
    }

    /// The name as an identifier, e.g. `encoder_only`: the name of its test target.
    pub fn ident(self) -> String {
        self.name().replace('-', "_")
    }

    /// How many architectures the first milestone counts; none for what lies beyond the seven categories.
    pub const fn target(self) -> Option<usize> {
        match self {
            Self::EncoderOnly => Some(63),
            Self::DecoderOnly => Some(58),
            Self::EncoderDecoder => Some(47),
            Self::Vision => Some(73),
            Self::VisionText => Some(27),
            Self::Speech => Some(29),
            Self::Multimodal => Some(31),
            Self::Other => None,
        }
    }

    /// The category of that name, or what to say about it.
    pub fn parse(name: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|category| category.name() == name).ok_or_else(|| {
            format!("unknown category `{name}`{}", nearest::hint(name, Self::ALL.into_iter().map(Self::name)))
        })
    }
}

impl fmt::Display for Category {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}
