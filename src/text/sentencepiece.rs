//! SentencePiece models: the fields of their protobuf that a tokenizer is made of.

use prost::Message;

use super::checks;

/// A model of SentencePiece.
#[derive(Clone, PartialEq, Message)]
pub(super) struct PieceModel {
    #[prost(message, repeated, tag = "1")]
    pub pieces: Vec<StoredPiece>,
    #[prost(message, optional, tag = "2")]
    trainer: Option<Trainer>,
    #[prost(message, optional, tag = "3")]
    normalizer: Option<Normalizer>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct StoredPiece {
    #[prost(string, tag = "1")]
    pub content: String,
    #[prost(float, tag = "2")]
    pub score: f32,
    #[prost(int32, optional, tag = "3")]
    kind: Option<i32>,
}

/// How the model was trained.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Trainer {
    #[prost(int32, optional, tag = "3", default = "1")]
    algorithm: Option<i32>,
    #[prost(bool, tag = "35")]
    pub byte_fallback: bool,
    #[prost(int32, tag = "40")]
    pub unk_id: i32,
    #[prost(int32, optional, tag = "41", default = "1")]
    bos_id: Option<i32>,
    #[prost(int32, optional, tag = "42", default = "2")]
    eos_id: Option<i32>,
    #[prost(string, optional, tag = "45", default = "<unk>")]
    unk_piece: Option<String>,
    #[prost(string, optional, tag = "46", default = "<s>")]
    bos_piece: Option<String>,
    #[prost(string, optional, tag = "47", default = "</s>")]
    eos_piece: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    #[prost(bytes = "vec", tag = "2")]
    charsmap: Vec<u8>,
}

impl PieceModel {
    /// Parses a file.
    pub fn parse(file: &[u8]) -> Result<Self, String> {
        let model = Self::decode(file).map_err(|error| error.to_string())?;
        if model.pieces.is_empty() {
            return Err("it has no pieces".into());
        }
        checks::pieces(model.pieces.iter().map(|piece| piece.content.as_str()))?;
        Ok(model)
    }

    pub fn trainer(&self) -> Trainer {
        self.trainer.clone().unwrap_or_default()
    }

    /// The map of characters that normalises texts; `None` where there is none.
    pub fn charsmap(&self) -> Option<&[u8]> {
        self.normalizer.as_ref().map(|normalizer| normalizer.charsmap.as_slice()).filter(|bytes| !bytes.is_empty())
    }
}

impl StoredPiece {
    /// A token that no text spells out.
    pub fn is_control(&self) -> bool {
        self.kind == Some(3)
    }

    /// A token that a user asked for.
    pub fn is_user_defined(&self) -> bool {
        self.kind == Some(4)
    }
}

impl Trainer {
    pub fn is_unigram(&self) -> bool {
        self.algorithm() == 1
    }

    /// The pieces that begin, end and are missing in texts, by the field of `tokenizer_config.json`.
    pub fn roles(&self) -> Vec<(&'static str, &str)> {
        let all = [
            ("bos_token", self.bos_id(), self.bos_piece()),
            ("eos_token", self.eos_id(), self.eos_piece()),
            ("unk_token", self.unk_id, self.unk_piece()),
        ];
        all.into_iter().filter(|(_, id, _)| *id >= 0).map(|(role, _, piece)| (role, piece)).collect()
    }
}
