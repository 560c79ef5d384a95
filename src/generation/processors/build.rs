//! The processors that a configuration asks for.

use tch::Tensor;

use super::{
    EpsilonCutoff, EtaCutoff, ExponentialDecay, ForcedBos, ForcedEos, LogNormalization, LogitsProcessors, MinLength,
    MinP, NoRepeatNGram, RemoveInvalid, RepetitionPenalty, SequenceBias, SuppressTokens, SuppressTokensAtBegin,
    Temperature, TopK, TopP, TypicalP,
};
use crate::Result;
use crate::generation::GenerationConfig;

impl LogitsProcessors {
    /// The processors of `config`, in the order of `transformers`, for rows with `prompt` tokens at first and
    /// `max_length` at most. `mask` (`[batch, prompt]`) tells the prompt's padding.
    ///
    /// # Errors
    /// [`Error::Input`](crate::Error::Input) for a setting outside its range.
    pub fn of(config: &GenerationConfig, prompt: usize, max_length: usize, mask: Option<&Tensor>) -> Result<Self> {
        let mut all = Self::new();
        if let Some(biases) = &config.sequence_bias {
            all.push(SequenceBias::new(biases)?);
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
        if config.temperature != 1.0 {
            self.push(Temperature::new(config.temperature)?);
        }
        if config.top_k != 0 {
            self.push(TopK::new(config.top_k)?);
        }
        if config.top_p < 1.0 {
            self.push(TopP::new(config.top_p)?);
        }
        if let Some(p) = config.min_p {
            self.push(MinP::new(p)?);
        }
        if config.typical_p < 1.0 {
            self.push(TypicalP::new(config.typical_p)?);
        }
        if config.epsilon_cutoff > 0.0 && config.epsilon_cutoff < 1.0 {
            self.push(EpsilonCutoff::new(config.epsilon_cutoff)?);
        }
        if config.eta_cutoff > 0.0 && config.eta_cutoff < 1.0 {
            self.push(EtaCutoff::new(config.eta_cutoff)?);
        }
        Ok(())
    }
}
