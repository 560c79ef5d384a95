//! From a directory's files to a tokenizer, as Python makes it of the same files.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Map, Value, json};
use tokenizers::AddedToken;
use tokenizers::PostProcessorWrapper;
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordpiece::WordPiece;

use super::checks::wrong;
use super::classes::{Class, Evidence};
use super::process::Roles;
use super::recipe::{Bpe, Decode, Extra, Found, Model, Recipe, Unknown};
use super::settings::{Given, ROLES, Settings, StoredToken};
use super::tokenizer::Side;
use super::vocabulary::{ModelFile, Vocabulary, piece_file};
use super::{SpecialToken, SpecialTokens};
use super::{checks, generic, parts};
use crate::files::optional_text;
use crate::json::read_optional;
use crate::weights::config_file;
use crate::{Error, Result};

/// A tokenizer without what depends on a call, and that apart.
pub(super) struct Built {
    pub inner: tokenizers::Tokenizer,
    pub processor: PostProcessorWrapper,
    pub special: SpecialTokens,
    pub padding_side: Side,
    pub truncation_side: Side,
    pub max_length: usize,
    pub clean_up: bool,
    /// Ends the last piece of a word, and becomes a space in decoded text.
    pub suffix: Option<&'static str>,
}

/// Makes the tokenizer of `directory`.
pub(super) fn build(directory: &Path) -> Result<Built> {
    let path = directory.join("tokenizer.json");
    let text = optional_text(&path)?;
    let json: Option<Map<String, Value>> = match &text {
        Some(text) => Some(serde_json::from_str(text).map_err(|error| wrong(&path, error))?),
        None => None,
    };
    if let Some(json) = &json {
        checks::json(json).map_err(|error| wrong(&path, error))?;
    }
    let settings = Settings::read(directory, json.as_ref())?;
    let config: Map<String, Value> = read_optional(&config_file(directory))?.unwrap_or_default();
    let field = |name: &str| match config.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(_) => Err(wrong(&directory.join("config.json"), format!("`{name}` is not a string"))),
    };
    let of_config = field("tokenizer_class")?;
    let evidence = Evidence {
        declared: settings.options.tokenizer_class.as_deref().or(of_config),
        model_type: field("model_type")?,
        is_byte_level: text.as_ref().is_some_and(|text| text.contains("\"ByteLevel\"")),
    };
    match (evidence.class(), json) {
        (Class::Built(recipe), json) => {
            let vocabulary = match &json {
                Some(json) => {
                    let rest = rest(json).map_err(|error| wrong(&path, error))?;
                    generic::checked(&rest).map_err(|error| wrong(&path, error))?;
                    Vocabulary::of_json(json, &recipe.model).map_err(|error| wrong(&path, error))?
                }
                None => Vocabulary::of_files(directory, &recipe.files, &recipe.model, &settings)?,
            };
            let place = if json.is_some() { &path } else { directory };
            of_recipe(recipe, vocabulary, json.as_ref(), &settings).map_err(|error| wrong(place, error))
        }
        (Class::Generic, Some(_)) => {
            let inner = text.unwrap_or_default().parse().map_err(|error: tokenizers::Error| wrong(&path, error))?;
            generic::of_json(inner, &settings).map_err(|error| wrong(&path, error))
        }
        (Class::Generic, None) => {
            let path = piece_file(directory, "tokenizer.model");
            if !path.is_file() {
                return Err(Error::Tokenizer(no_vocabulary(directory, &evidence)));
            }
            let made = match ModelFile::read(&path)? {
                ModelFile::Pieces(model) => generic::of_pieces(&model, &settings),
                ModelFile::Ranks(ranks) => generic::of_ranks(&ranks, &settings),
            };
            made.map_err(|error| wrong(&path, error))
        }
    }
}

/// What a `tokenizer.json` says besides the vocabulary: of all of it only a part is used, but Python refuses the rest too
/// where it is damaged.
fn rest(json: &Map<String, Value>) -> tokenizers::Result<tokenizers::Tokenizer> {
    let Some(Value::Object(model)) = json.get("model") else { return serde_json::to_string(json)?.parse() };
    let vocab = match model.get("type").and_then(Value::as_str) {
        Some("BPE" | "WordPiece" | "WordLevel") => json!({}),
        Some("Unigram") => json!([["", 0]]),
        // Without a type it is the fields that tell.
        _ => return serde_json::to_string(json)?.parse(),
    };
    let without = |fields: &Map<String, Value>, names: &[&str]| -> Map<String, Value> {
        let kept = fields.iter().filter(|(field, _)| !names.contains(&field.as_str()));
        kept.map(|(field, value)| (field.clone(), value.clone())).collect()
    };
    let mut least = without(model, &["vocab", "merges"]);
    let pieces = model.get("vocab").and_then(Value::as_array).map_or(0, Vec::len);
    let is_piece = |place: &Value| place.as_u64().is_some_and(|place| place < pieces as u64);
    if least.get("unk_id").is_some_and(is_piece) {
        least.insert("unk_id".into(), json!(0));
    }
    least.extend([("vocab".into(), vocab), ("merges".into(), json!([]))]);
    let mut rest = without(json, &["added_tokens", "model"]);
    rest.insert("model".into(), Value::Object(least));
    serde_json::to_string(&rest)?.parse()
}

fn no_vocabulary(directory: &Path, evidence: &Evidence) -> String {
    let whose = match (evidence.declared, evidence.model_type) {
        (Some(class), _) => format!("`{class}`"),
        (None, Some(model_type)) => format!("the model type `{model_type}`"),
        (None, None) => "a directory that names neither a class nor a model type".into(),
    };
    format!("{}: {whose} needs tokenizer.json, tokenizer.model or tiktoken.model; there is none", directory.display())
}

/// The tokenizer of a class that makes it from a vocabulary.
fn of_recipe(
    recipe: &Recipe,
    mut vocabulary: Vocabulary,
    json: Option<&Map<String, Value>>,
    settings: &Settings,
) -> tokenizers::Result<Built> {
    let options = &settings.options;
    let mut roles = roles(recipe, settings);
    let processor = vocabulary.processor.take();
    let additional = vocabulary.additional.take();
    let charsmap = vocabulary.charsmap.take();
    let mut inner = match vocabulary.ranks.take() {
        Some(ranks) => ranks.tokenizer(settings)?,
        None => {
            let mut inner = tokenizers::Tokenizer::new(model(recipe, vocabulary, &roles, options.unk_id)?);
            inner.with_normalizer(parts::normalizer(recipe.normalizer, options, charsmap.as_ref())?)?;
            inner.with_pre_tokenizer(parts::pre_tokenizer(recipe.pre_tokenizer, options)?);
            inner.with_decoder(Some(parts::decoder(&recipe.decoder, options)?));
            inner
        }
    };
    let processor = processor.or_else(|| inner.get_post_processor().cloned());
    inner.with_post_processor(None::<PostProcessorWrapper>);
    roles.extend(settings.own_roles.iter().cloned());
    let extra = extra(recipe, settings, additional)?;
    add_tokens(&mut inner, settings, &roles, &extra)?;
    if matches!(recipe.extra, Extra::Qwen) {
        let again = roles.iter().map(|(_, token)| token).chain(&extra);
        inner.add_tokens(again.map(|token| AddedToken::from(token.content(), true)).collect::<Vec<_>>())?;
    }
    let stored = json.map(StoredSides::of).unwrap_or_default();
    let with = Roles { inner: &inner, roles: &roles, settings };
    let processor = with.processor(&recipe.processor, processor)?;
    Ok(Built {
        processor,
        special: special_tokens(&inner, &roles, &extra),
        padding_side: options.padding_side.or(stored.padding).unwrap_or(recipe.padding_side),
        truncation_side: options.truncation_side.or(stored.truncation).unwrap_or(Side::Right),
        max_length: settings.max_length(),
        clean_up: settings.cleans_up(matches!(inner.get_model(), ModelWrapper::BPE(_))),
        suffix: match recipe.decoder {
            Decode::BytesAndSuffix(suffix) => Some(suffix),
            _ => None,
        },
        inner,
    })
}

/// The tokens with a role, the directory's before the class's.
fn roles(recipe: &Recipe, settings: &Settings) -> Vec<(String, Given)> {
    let role = |role: &&'static str| {
        let default = recipe.roles.iter().find(|(field, ..)| field == role);
        let given = match settings.roles.get(role) {
            Some(given) => given.clone()?,
            None => Given::Plain(default?.1.to_owned()),
        };
        let found = default.map_or(Found::Verbatim, |(.., found)| *found);
        let token = match given {
            Given::Plain(content) if found != Found::Verbatim => Given::Full(StoredToken {
                lstrip: true,
                normalized: Some(found == Found::NormalizedWithSpaces),
                ..StoredToken::verbatim(content, true)
            }),
            given => given,
        };
        Some(((*role).to_owned(), token))
    };
    ROLES.iter().filter_map(role).collect()
}

fn model(
    recipe: &Recipe,
    vocabulary: Vocabulary,
    roles: &[(String, Given)],
    unk_id: Option<usize>,
) -> tokenizers::Result<ModelWrapper> {
    let unknown = roles.iter().find(|(role, _)| role == "unk_token").map(|(_, token)| token.content().to_owned());
    Ok(match &recipe.model {
        Model::WordPiece => {
            let builder = WordPiece::builder().vocab(vocabulary.ids);
            builder.unk_token(unknown.unwrap_or_else(|| "None".into())).build()?.into()
        }
        Model::Bpe(bpe) => byte_pairs(bpe, vocabulary, unknown)?.into(),
        Model::Unigram(place) => {
            let is_unknown = |(token, _): &(String, f64)| Some(token) == unknown.as_ref();
            let scored = &vocabulary.scored;
            let scoreless = |at_least: usize| {
                scored.iter().enumerate().skip(at_least).find(|(_, token)| is_unknown(token) && token.1 == 0.0)
            };
            let place = match place {
                Unknown::At(place) => *place,
                Unknown::Named(otherwise) => scored.iter().position(is_unknown).unwrap_or(*otherwise),
                Unknown::Scoreless { at_least, otherwise } => scoreless(*at_least)
                    .map(|(place, _)| place)
                    .or(*otherwise)
                    .ok_or("the unknown token is not in the vocabulary with a score of 0")?,
                Unknown::ScorelessOrStored => {
                    scoreless(0).map_or_else(|| vocabulary.unk_id.or(unk_id).unwrap_or(1), |(place, _)| place)
                }
                Unknown::Stored => vocabulary.unk_id.or(unk_id).unwrap_or(0),
            };
            Unigram::from(vocabulary.scored, Some(place), false)?.into()
        }
    })
}

fn byte_pairs(switches: &Bpe, vocabulary: Vocabulary, unknown: Option<String>) -> tokenizers::Result<BPE> {
    let pairs = vocabulary.merges.iter().map(|(left, right)| (left.as_str(), right.as_str()));
    checks::merges(pairs, "", |token| vocabulary.ids.contains_key(token))?;
    let mut builder = BPE::builder()
        .vocab_and_merges(vocabulary.ids, vocabulary.merges)
        .fuse_unk(switches.fuse_unknown)
        .byte_fallback(switches.byte_fallback);
    if !switches.suffix.is_empty() {
        builder = builder.end_of_word_suffix(switches.suffix.to_owned());
    }
    if let Some(unknown) = unknown.filter(|_| switches.unknown) {
        builder = builder.unk_token(unknown);
    }
    builder.build()
}

/// The special tokens without a role.
fn extra(recipe: &Recipe, settings: &Settings, stored: Option<Vec<StoredToken>>) -> tokenizers::Result<Vec<Given>> {
    if let Some(extra) = &settings.extra {
        return Ok(extra.clone());
    }
    let stored = stored.map(|tokens| tokens.into_iter().map(Given::Full).collect());
    let given: Option<Vec<Given>> = stored.or_else(|| settings.additional.clone());
    let plain = |token: &str| Given::Plain(token.to_owned());
    Ok(match &recipe.extra {
        Extra::Given | Extra::Qwen => given.unwrap_or_default(),
        Extra::Default(tokens) => given.unwrap_or_else(|| tokens.iter().map(|token| plain(token)).collect()),
        Extra::With { tokens, first } => {
            let given = given.unwrap_or_default();
            let is_new = |known: &[Given], token: &Given| !known.iter().any(|known| known.content() == token.content());
            let own: Vec<Given> = tokens.iter().map(|token| plain(token)).collect();
            let (mut all, others) = if *first { (own, given) } else { (given, own) };
            for token in others {
                if is_new(&all, &token) {
                    all.push(token);
                }
            }
            all
        }
        Extra::Sentinels => {
            let mut all = given.unwrap_or_default();
            let named = all.iter().filter(|token| token.content().contains("<extra_id_")).count();
            settings.check_extra()?;
            match (named, settings.extra_ids()) {
                (0, count) => all.extend((0..count).map(|id| plain(&format!("<extra_id_{id}>")))),
                (named, count) if count > 0 && named != count => {
                    return Err(format!("`extra_ids` is {count}, but {named} such tokens are named").into());
                }
                _ => {}
            }
            all
        }
        Extra::Unknowns => {
            settings.check_extra()?;
            let sentence = settings.named("mask_token_sent").unwrap_or("<mask_1>");
            let is_given = given.iter().flatten().any(|token| token.content() == sentence);
            let mask = (!is_given).then(|| plain(sentence));
            mask.into_iter().chain((2..settings.offset()).map(|id| plain(&format!("<unk_{id}>")))).collect()
        }
    })
}

/// Adds the tokens that the vocabulary must have, and says how they are found in a text.
pub(super) fn add_tokens(
    inner: &mut tokenizers::Tokenizer,
    settings: &Settings,
    roles: &[(String, Given)],
    extra: &[Given],
) -> tokenizers::Result<()> {
    let mut known: BTreeSet<String> =
        inner.get_added_tokens_decoder().into_values().map(|token| token.content).collect();
    known.extend(settings.added.values().map(|token| token.content.clone()));
    let mut tokens: Vec<Given> = settings.added.values().cloned().map(Given::Full).collect();
    for token in roles.iter().map(|(_, token)| token).chain(extra) {
        // Of tokens alike that are found in different ways the last counts.
        if !known.contains(token.content()) && !tokens.contains(token) {
            tokens.push(token.clone());
        }
    }
    let has_role = |token: &StoredToken| roles.iter().any(|(_, role)| role.content() == token.content);
    let tokens = tokens.into_iter().map(|token| match token {
        Given::Plain(content) => AddedToken::from(content, true),
        Given::Full(token) => token.added(has_role(&token)),
    });
    inner.add_tokens(tokens.collect::<Vec<_>>())?;
    inner.set_encode_special_tokens(settings.options.split_special_tokens.unwrap_or(false));
    Ok(())
}

/// The tokens with a role, those that the vocabulary has.
pub(super) fn special_tokens(
    inner: &tokenizers::Tokenizer,
    roles: &[(String, Given)],
    extra: &[Given],
) -> SpecialTokens {
    let find = |token: &Given| {
        let content = token.content().to_owned();
        inner.token_to_id(&content).map(|id| SpecialToken { content, id })
    };
    let role = |name: &str| roles.iter().find(|(role, _)| role == name).and_then(|(_, token)| find(token));
    SpecialTokens {
        bos: role("bos_token"),
        eos: role("eos_token"),
        unk: role("unk_token"),
        sep: role("sep_token"),
        pad: role("pad_token"),
        cls: role("cls_token"),
        mask: role("mask_token"),
        additional: extra.iter().filter_map(find).collect(),
    }
}

/// The sides that `tokenizer.json` has stored.
#[derive(Default)]
struct StoredSides {
    padding: Option<Side>,
    truncation: Option<Side>,
}

impl StoredSides {
    fn of(json: &Map<String, Value>) -> Self {
        let side = |field: &str| match json.get(field)?.get("direction")?.as_str()? {
            "Left" => Some(Side::Left),
            "Right" => Some(Side::Right),
            _ => None,
        };
        Self { padding: side("padding"), truncation: side("truncation") }
    }
}
