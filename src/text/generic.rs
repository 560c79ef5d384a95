//! Tokenizers of no class in particular.

use tokenizers::decoders::DecoderWrapper;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as DecoderSequence;
use tokenizers::models::ModelWrapper;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::{NormalizerWrapper, Replace, Sequence};
use tokenizers::{PaddingDirection, PostProcessorWrapper, Result, TruncationDirection};

use super::build::{Built, add_tokens, special_tokens};
use super::checks;
use super::process::Roles;
use super::recipe::{AS_STORED, Process};
use super::sentencepiece::PieceModel;
use super::settings::{Given, ROLES, Settings, StoredToken};
use super::tiktoken::Ranks;
use super::tokenizer::Side;
use super::vocabulary::Vocabulary;

/// The tokenizer of a `tokenizer.json`, with what the settings change about it.
pub(super) fn of_json(inner: tokenizers::Tokenizer, settings: &Settings) -> Result<Built> {
    checked(&inner)?;
    finish(inner, &[], None, settings)
}

/// Refuses what Python refuses of a `tokenizer.json` that is parsed, and what no text can pass.
pub(super) fn checked(inner: &tokenizers::Tokenizer) -> Result<()> {
    inner
        .get_post_processor()
        .map_or(Ok(()), checks::processor)
        .map_err(|error| format!("`post_processor`: {error}"))?;
    let mut cutting = tokenizers::Tokenizer::new(ModelWrapper::from(BPE::default()));
    cutting.with_post_processor(inner.get_post_processor().cloned());
    cutting
        .with_truncation(inner.get_truncation().cloned())
        .map(|_| ())
        .map_err(|error| format!("`truncation`: {error}").into())
}

/// The tokenizer of a SentencePiece model.
pub(super) fn of_pieces(stored: &PieceModel, settings: &Settings) -> Result<Built> {
    let trainer = stored.trainer();
    let vocabulary = Vocabulary::of_pieces(stored, &AS_STORED, !trainer.is_unigram(), settings)?;
    let model: ModelWrapper = if trainer.is_unigram() {
        if let Some((piece, score)) = vocabulary.scored.iter().find(|(_, score)| !score.is_finite()) {
            return Err(format!("`{piece}` has the score {score}").into());
        }
        let unknown = vocabulary.unk_id.ok_or("the unknown piece has an id below 0")?;
        Unigram::from(vocabulary.scored, Some(unknown), trainer.byte_fallback)?.into()
    } else {
        let mut ids = vocabulary.ids;
        for (id, token) in &settings.added {
            // A piece that was set aside takes the name of the token that is added in its place.
            let replaced = ids.iter().find(|(_, place)| *place == id).map(|(piece, _)| piece.clone());
            if let Some(piece) = replaced.filter(|_| !ids.contains_key(&token.content)) {
                ids.remove(&piece);
                ids.insert(token.content.clone(), *id);
            }
        }
        BPE::builder()
            .vocab_and_merges(ids, vocabulary.merges)
            .unk_token(trainer.unk_piece().to_owned())
            .fuse_unk(true)
            .byte_fallback(trainer.byte_fallback)
            .build()?
            .into()
    };
    let mut inner = tokenizers::Tokenizer::new(model);
    let spaces: NormalizerWrapper = Replace::new(" ", "▁")?.into();
    let steps = vocabulary.charsmap.map(NormalizerWrapper::from).into_iter().chain([spaces]).collect();
    inner.with_normalizer(Some(Sequence::new(steps)))?;
    let mut steps: Vec<DecoderWrapper> = vec![Replace::new("▁", " ")?.into()];
    if trainer.byte_fallback {
        steps.extend([ByteFallback::new().into(), Fuse::new().into()]);
    }
    inner.with_decoder(Some(DecoderSequence::new(steps)));
    finish(inner, &trainer.roles(), vocabulary.additional, settings)
}

/// The tokenizer of a file of tiktoken.
pub(super) fn of_ranks(ranks: &Ranks, settings: &Settings) -> Result<Built> {
    finish(ranks.tokenizer(settings)?, &[], None, settings)
}

fn finish(
    mut inner: tokenizers::Tokenizer,
    defaults: &[(&str, &str)],
    additional: Option<Vec<StoredToken>>,
    settings: &Settings,
) -> Result<Built> {
    let options = &settings.options;
    let padding = inner.get_padding().cloned();
    let truncation = inner.get_truncation().map(|truncation| truncation.direction);
    let processor = inner.get_post_processor().cloned();
    inner.with_padding(None).with_truncation(None)?.with_post_processor(None::<PostProcessorWrapper>);

    let role = |role: &&'static str| {
        let default = || match *role {
            "pad_token" => padding.as_ref().map(|padding| padding.pad_token.clone()),
            role => defaults.iter().find(|(name, _)| *name == role).map(|(_, token)| (*token).to_owned()),
        };
        let token = settings.roles.get(role).cloned().unwrap_or_else(|| default().map(Given::Plain));
        Some(((*role).to_owned(), token?))
    };
    let mut roles: Vec<_> = ROLES.iter().filter_map(role).collect();
    roles.extend(settings.own_roles.iter().cloned());
    let additional = additional.map(|tokens| tokens.into_iter().map(Given::Full).collect());
    let extra = settings.extra.clone().or(additional).or_else(|| settings.additional.clone()).unwrap_or_default();
    add_tokens(&mut inner, settings, &roles, &extra)?;

    let with = Roles { inner: &inner, roles: &roles, settings };
    let processor = with.processor(&Process::Stored, processor)?;
    let left = |is_left: bool| if is_left { Side::Left } else { Side::Right };
    let stored_side = padding.map(|padding| left(matches!(padding.direction, PaddingDirection::Left)));
    let cut = options.truncation_side.or(truncation.map(|cut| left(matches!(cut, TruncationDirection::Left))));
    Ok(Built {
        processor,
        special: special_tokens(&inner, &roles, &extra),
        padding_side: options.padding_side.or(stored_side).unwrap_or(Side::Right),
        truncation_side: cut.unwrap_or(Side::Right),
        max_length: settings.max_length(),
        clean_up: settings.cleans_up(matches!(inner.get_model(), ModelWrapper::BPE(_))),
        suffix: None,
        inner,
    })
}
