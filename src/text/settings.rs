//! What `tokenizer_config.json` and the files of older versions say about a tokenizer.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::checks;
use super::tokenizer::Side;
use crate::json::read_optional;
use crate::{Error, Result};

/// The fields of the tokens with a role, in the order in which Python keeps them.
pub(super) const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The most extra tokens that a setting may ask for; T5 has 100, Pegasus 103.
pub(super) const MOST_EXTRA: usize = 100_000;

const NO_TOKENS: &str = "neither a list of tokens nor a map to tokens";

/// Everything that changes ids or text.
#[derive(Debug, Default)]
pub(super) struct Settings {
    pub options: Options,
    /// The tokens with a role that the directory names; `None` for one that it says there is not.
    pub roles: BTreeMap<&'static str, Option<Given>>,
    /// Tokens with roles of the model's own, by field.
    pub own_roles: Vec<(String, Given)>,
    /// Special tokens without a role, as today's files name them.
    pub extra: Option<Vec<Given>>,
    /// The same, as older files name them.
    pub additional: Option<Vec<Given>>,
    /// Added tokens by id.
    pub added: BTreeMap<u32, StoredToken>,
    mask_token_sent: Option<String>,
}

/// Plain settings.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Options {
    pub tokenizer_class: Option<String>,
    /// Absurdly large where there is no limit, hence a float.
    model_max_length: Option<f64>,
    max_len: Option<f64>,
    pub padding_side: Option<Side>,
    pub truncation_side: Option<Side>,
    clean_up_tokenization_spaces: Option<bool>,
    clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output: Option<bool>,
    pub split_special_tokens: Option<bool>,
    pub add_prefix_space: Option<bool>,
    pub add_bos_token: Option<bool>,
    pub add_eos_token: Option<bool>,
    pub do_lower_case: Option<bool>,
    pub strip_accents: Option<bool>,
    pub tokenize_chinese_chars: Option<bool>,
    pub clean_text: Option<bool>,
    pub keep_accents: Option<bool>,
    pub split_by_punct: Option<bool>,
    pub trim_offsets: Option<bool>,
    pub legacy: Option<bool>,
    pub legacy_behaviour: Option<bool>,
    pub unk_id: Option<usize>,
    extra_ids: Option<usize>,
    offset: Option<usize>,
    pub src_lang: Option<String>,
    pub language: Option<String>,
    pub task: Option<String>,
    pub predict_timestamps: Option<bool>,
}

/// A token, as its content or with how it is found in a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Given {
    Plain(String),
    Full(StoredToken),
}

/// An added token as files have it.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(default)]
pub(super) struct StoredToken {
    pub content: String,
    pub single_word: bool,
    pub lstrip: bool,
    pub rstrip: bool,
    /// Where it is not said, special tokens are found in the text as it is, others in the normalised text.
    pub normalized: Option<bool>,
    pub special: bool,
}

impl StoredToken {
    /// A token that is found as it is written.
    pub fn verbatim(content: String, special: bool) -> Self {
        Self { content, special, normalized: Some(false), ..Self::default() }
    }

    /// The token as the vocabulary takes it, special where it is already or `is_special`.
    pub fn added(&self, is_special: bool) -> AddedToken {
        let special = self.special || is_special;
        AddedToken::from(self.content.clone(), special)
            .normalized(self.normalized.unwrap_or(!special))
            .single_word(self.single_word)
            .lstrip(self.lstrip)
            .rstrip(self.rstrip)
    }
}

impl Given {
    pub fn content(&self) -> &str {
        match self {
            Self::Plain(content) => content,
            Self::Full(token) => &token.content,
        }
    }

    /// Of JSON; with a value that is neither a string nor a token, nothing.
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::String(content) => Some(Self::Plain(content.clone())),
            value => stored_token(value).map(Self::Full),
        }
    }
}

/// Special tokens of a list; [`None`] where one is none.
fn given_tokens(list: &[Value]) -> Option<Vec<Given>> {
    list.iter().map(Given::of).collect()
}

fn stored_token(value: &Value) -> Option<StoredToken> {
    value.get("content")?;
    if value.get("normalized").is_some_and(Value::is_null) {
        return None;
    }
    StoredToken::deserialize(value).ok()
}

/// The added tokens of a parsed `tokenizer.json`, by id; [`None`] where there is none or one is none.
fn added_tokens_of(json: &Map<String, Value>) -> Option<BTreeMap<u32, StoredToken>> {
    let token = |token: &Value| Some((u32::try_from(token.get("id")?.as_u64()?).ok()?, stored_token(token)?));
    json.get("added_tokens")?.as_array()?.iter().map(token).collect()
}

impl Settings {
    /// Reads the files of `directory`; `json` is its `tokenizer.json`, where there is one.
    pub fn read(directory: &Path, json: Option<&Map<String, Value>>) -> Result<Self> {
        let path = directory.join("tokenizer_config.json");
        let mut fields: Map<String, Value> = read_optional(&path)?.unwrap_or_default();
        if json.is_some() {
            // The file's own template counts.
            fields.remove("add_bos_token");
            fields.remove("add_eos_token");
        }
        let wrong =
            |field: &str, message: &str| Error::Json { path: path.clone(), message: format!("`{field}`: {message}") };
        let mut settings = Self::default();
        settings.take_lists(&mut fields).map_err(|field| wrong(field, NO_TOKENS))?;
        let is_marked = |value: &Value| value.get("__type").is_some_and(|kind| kind == "AddedToken");
        if let Some(role) =
            ROLES.iter().find(|role| fields.get(**role).is_some_and(|value| value.is_object() && !is_marked(value)))
        {
            return Err(wrong(role, "a map that is not marked as an `AddedToken`"));
        }
        if fields.get("padding_side").is_some_and(Value::is_null) {
            return Err(wrong("padding_side", "neither `left` nor `right`"));
        }
        match fields.get("added_tokens_decoder") {
            Some(Value::Object(tokens)) => {
                for (id, token) in tokens {
                    let field = format!("added_tokens_decoder.{id}");
                    let id = id.parse().map_err(|_| wrong(&field, "not an id"))?;
                    settings.added.insert(id, stored_token(token).ok_or_else(|| wrong(&field, "not a token"))?);
                }
            }
            Some(_) => return Err(wrong("added_tokens_decoder", "not a map from ids to tokens")),
            None => settings.read_older(directory, &mut fields, json)?,
        }
        settings.take_roles(&fields).map_err(|field| wrong(field, "not a token"))?;
        settings.options = crate::json::deserialize(&path, Value::Object(fields))?;
        Ok(settings)
    }

    /// Takes the special tokens without a role.
    fn take_lists(&mut self, fields: &mut Map<String, Value>) -> Result<(), &'static str> {
        let is_empty = |value: Option<&Value>| match value {
            None | Some(Value::Null) => true,
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            Some(_) => false,
        };
        if is_empty(fields.get("extra_special_tokens"))
            && let Some(tokens) = fields.remove("additional_special_tokens")
        {
            fields.insert("extra_special_tokens".into(), tokens);
        }
        let field = "extra_special_tokens";
        match fields.remove(field) {
            Some(Value::Object(named)) => self.own_roles = own_roles(&named).ok_or(field)?,
            Some(Value::Array(list)) => self.extra = Some(given_tokens(&list).ok_or(field)?),
            None | Some(Value::Null) => {}
            Some(_) => return Err(field),
        }
        let of_model = fields.iter().filter(|(field, value)| {
            field.ends_with("_token") && value.is_string() && !ROLES.contains(&field.as_str())
        });
        let of_model: Map<_, _> = of_model.map(|(field, value)| (field.clone(), value.clone())).collect();
        self.own_roles.splice(0..0, own_roles(&of_model).unwrap_or_default());
        Ok(())
    }

    /// Files of versions that kept added tokens apart.
    fn read_older(
        &mut self,
        directory: &Path,
        fields: &mut Map<String, Value>,
        json: Option<&Map<String, Value>>,
    ) -> Result<()> {
        let path = directory.join("special_tokens_map.json");
        let map: Option<Map<String, Value>> = read_optional(&path)?;
        let wrong = |field: &str, what: &str| Error::Json { path: path.clone(), message: format!("`{field}`: {what}") };
        for (field, value) in map.into_iter().flatten() {
            match (field.as_str(), &value) {
                ("additional_special_tokens", Value::Array(list)) => {
                    self.additional = Some(given_tokens(list).ok_or_else(|| wrong(&field, NO_TOKENS))?);
                }
                ("extra_special_tokens", Value::Array(list)) => {
                    let extra = self.extra.get_or_insert_default();
                    for token in given_tokens(list).ok_or_else(|| wrong(&field, NO_TOKENS))? {
                        if !extra.iter().any(|known| known.content() == token.content()) {
                            extra.push(token);
                        }
                    }
                }
                ("extra_special_tokens", Value::Object(named)) => {
                    self.own_roles.extend(own_roles(named).ok_or_else(|| wrong(&field, NO_TOKENS))?);
                }
                ("additional_special_tokens" | "extra_special_tokens", _) => return Err(wrong(&field, NO_TOKENS)),
                (role, value) if ROLES.contains(&role) && !value.is_null() && Given::of(value).is_none() => {
                    return Err(wrong(role, "not a token"));
                }
                (_, Value::Object(_)) => {
                    let mut value = value;
                    value["special"] = true.into();
                    fields.insert(field, value);
                }
                _ => {
                    fields.insert(field, value);
                }
            }
        }
        let added: Option<BTreeMap<String, u32>> = read_optional(&directory.join("added_tokens.json"))?;
        if let Some(added) = added {
            let roles = ROLES.iter().filter_map(|role| Given::of(fields.get(*role)?));
            let special: BTreeSet<_> =
                roles.chain(self.extra.iter().flatten().cloned()).map(|token| token.content().to_owned()).collect();
            self.added.extend(added.into_iter().map(|(token, id)| {
                let is_special = special.contains(&token);
                (id, StoredToken { content: token, special: is_special, ..StoredToken::default() })
            }));
        }
        if let Some(json) = json {
            let added = added_tokens_of(json);
            let message = "`added_tokens` is not a list of tokens with ids";
            self.added.extend(added.ok_or_else(|| checks::wrong(&directory.join("tokenizer.json"), message))?);
        }
        Ok(())
    }

    /// Takes the tokens with a role: as the added token of that content, where there is one.
    fn take_roles(&mut self, fields: &Map<String, Value>) -> Result<(), &'static str> {
        let by_content: BTreeMap<_, _> = self.added.values().map(|token| (token.content.as_str(), token)).collect();
        for role in ROLES {
            let Some(value) = fields.get(role) else { continue };
            let given = Given::of(value);
            if given.is_none() && !value.is_null() {
                return Err(role);
            }
            let given = given.map(|given| match by_content.get(given.content()) {
                Some(token) => Given::Full((*token).clone()),
                None => given,
            });
            self.roles.insert(role, given);
        }
        self.mask_token_sent = fields.get("mask_token_sent").and_then(Value::as_str).map(str::to_owned);
        Ok(())
    }

    /// What the directory says that a token with a role is, or `mask_token_sent`.
    pub fn named(&self, field: &str) -> Option<&str> {
        match field {
            "mask_token_sent" => self.mask_token_sent.as_deref(),
            _ => self.roles.get(field)?.as_ref().map(Given::content),
        }
    }

    /// The most tokens of a text; `usize::MAX` where there is no limit.
    pub fn max_length(&self) -> usize {
        let length = self.options.model_max_length.or(self.options.max_len);
        length.filter(|length| *length < 1e9).map_or(usize::MAX, |length| length as usize)
    }

    /// Refuses numbers of extra tokens that no tokenizer has.
    pub fn check_extra(&self) -> Result<(), String> {
        let all = [("extra_ids", self.options.extra_ids), ("offset", self.options.offset)];
        match all.into_iter().find(|(_, count)| count.is_some_and(|count| count > MOST_EXTRA)) {
            Some((field, _)) => Err(format!("`{field}` is larger than {MOST_EXTRA}")),
            None => Ok(()),
        }
    }

    /// How many `<extra_id_…>` T5 has.
    pub fn extra_ids(&self) -> usize {
        self.options.extra_ids.unwrap_or(100).min(MOST_EXTRA)
    }

    /// The id before the first piece of Pegasus.
    pub fn offset(&self) -> usize {
        self.options.offset.unwrap_or(103).min(MOST_EXTRA)
    }

    /// Whether spaces that tokens bring are cleaned up. That is for WordPiece; the spaces of byte pairs are the text's.
    pub fn cleans_up(&self, is_bpe: bool) -> bool {
        let options = &self.options;
        let forced = options.clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output.unwrap_or(false);
        options.clean_up_tokenization_spaces.unwrap_or(false) && (!is_bpe || forced)
    }
}

fn own_roles(fields: &Map<String, Value>) -> Option<Vec<(String, Given)>> {
    fields.iter().map(|(field, token)| Some((field.clone(), Given::of(token)?))).collect()
}
