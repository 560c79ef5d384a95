use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use tokenizers::Encoding;

use super::entities::{Strategy, Token, aggregated, without_overlap};
use super::labels::{Labels, softmax};
use super::text::numbers;
use super::{Options, Text, TypedPipeline};
use crate::auto::{AutoModelForTokenClassification, Checkpoint};
use crate::{Error, Result};

/// The tokens of texts to labels, such as the names of persons and places.
#[derive(Debug)]
pub struct TokenClassification {
    text: Text,
    labels: Labels,
}

/// A text, or one that is already split into words.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Words {
    /// A text.
    Text(String),
    /// Its words.
    Split(Vec<String>),
}

impl From<&str> for Words {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// The arguments of a call.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenClassificationSettings {
    /// How tokens become entities. Default: they do not.
    pub aggregation_strategy: Strategy,
    /// Labels (`B-PER`), or with a strategy kinds of entities (`PER`), that are left out. Default: `O`.
    pub ignore_labels: Vec<String>,
    /// Reads a text that is too long in pieces that share this many tokens. Where it is not given, a text is cut.
    pub stride: Option<usize>,
    /// The inputs are lists of words.
    pub is_split_into_words: bool,
    /// What stands between words in the text that positions count in. Default: a space.
    pub delimiter: Option<String>,
}

impl Default for TokenClassificationSettings {
    fn default() -> Self {
        Self {
            aggregation_strategy: Strategy::None,
            ignore_labels: vec!["O".to_owned()],
            stride: None,
            is_split_into_words: false,
            delimiter: None,
        }
    }
}

/// A token with its label, or several that make up an entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Entity {
    /// The label of the token (`B-PER`); of an entity its kind (`PER`).
    pub label: String,
    /// Its probability; of an entity the mean.
    pub score: f64,
    /// The place among the tokens of its piece of the text, special ones included; of an entity none.
    pub index: Option<usize>,
    /// The token as the vocabulary has it; of an entity its text, as the tokenizer writes it.
    pub word: String,
    /// The first character of the text that belongs to it.
    pub start: usize,
    /// The first character of the text that does not belong to it any more.
    pub end: usize,
}

impl Serialize for Entity {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry(if self.index.is_some() { "entity" } else { "entity_group" }, &self.label)?;
        map.serialize_entry("score", &self.score)?;
        if let Some(index) = self.index {
            map.serialize_entry("index", &index)?;
        }
        map.serialize_entry("word", &self.word)?;
        map.serialize_entry("start", &self.start)?;
        map.serialize_entry("end", &self.end)?;
        map.end()
    }
}

/// A text, and where its words begin if it came as words.
struct Source {
    characters: Vec<char>,
    words: Option<Vec<usize>>,
}

impl TokenClassification {
    /// Loads a checkpoint.
    ///
    /// # Errors
    /// As [`Text::from_pretrained`].
    pub fn from_pretrained(checkpoint: impl Into<Checkpoint>, options: &Options) -> Result<Self> {
        let text = Text::from_pretrained(AutoModelForTokenClassification::CLASS, checkpoint, options)?;
        Ok(Self { labels: Labels::of(text.model()), text })
    }

    /// Tokenizer and model.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// The labelled tokens of each text, or its entities; positions count characters of the text.
    ///
    /// # Errors
    /// [`Error::Input`] for a stride that is too long and a text that should have been split, [`Error::Tokenizer`], and
    /// as [`Model::forward`](crate::Model::forward).
    pub fn classify(&self, inputs: &[Words], settings: &TokenClassificationSettings) -> Result<Vec<Vec<Entity>>> {
        let longest = self.text.tokenizer().max_length();
        if let Some(stride) = settings.stride.filter(|stride| *stride >= longest) {
            return Err(Error::input(
                "stride",
                format!("is {stride}; must be less than the {longest} tokens of a text"),
            ));
        }
        if settings.is_split_into_words
            && let Some(index) = inputs.iter().position(|input| matches!(input, Words::Text(_)))
        {
            return Err(Error::input(
                format!("inputs[{index}]"),
                "is a text; `is_split_into_words` wants lists of words",
            ));
        }
        let sources: Vec<Source> = inputs.iter().map(|input| Source::new(input, settings)).collect();
        let mut pieces = Vec::new();
        let mut owners = Vec::new();
        for (owner, input) in inputs.iter().enumerate() {
            let found = self.pieces(input, settings)?;
            owners.extend(std::iter::repeat_n(owner, found.len()));
            pieces.extend(found);
        }
        let scored = self.text.rows(pieces, &["logits"], |encoding, rows| {
            let logits: Vec<Vec<f32>> = numbers(&self.text.tokens(encoding, &rows[0]).contiguous())?;
            Ok((encoding.clone(), logits.iter().map(|logits| softmax(logits)).collect::<Vec<_>>()))
        })?;
        let mut entities: Vec<(usize, Vec<Entity>)> = inputs.iter().map(|_| (0, Vec::new())).collect();
        for (owner, (encoding, scores)) in std::iter::zip(owners, scored) {
            let tokens = self.tokens(&sources[owner], &encoding, scores)?;
            let mut found = aggregated(tokens, settings.aggregation_strategy, &self.labels, self.text.tokenizer())?;
            found.retain(|entity| !settings.ignore_labels.contains(&entity.label));
            entities[owner].0 += 1;
            entities[owner].1.extend(found);
        }
        let whole = |(pieces, entities)| if pieces > 1 { without_overlap(entities) } else { entities };
        Ok(entities.into_iter().map(whole).collect())
    }

    /// A text in as many pieces as it takes.
    fn pieces(&self, input: &Words, settings: &TokenClassificationSettings) -> Result<Vec<Encoding>> {
        let mut truncation = self.text.truncation(true);
        truncation.stride = settings.stride.unwrap_or(0);
        let tokenizer = self.text.tokenizer();
        let mut encoding = match input {
            Words::Text(text) => tokenizer.encode_cut(&[text], truncation)?.swap_remove(0),
            Words::Split(words) => tokenizer.encode_words(words, truncation)?,
        };
        let rest = encoding.take_overflowing();
        Ok(std::iter::once(encoding).chain(rest.into_iter().filter(|_| settings.stride.is_some())).collect())
    }

    /// The tokens of a piece but for special ones.
    fn tokens(&self, source: &Source, encoding: &Encoding, scores: Vec<Vec<f64>>) -> Result<Vec<Token>> {
        let tokenizer = self.text.tokenizer();
        let unknown = tokenizer.special_tokens().unk.as_ref().map(|unk| unk.id);
        let marked = super::entities::marks_pieces(tokenizer.inner());
        let mut tokens = Vec::new();
        for (index, scores) in scores.into_iter().enumerate() {
            if encoding.get_special_tokens_mask()[index] != 0 {
                continue;
            }
            let id = encoding.get_ids()[index];
            let word = tokenizer.inner().id_to_token(id).unwrap_or_default();
            let first = match (&source.words, encoding.get_word_ids()[index]) {
                (Some(words), Some(word)) => words.get(word as usize).copied().unwrap_or(0),
                _ => 0,
            };
            let (start, end) = encoding.get_offsets()[index];
            let (start, end) = (start + first, end + first);
            let written: String = source.slice(start, end);
            let continues = if marked {
                word.chars().count() != written.chars().count()
            } else {
                // Without marks in the vocabulary: what no space stands before.
                start > 0 && !source.slice(start - 1, start + 1).contains(' ')
            };
            let is_unknown = Some(id) == unknown;
            let word = if is_unknown { written } else { word };
            tokens.push(Token { word, scores, start, end, index, continues: continues && !is_unknown });
        }
        Ok(tokens)
    }
}

impl Source {
    fn new(input: &Words, settings: &TokenClassificationSettings) -> Self {
        match input {
            Words::Text(text) => Self { characters: text.chars().collect(), words: None },
            Words::Split(words) => {
                let delimiter = settings.delimiter.as_deref().unwrap_or(" ");
                let step = delimiter.chars().count();
                let starts = words.iter().scan(0, |next, word| {
                    let start = *next;
                    *next += word.chars().count() + step;
                    Some(start)
                });
                Self { characters: words.join(delimiter).chars().collect(), words: Some(starts.collect()) }
            }
        }
    }

    /// The characters from `start` to before `end`, as far as there are any.
    fn slice(&self, start: usize, end: usize) -> String {
        self.characters.iter().take(end).skip(start).collect()
    }
}

impl TypedPipeline for TokenClassification {
    const TASK: &'static str = "token-classification";
    type Input = Words;
    type Settings = TokenClassificationSettings;
    type Output = Vec<Entity>;

    fn call(&self, inputs: &[Words], settings: &Self::Settings) -> Result<Vec<Vec<Entity>>> {
        self.classify(inputs, settings)
    }
}
