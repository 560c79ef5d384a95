use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};
use tokenizers::Encoding;

use super::text::numbers;
use super::{Batch, OneOrMany, Options, Text, TypedPipeline};
use crate::auto::{AutoModelForMaskedLM, Checkpoint};
use crate::text::SpecialToken;
use crate::{Error, Outputs, Result};

/// Texts with masked tokens to what could stand there.
#[derive(Debug)]
pub struct FillMask {
    text: Text,
    mask: SpecialToken,
}

/// The arguments of a call.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FillMaskSettings {
    /// How many tokens for each mask. Default: 5.
    pub top_k: usize,
    /// Only these tokens are looked at; of a word that is not in the vocabulary, its first token.
    pub targets: Option<OneOrMany>,
    /// How texts are cut.
    pub tokenizer_kwargs: FillMaskTruncation,
}

/// How texts are cut.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FillMaskTruncation {
    /// To the length that `tokenizer_config.json` allows, where the model has positions for more.
    pub truncation: bool,
}

impl Default for FillMaskSettings {
    fn default() -> Self {
        Self { top_k: 5, targets: None, tokenizer_kwargs: FillMaskTruncation::default() }
    }
}

/// A token in place of a mask.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Fill {
    /// Its probability.
    pub score: f64,
    /// Its id.
    pub token: i64,
    /// Its text.
    pub token_str: String,
    /// The text with it in place of the mask; without special tokens where there is one mask only.
    pub sequence: String,
}

/// The tokens for the one mask of a text, or for each of several.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Fills {
    /// One mask: the likeliest token first.
    One(Vec<Fill>),
    /// Several masks, in their order.
    Several(Vec<Vec<Fill>>),
}

impl FillMask {
    /// Loads a checkpoint.
    ///
    /// # Errors
    /// [`Error::Tokenizer`] when the tokenizer has no mask token, and as [`Text::from_pretrained`].
    pub fn from_pretrained(checkpoint: impl Into<Checkpoint>, options: &Options) -> Result<Self> {
        let text = Text::from_pretrained(AutoModelForMaskedLM::CLASS, checkpoint, options)?;
        let mask = text.tokenizer().special_tokens().mask.clone();
        let mask = mask.ok_or_else(|| {
            Error::Tokenizer("has no mask token, which tokenizer_config.json names as `mask_token`".into())
        })?;
        Ok(Self { text, mask })
    }

    /// Tokenizer and model.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// The token that stands for what is to be filled in, as it is written in a text.
    pub fn mask(&self) -> &str {
        &self.mask.content
    }

    /// The likeliest tokens for each mask of each text.
    ///
    /// Each mask is filled on its own, with the other masks of its text in place.
    ///
    /// # Errors
    /// [`Error::Input`] for a text without mask and for targets that have no tokens, [`Error::Tokenizer`], and as
    /// [`Model::forward`](crate::Model::forward).
    pub fn fill(&self, texts: &[&str], settings: &FillMaskSettings) -> Result<Vec<Vec<Vec<Fill>>>> {
        let targets = settings.targets.as_ref().map(|targets| self.targets(targets.as_slice())).transpose()?;
        let truncation = self.text.truncation(settings.tokenizer_kwargs.truncation);
        let encodings = self.text.tokenizer().encode_cut(texts, truncation)?;
        if let Some(index) = encodings.iter().position(|encoding| self.masks(encoding).is_empty()) {
            let mask = &self.mask.content;
            let message = format!("has no mask; write `{mask}` where a token is to be filled in: {:?}", texts[index]);
            return Err(Error::input(format!("inputs[{index}]"), message));
        }
        self.text.each(encodings, self.text.batch_size(), |batch, outputs| {
            self.filled(batch, outputs, settings.top_k, targets.as_deref())
        })
    }

    fn filled(
        &self,
        batch: &Batch,
        outputs: &Outputs,
        top_k: usize,
        targets: Option<&[i64]>,
    ) -> Result<Vec<Vec<Vec<Fill>>>> {
        let logits = self.text.output(outputs, "logits")?;
        let of = |(row, encoding): (usize, &Encoding)| {
            let masks = self.masks(encoding);
            let places = Tensor::from_slice(&masks).to_device(logits.device());
            let logits = self.text.tokens(encoding, &logits.get(row as i64)).index_select(0, &places);
            let mut scores = logits.softmax(-1, Kind::Float);
            if let Some(targets) = targets {
                scores = scores.index_select(1, &Tensor::from_slice(targets).to_device(scores.device()));
            }
            let (scores, tokens) = scores.topk((top_k as i64).min(scores.size()[1]), -1, true, true);
            let scores: Vec<Vec<f32>> = numbers(&scores.to_device(tch::Device::Cpu))?;
            let tokens: Vec<Vec<i64>> = numbers(&tokens.to_device(tch::Device::Cpu))?;
            let mut fills = Vec::with_capacity(masks.len());
            for (at, (scores, tokens)) in std::iter::zip(&masks, std::iter::zip(scores, tokens)) {
                let token = |token: i64| targets.map_or(token, |targets| targets[token as usize]);
                let ranked = std::iter::zip(scores, tokens);
                let fill = |(score, place)| self.fill_in(encoding, *at as usize, score, token(place), masks.len() == 1);
                fills.push(ranked.map(fill).collect::<Result<Vec<_>>>()?);
            }
            Ok(fills)
        };
        batch.encodings.iter().enumerate().map(of).collect()
    }

    fn fill_in(&self, encoding: &Encoding, at: usize, score: f32, token: i64, alone: bool) -> Result<Fill> {
        let tokenizer = self.text.tokenizer();
        let mut ids: Vec<i64> = encoding.get_ids().iter().map(|id| i64::from(*id)).collect();
        ids[at] = token;
        let pad = tokenizer.special_tokens().pad.as_ref().map(|pad| i64::from(pad.id));
        ids.retain(|id| Some(*id) != pad);
        Ok(Fill {
            score: f64::from(score),
            token,
            token_str: tokenizer.decode(&[token], false)?,
            sequence: tokenizer.decode(&ids, alone)?,
        })
    }

    /// Where the masks of a text are.
    fn masks(&self, encoding: &Encoding) -> Vec<i64> {
        std::iter::zip(0.., encoding.get_ids()).filter(|(_, id)| **id == self.mask.id).map(|(at, _)| at).collect()
    }

    /// The ids of the tokens that are looked at, without repetition.
    fn targets(&self, targets: &[String]) -> Result<Vec<i64>> {
        let tokenizer = self.text.tokenizer();
        let mut ids = Vec::new();
        for target in targets {
            let id = match tokenizer.inner().token_to_id(target) {
                Some(id) => Some(id),
                None => tokenizer.encode_plain(&[target])?.first().and_then(|tokens| tokens.get_ids().first().copied()),
            };
            match id.map(i64::from) {
                Some(id) if !ids.contains(&id) => ids.push(id),
                Some(_) => {}
                None => tracing::warn!(target, "a target without any token is passed over"),
            }
        }
        match ids.is_empty() {
            true => Err(Error::input("targets", "has no token of the vocabulary; expected at least one")),
            false => Ok(ids),
        }
    }
}

impl TypedPipeline for FillMask {
    const TASK: &'static str = "fill-mask";
    type Input = String;
    type Settings = FillMaskSettings;
    type Output = Fills;

    fn call(&self, inputs: &[String], settings: &FillMaskSettings) -> Result<Vec<Fills>> {
        let texts: Vec<&str> = inputs.iter().map(String::as_str).collect();
        let shaped = |mut fills: Vec<Vec<Fill>>| match fills.len() {
            1 => Fills::One(fills.swap_remove(0)),
            _ => Fills::Several(fills),
        };
        Ok(self.fill(&texts, settings)?.into_iter().map(shaped).collect())
    }
}
