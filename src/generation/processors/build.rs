//! The processors that a configuration asks for.

use tch::Tensor;

use super::{
    EncoderNoRepeatNGram, EncoderRepetitionPenalty, EpsilonCutoff, EtaCutoff, ExponentialDecay, ForcedBos, ForcedEos,
    LogNormalization, LogitsProcessors, MinLength, MinP, NoRepeatNGram, RemoveInvalid, RepetitionPenalty, SequenceBias,
    SuppressTokens, SuppressTokensAtBegin, Temperature, TopH, TopK, TopP, TypicalP,
};
use crate::generation::GenerationConfig;
use crate::{Error, Result};

/// What processors know of the rows that they are for.
#[derive(Debug, Clone, Copy)]
pub struct Prompt<'a> {
    /// Tokens that a row has at first.
    pub tokens: usize,
    /// Tokens that it has at most.
    pub max_length: usize,
    /// Which of the first tokens are real, `[batch, tokens]`; all of them where `None`.
    pub mask: Option<&'a Tensor>,
    /// The tokens that an encoder reads, or the prompt: `[batch, source]`, where there are any.
    pub source: Option<&'a Tensor>,
}

impl LogitsProcessors {
    /// The processors of `config`, in the order of `transformers`, for rows that begin with `prompt`, each of whose rows
    /// may have several.
    ///
    /// # Errors
    /// [`Error::Input`] for a setting outside its range, or that needs a source where there is none.
    pub fn of(config: &GenerationConfig, prompt: Prompt<'_>) -> Result<Self> {
        let Prompt { tokens: prompt, max_length, mask, source } = prompt;
        let source = |name: &str| {
            source.ok_or_else(|| Error::input(name, "needs the tokens that an encoder reads, or those of a prompt"))
        };
        let mut all = Self::new();
        if let Some(biases) = &config.sequence_bias {
            all.push(SequenceBias::new(biases)?);
        }
        if config.encoder_repetition_penalty != 1.0 {
            let penalty = config.encoder_repetition_penalty;
            all.push(EncoderRepetitionPenalty::new(penalty, source("encoder_repetition_penalty")?)?);
        }
        if config.repetition_penalty != 1.0 {
            let penalty = RepetitionPenalty::new(config.repetition_penalty)?;
            all.push(match mask {
                Some(mask) => penalty.without_padding(mask),
                None => penalty,
            });
        }
        if config.no_repeat_ngram_size > 0 {
            all.push(NoRepeatNGram::new(config.no_repeat_ngram_size)?);
        }
        if config.encoder_no_repeat_ngram_size > 0 {
            let size = config.encoder_no_repeat_ngram_size;
            all.push(EncoderNoRepeatNGram::new(size, source("encoder_no_repeat_ngram_size")?)?);
        }
        let ends = &config.eos_token_id;
        if let Some(words) = &config.bad_words_ids {
            all.push(SequenceBias::bad_words(words, ends)?);
        }
        let least = config.min_new_tokens.map_or(config.min_length, |new| prompt.saturating_add(new));
        if least > 0 && !ends.is_empty() {
            all.push(MinLength { length: least, ends: ends.clone() });
        }
        if let Some(token) = config.forced_bos_token_id {
            all.push(ForcedBos(token));
        }
        if !config.forced_eos_token_id.is_empty() {
            all.push(ForcedEos { max_length, tokens: config.forced_eos_token_id.clone() });
        }
        if config.remove_invalid_values {
            all.push(RemoveInvalid);
        }
        if let Some((start, factor)) = config.exponential_decay_length_penalty {
            all.push(ExponentialDecay::new(prompt.saturating_add(start), factor, ends.clone())?);
        }
        if let Some(tokens) = &config.suppress_tokens {
            all.push(SuppressTokens(tokens.clone()));
        }
        if let Some(tokens) = &config.begin_suppress_tokens {
            // A forced first token comes before what counts as the beginning.
            let length = if prompt > 1 || config.forced_bos_token_id.is_none() { prompt } else { prompt + 1 };
            all.push(SuppressTokensAtBegin { tokens: tokens.clone(), length });
        }
        if config.do_sample {
            all.push_truncation(config)?;
        }
        if config.renormalize_logits {
            all.push(LogNormalization);
        }
        Ok(all)
    }

    /// What only drawn tokens need.
    fn push_truncation(&mut self, config: &GenerationConfig) -> Result<()> {
        // Beams that end leave others to go on with.
        let least = match config.num_beams {
            0 | 1 => 1,
            _ => i64::try_from(config.eos_token_id.len().max(1)).unwrap_or(i64::MAX - 1) + 1,
        };
        if config.temperature != 1.0 {
            self.push(Temperature::new(config.temperature)?);
        }
        if let Some(h) = config.top_h {
            self.push(TopH::new(h)?);
        }
        if config.top_k != 0 {
            self.push(TopK::new(config.top_k)?.keeping(least));
        }
        if config.top_p < 1.0 {
            self.push(TopP::new(config.top_p)?.keeping(least));
        }
        if let Some(p) = config.min_p {
            self.push(MinP::new(p)?.keeping(least));
        }
        if config.typical_p < 1.0 {
            self.push(TypicalP::new(config.typical_p)?.keeping(least));
        }
        if config.epsilon_cutoff > 0.0 && config.epsilon_cutoff < 1.0 {
            self.push(EpsilonCutoff::new(config.epsilon_cutoff)?.keeping(least));
        }
        if config.eta_cutoff > 0.0 && config.eta_cutoff < 1.0 {
            self.push(EtaCutoff::new(config.eta_cutoff)?.keeping(least));
        }
        Ok(())
    }
}
