//! The vocabulary of a tokenizer, from whichever file has it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tokenizers::PostProcessorWrapper;
use tokenizers::models::bpe;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::{NormalizerWrapper, Precompiled};

use super::checks::{LARGEST_ID, wrong};
use super::recipe::{Files, Model, Piece, Pieces};
use super::sentencepiece::PieceModel;
use super::settings::{Settings, StoredToken};
use super::tiktoken::Ranks;
use super::{charsmap, checks};
use crate::Result;
use crate::files;

/// What a recipe makes a tokenizer of.
#[derive(Default)]
pub(super) struct Vocabulary {
    /// Tokens with their scores, in the order of their ids.
    pub scored: Vec<(String, f64)>,
    /// Tokens with their ids, where there are no scores.
    pub ids: bpe::Vocab,
    pub merges: bpe::Merges,
    /// Where the file says that the unknown token is.
    pub unk_id: Option<usize>,
    pub charsmap: Option<Precompiled>,
    /// What `tokenizer.json` puts around texts.
    pub processor: Option<PostProcessorWrapper>,
    /// The special tokens that a SentencePiece model names.
    pub additional: Option<Vec<StoredToken>>,
    /// A file of tiktoken: Python makes a tokenizer of it that takes the place of the class's own.
    pub ranks: Option<Ranks>,
}

impl Vocabulary {
    /// Takes the vocabulary of a parsed `tokenizer.json`, for a model as `model` says.
    pub fn of_json(json: &Map<String, Value>, model: &Model) -> Result<Self, String> {
        let stored = json.get("model").and_then(Value::as_object).ok_or("`model` is missing")?;
        let mut vocabulary = Self {
            charsmap: json.get("normalizer").map(stored_charsmap).transpose()?.flatten(),
            processor: match json.get("post_processor") {
                None | Some(Value::Null) => None,
                Some(processor) => Some(parsed(processor).map_err(|error| format!("`post_processor`: {error}"))?),
            },
            ..Self::default()
        };
        let tokens = stored.get("vocab").ok_or("`model.vocab` is missing")?;
        let wrong = "`model.vocab` is neither a map from tokens to ids nor a list of tokens with scores";
        match (model, tokens) {
            (Model::Unigram(_), Value::Array(tokens)) => {
                vocabulary.scored = tokens.iter().map(scored).collect::<Option<_>>().ok_or(wrong)?;
            }
            (Model::Unigram(_), _) => return Err("`model.vocab` has no scores, which the class needs".into()),
            (_, Value::Object(tokens)) => {
                let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok());
                let ids = tokens.iter().map(|(token, value)| Some((token.clone(), id(value)?)));
                vocabulary.ids = ids.collect::<Option<_>>().ok_or(wrong)?;
            }
            (_, Value::Array(tokens)) => {
                let token = |token: &Value| match token {
                    Value::Array(pair) => pair.first().and_then(Value::as_str).map(str::to_owned),
                    token => token.as_str().map(str::to_owned),
                };
                let ids = tokens.iter().zip(0..).map(|(value, id)| Some((token(value)?, id)));
                vocabulary.ids = ids.collect::<Option<_>>().ok_or(wrong)?;
            }
            _ => return Err(wrong.into()),
        }
        if let (Model::Bpe(_), Some(merges)) = (model, stored.get("merges")) {
            let merges = merges.as_array().ok_or("`model.merges` is not a list")?;
            let owned = |(left, right): (&str, &str)| (left.to_owned(), right.to_owned());
            let merge = |merge| checks::pair(merge).map(owned);
            vocabulary.merges = merges.iter().map(merge).collect::<Option<_>>().ok_or("`model.merges` has no pairs")?;
        }
        Ok(vocabulary)
    }

    /// Reads the files of a directory that has no `tokenizer.json`.
    pub fn of_files(directory: &Path, files: &Files, model: &Model, settings: &Settings) -> Result<Self> {
        if let Some(path) = common_file(directory)
            && let ModelFile::Ranks(ranks) = ModelFile::read(&path)?
        {
            return Ok(Self { ranks: Some(ranks), ..Self::default() });
        }
        let needed: &[&str] = match files {
            Files::None => return Err(wrong(directory, "needs tokenizer.json, which is not there")),
            Files::Lines => &["vocab.txt"],
            Files::Merges => &["vocab.json", "merges.txt"],
            Files::Pieces(file, _) => match piece_file(directory, file).is_file() {
                true => &[],
                false => &[file],
            },
        };
        if let Some(file) = needed.iter().find(|file| !directory.join(file).is_file()) {
            let message = format!("needs tokenizer.json or {}; {file} is not there", needed.join(" and "));
            return Err(wrong(directory, message));
        }
        match files {
            Files::None => Ok(Self::default()),
            Files::Lines => lines(&directory.join("vocab.txt")),
            Files::Merges => merges(&directory.join("vocab.json"), &directory.join("merges.txt")),
            Files::Pieces(file, pieces) => {
                let path = piece_file(directory, file);
                match ModelFile::read(&path)? {
                    ModelFile::Ranks(ranks) => Ok(Self { ranks: Some(ranks), ..Self::default() }),
                    ModelFile::Pieces(stored) => {
                        Self::of_pieces(&stored, pieces, !matches!(model, Model::Unigram(_)), settings)
                            .map_err(|error| wrong(&path, error))
                    }
                }
            }
        }
    }

    /// The pieces of a SentencePiece model, as the vocabulary of byte-pair encoding where `is_bpe`.
    pub fn of_pieces(stored: &PieceModel, pieces: &Pieces, is_bpe: bool, settings: &Settings) -> Result<Self, String> {
        let own = stored.pieces.iter().map(|piece| (piece.content.clone(), f64::from(piece.score)));
        let mut vocabulary = Self {
            unk_id: usize::try_from(stored.trainer().unk_id).ok(),
            charsmap: stored.charsmap().map(charsmap::read).transpose()?,
            additional: Some(
                stored
                    .pieces
                    .iter()
                    .filter(|piece| piece.is_control() || piece.is_user_defined())
                    .map(|piece| StoredToken::verbatim(piece.content.clone(), piece.is_control()))
                    .collect(),
            ),
            ..Self::default()
        };
        let surround = |pieces: &[Piece]| pieces.iter().flat_map(|piece| piece.tokens(settings)).collect::<Vec<_>>();
        vocabulary.scored = surround(pieces.before);
        vocabulary.scored.extend(own.clone().skip(pieces.skipped));
        vocabulary.scored.extend(surround(pieces.after));
        if is_bpe {
            // Merges are those that make a piece of two others; the ids of the model rank them.
            let stored_ids: bpe::Vocab = own.map(|(token, _)| token).zip(0..).collect();
            vocabulary.merges = derived_merges(stored, &stored_ids);
            vocabulary.ids = if pieces.before.is_empty() { stored_ids } else { numbered(&vocabulary.scored) };
            vocabulary.scored.clear();
        }
        Ok(vocabulary)
    }
}

impl Piece {
    fn tokens(&self, settings: &Settings) -> Vec<(String, f64)> {
        match self {
            Self::Token(field, default) => vec![(settings.named(field).unwrap_or(default).to_owned(), 0.0)],
            Self::Fixed(token, score) => vec![((*token).to_owned(), *score)],
            Self::Languages(codes) => codes.iter().map(|code| ((*code).to_owned(), 0.0)).collect(),
            Self::ExtraIds => (0..settings.extra_ids()).rev().map(|id| (format!("<extra_id_{id}>"), 0.0)).collect(),
            Self::Unknowns => (2..settings.offset()).map(|id| (format!("<unk_{id}>"), -100.0)).collect(),
        }
    }
}

/// A `.model` file: of SentencePiece, or what is none and hence of tiktoken.
pub(super) enum ModelFile {
    Pieces(PieceModel),
    Ranks(Ranks),
}

impl ModelFile {
    /// Reads a file.
    ///
    /// # Errors
    /// As [`files::bytes`], and for a file that is damaged or of another kind.
    pub fn read(path: &Path) -> Result<Self> {
        let bytes = files::bytes(path)?;
        let error = match PieceModel::parse(&bytes) {
            _ if path.ends_with(RANKED) => String::new(),
            Ok(model) => return Ok(Self::Pieces(model)),
            Err(error) => format!("no SentencePiece model: {error}; "),
        };
        let ranks = Ranks::parse(&bytes);
        ranks.map(Self::Ranks).map_err(|ranks| wrong(path, format!("{error}no file of tiktoken: {ranks}")))
    }
}

/// The name that only files of tiktoken have.
const RANKED: &str = "tiktoken.model";

/// The `.model` file of a directory that any class takes.
fn common_file(directory: &Path) -> Option<PathBuf> {
    let paths = ["tokenizer.model", RANKED].map(|file| directory.join(file));
    paths.into_iter().find(|path| path.is_file())
}

/// The `.model` file of a directory: a common one before the class's own.
pub(super) fn piece_file(directory: &Path, file: &str) -> PathBuf {
    common_file(directory).unwrap_or_else(|| directory.join(file))
}

fn lines(path: &Path) -> Result<Vocabulary> {
    let bytes = files::bytes(path)?;
    let ids = WordPiece::read_bytes(&bytes).map_err(|error| wrong(path, error))?;
    Ok(Vocabulary { ids, ..Vocabulary::default() })
}

fn merges(tokens: &Path, merges: &Path) -> Result<Vocabulary> {
    let id = |id: &Value| id.as_u64().and_then(|id| u32::try_from(id).ok()).filter(|id| *id <= LARGEST_ID);
    let ids: bpe::Vocab = crate::json::read::<Map<String, Value>>(tokens)?
        .iter()
        .map(|(token, value)| match id(value) {
            Some(id) => Ok((token.clone(), id)),
            None => Err(wrong(tokens, format!("`{token}`: {value} is not an id from 0 to {LARGEST_ID}"))),
        })
        .collect::<Result<_>>()?;
    let text = files::text(merges)?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.starts_with("#version"));
    let pair = |(index, line): (usize, &str)| {
        let halves = line.split_once(' ').filter(|(_, right)| !right.contains(' '));
        let (left, right) = halves.ok_or_else(|| wrong(merges, format!("line {}: not two tokens", index + 1)))?;
        Ok((left.to_owned(), right.to_owned()))
    };
    let pairs: bpe::Merges = lines.map(pair).collect::<Result<_>>()?;
    let halves = pairs.iter().map(|(left, right)| (left.as_str(), right.as_str()));
    checks::merges(halves, "", |token| ids.contains_key(token)).map_err(|error| wrong(merges, error))?;
    Ok(Vocabulary { ids, merges: pairs, ..Vocabulary::default() })
}

fn scored(token: &Value) -> Option<(String, f64)> {
    let [content, score] = token.as_array()?.as_slice() else { return None };
    Some((content.as_str()?.to_owned(), score.as_f64()?))
}

/// The character map of a normaliser, alone or in a sequence.
fn stored_charsmap(normalizer: &Value) -> Result<Option<Precompiled>, String> {
    let steps = match normalizer.get("normalizers").and_then(Value::as_array) {
        Some(steps) => steps.iter().collect(),
        None => vec![normalizer],
    };
    let is_map = |step: &&&Value| {
        step.get("type").and_then(Value::as_str) == Some("Precompiled") && step.get("precompiled_charsmap").is_some()
    };
    let Some(step) = steps.iter().find(is_map) else { return Ok(None) };
    match parsed(step).map_err(|error| format!("`normalizer`: {error}"))? {
        NormalizerWrapper::Precompiled(map) => Ok(Some(map)),
        _ => Ok(None),
    }
}

fn parsed<T: serde::de::DeserializeOwned>(json: &Value) -> Result<T, serde_json::Error> {
    // By way of text, since some of these types borrow from it.
    serde_json::from_str(&json.to_string())
}

/// Ids of tokens in their order, the first of those alike.
fn numbered(tokens: &[(String, f64)]) -> bpe::Vocab {
    let mut ids = bpe::Vocab::new();
    for (token, _) in tokens {
        let next = ids.len() as u32;
        ids.entry(token.clone()).or_insert(next);
    }
    ids
}

/// Every way to make a piece of two others: first those of pieces with low ids, then of short left and right halves.
fn derived_merges(model: &PieceModel, ids: &bpe::Vocab) -> bpe::Merges {
    let mut ranked = Vec::new();
    for piece in &model.pieces {
        let Some(rank) = ids.get(&piece.content) else { continue };
        let halves = piece.content.char_indices().skip(1).map(|(place, _)| piece.content.split_at(place));
        let mut ways: Vec<_> =
            halves.filter_map(|(left, right)| Some(((ids.get(left)?, ids.get(right)?), left, right))).collect();
        ways.sort_by_key(|(ids, ..)| *ids);
        ranked.extend(ways.into_iter().map(|(_, left, right)| (rank, left, right)));
    }
    ranked.sort_by_cached_key(|(rank, left, right)| (**rank, left.chars().count(), right.chars().count()));
    ranked.into_iter().map(|(_, left, right)| (left.to_owned(), right.to_owned())).collect()
}
