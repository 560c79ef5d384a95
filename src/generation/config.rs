//! The settings of a generation under the names of `transformers`.

use serde::{Deserialize, Deserializer};

use super::{AssistantSchedule, CacheImplementation};
use crate::{Error, Result};

/// How tokens are chosen and when a row ends.
///
/// Fields have the names, meanings and defaults of `GenerationConfig` in `transformers`; `None` is a setting that no
/// file makes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
pub struct GenerationConfig {
    /// Tokens of a row at most, prompt included, where `max_new_tokens` is not set.
    pub max_length: Option<usize>,
    /// Tokens to add at most. Where `max_length` is not set either: 20, or as many as the model has positions for.
    pub max_new_tokens: Option<usize>,
    /// Tokens that a row has before it may end, prompt included, where `min_new_tokens` is not set.
    pub min_length: usize,
    /// New tokens that a row has before it may end.
    pub min_new_tokens: Option<usize>,
    /// Seconds after which no further step begins.
    pub max_time: Option<f64>,
    /// Whether every step goes on from a cache; otherwise all tokens are passed again and again.
    pub use_cache: bool,
    /// The cache.
    pub cache_implementation: CacheImplementation,
    /// Tokens that a static cache is made for at least.
    pub max_cache_len: Option<usize>,
    /// Tokens of the prompt that are passed at once at most.
    pub prefill_chunk_size: Option<usize>,
    /// Tokens that an assistant proposes at once, at first. Python takes this and the next two from the settings of the
    /// assistant.
    pub num_assistant_tokens: usize,
    /// How that number changes.
    pub num_assistant_tokens_schedule: AssistantSchedule,
    /// The probability of a proposed token below which the assistant proposes no further one; 0 for any.
    pub assistant_confidence_threshold: f64,
    /// Tokens that are proposed at once from what stands in the text already.
    pub prompt_lookup_num_tokens: Option<usize>,
    /// The most tokens at the end of the text that are looked for in it; 2 where it is not set.
    pub max_matching_ngram_size: Option<usize>,
    /// Draws tokens from their probabilities; otherwise the likeliest one is taken.
    pub do_sample: bool,
    /// Continuations of every row of the prompt that are weighed against each other; 1 for none but one.
    pub num_beams: usize,
    /// Groups of beams, each of which avoids what those before it choose.
    pub num_beam_groups: usize,
    /// What a token loses for every beam of an earlier group that chooses it in the same step.
    pub diversity_penalty: f64,
    /// The power of its length that the logarithm of the probability of a beam is divided by: above 0 for longer ones.
    pub length_penalty: f64,
    /// When a search with beams ends.
    pub early_stopping: EarlyStopping,
    /// Continuations of every row of the prompt; more than one only with `do_sample`, or as many as there are beams.
    pub num_return_sequences: usize,
    /// Divides the scores, with `do_sample`.
    pub temperature: f64,
    /// The share of the entropy that the tokens to draw from have together, with `do_sample`.
    pub top_h: Option<f64>,
    /// Tokens to draw from, with `do_sample`; 0 for all.
    pub top_k: i64,
    /// The probability that the tokens to draw from have together, with `do_sample`.
    pub top_p: f64,
    /// The probability that a token to draw from has, as a share of the likeliest one's, with `do_sample`.
    pub min_p: Option<f64>,
    /// The mass of the typical tokens to draw from, with `do_sample`.
    pub typical_p: f64,
    /// The probability that a token to draw from has, with `do_sample`; 0 for any.
    pub epsilon_cutoff: f64,
    /// As `epsilon_cutoff`, lower where the entropy is high; 0 for any.
    pub eta_cutoff: f64,
    /// How far scores move away from what would follow the last token alone, or the
    /// [negative prompt](super::Generator::negative_prompt): above 1 for away, below 1 for towards it.
    pub guidance_scale: f64,
    /// Divides positive scores of tokens that have occurred, multiplies negative ones.
    pub repetition_penalty: f64,
    /// The length of sequences that occur once only; 0 for none.
    pub no_repeat_ngram_size: usize,
    /// As `repetition_penalty` for what an encoder reads, or else the prompt, the other way round: above 1 favours it.
    pub encoder_repetition_penalty: f64,
    /// The length of sequences of what an encoder reads, or else the prompt, that do not occur; 0 for none.
    pub encoder_no_repeat_ngram_size: usize,
    /// Sequences that never occur.
    pub bad_words_ids: Option<Vec<Vec<i64>>>,
    /// Sequences whose last token is favoured or disfavoured, and by how much.
    pub sequence_bias: Option<Vec<(Vec<i64>, f64)>>,
    /// The token that follows a prompt of one token.
    pub forced_bos_token_id: Option<i64>,
    /// The token that is last where a row is as long as it may be; several to choose from, or none.
    #[serde(deserialize_with = "one_or_many")]
    pub forced_eos_token_id: Vec<i64>,
    /// Replaces scores that are no numbers, or infinite.
    pub remove_invalid_values: bool,
    /// New tokens after which the end becomes likelier, and the factor by which it does.
    pub exponential_decay_length_penalty: Option<(usize, f64)>,
    /// Tokens that never occur.
    pub suppress_tokens: Option<Vec<i64>>,
    /// Tokens that do not come first.
    pub begin_suppress_tokens: Option<Vec<i64>>,
    /// Turns scores into logarithms of probabilities, after everything else.
    pub renormalize_logits: bool,
    /// Tokens that end a row; one or several in a file.
    #[serde(deserialize_with = "one_or_many")]
    pub eos_token_id: Vec<i64>,
    /// Strings that end a row whose text contains them; one or several in a file. They need the texts of tokens:
    /// [`Generator::token_texts`](super::Generator::token_texts).
    #[serde(deserialize_with = "one_or_many")]
    pub stop_strings: Vec<String>,
    /// What fills a row that has ended: the first end where it is not set.
    pub pad_token_id: Option<i64>,
    /// The token that begins a text.
    pub bos_token_id: Option<i64>,
    /// The token that an encoder-decoder's decoder starts from: the class's own where it is not set.
    pub decoder_start_token_id: Option<i64>,
}

impl Default for GenerationConfig {
    fn default() -> Self {
        Self {
            max_length: None,
            max_new_tokens: None,
            min_length: 0,
            min_new_tokens: None,
            max_time: None,
            use_cache: true,
            cache_implementation: CacheImplementation::Dynamic,
            max_cache_len: None,
            prefill_chunk_size: None,
            num_assistant_tokens: 20,
            num_assistant_tokens_schedule: AssistantSchedule::Constant,
            assistant_confidence_threshold: 0.4,
            prompt_lookup_num_tokens: None,
            max_matching_ngram_size: None,
            do_sample: false,
            num_beams: 1,
            num_beam_groups: 1,
            diversity_penalty: 0.0,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::Satisfied,
            num_return_sequences: 1,
            temperature: 1.0,
            top_h: None,
            top_k: 50,
            top_p: 1.0,
            min_p: None,
            typical_p: 1.0,
            epsilon_cutoff: 0.0,
            eta_cutoff: 0.0,
            guidance_scale: 1.0,
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            encoder_repetition_penalty: 1.0,
            encoder_no_repeat_ngram_size: 0,
            bad_words_ids: None,
            sequence_bias: None,
            forced_bos_token_id: None,
            forced_eos_token_id: Vec::new(),
            remove_invalid_values: false,
            exponential_decay_length_penalty: None,
            suppress_tokens: None,
            begin_suppress_tokens: None,
            renormalize_logits: false,
            eos_token_id: Vec::new(),
            stop_strings: Vec::new(),
            pad_token_id: None,
            bos_token_id: None,
            decoder_start_token_id: None,
        }
    }
}

impl GenerationConfig {
    /// Refuses settings that do not fit each other.
    pub(super) fn check(&self) -> Result<()> {
        let (beams, groups, sequences) = (self.num_beams, self.num_beam_groups, self.num_return_sequences);
        let refused = |name: &str, message: String| Err(Error::input(name, message));
        if beams == 0 {
            return refused("num_beams", "is 0, expected at least 1".into());
        }
        if groups == 0 || !beams.is_multiple_of(groups) {
            return refused("num_beam_groups", format!("is {groups}, which does not divide the {beams} beams"));
        }
        if groups > 1 && self.do_sample {
            return refused("num_beam_groups", format!("is {groups}; beams that are drawn have no groups"));
        }
        if (self.diversity_penalty > 0.0) != (groups > 1) || self.diversity_penalty.is_nan() {
            let message = format!("is {}; it is above 0 for several groups, and 0 for one", self.diversity_penalty);
            return refused("diversity_penalty", message);
        }
        if !self.length_penalty.is_finite() {
            return refused("length_penalty", format!("is {}, expected a finite number", self.length_penalty));
        }
        match sequences {
            0 => refused("num_return_sequences", "is 0, expected at least 1".into()),
            _ if beams > 1 && sequences > beams => {
                refused("num_return_sequences", format!("is {sequences}, more than the {beams} beams"))
            }
            2.. if beams == 1 && !self.do_sample => {
                refused("num_return_sequences", format!("is {sequences}; without `do_sample` all are equal"))
            }
            _ => Ok(()),
        }
    }
}

/// When a search with beams ends: by the names of `early_stopping`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EarlyStopping {
    /// `true`: as soon as there are as many ended beams as there are beams.
    Full,
    /// `false`: when no beam could be better than the ended ones if it ended now.
    #[default]
    Satisfied,
    /// `"never"`: when no beam can be better than the ended ones, however long it becomes.
    Never,
}

impl<'de> Deserialize<'de> for EarlyStopping {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "expected true, false or \"never\"")]
        enum Setting {
            Early(bool),
            Named(Never),
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "lowercase")]
        enum Never {
            Never,
        }
        Ok(match Setting::deserialize(from)? {
            Setting::Early(true) => Self::Full,
            Setting::Early(false) => Self::Satisfied,
            Setting::Named(Never::Never) => Self::Never,
        })
    }
}

/// One of something, or a list of them.
fn one_or_many<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> std::result::Result<Vec<T>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected one or a list of them")]
    enum Given<T> {
        One(T),
        Many(Vec<T>),
    }
    Ok(match Given::deserialize(from)? {
        Given::One(one) => vec![one],
        Given::Many(many) => many,
    })
}
