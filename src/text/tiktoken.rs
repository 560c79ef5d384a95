//! Files of tiktoken: a line for each token, its bytes in base64 and its rank.

use std::collections::{HashMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{AddedToken, SplitDelimiterBehavior, Tokenizer};

use super::checks::LARGEST_ID;
use super::settings::{Given, MOST_EXTRA, Settings};

/// The most bytes of a token. The longest known are 128 spaces.
const LONGEST: usize = 512;

/// As Python splits the texts of all such files: contractions, words, up to three digits, punctuation, spaces.
const WORDS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The ranks of tokens, which are their ids too.
pub(super) struct Ranks(HashMap<Vec<u8>, u32>);

impl Ranks {
    /// Reads the lines of a file.
    pub fn parse(file: &[u8]) -> Result<Self, String> {
        let is_end = |byte: &u8| matches!(byte, b'\n' | b'\r');
        let mut ranks = HashMap::new();
        for (index, line) in file.split(is_end).filter(|line| !line.is_empty()).enumerate() {
            let (token, rank) = pair(line).map_err(|error| format!("token {}: {error}", index + 1))?;
            ranks.insert(token, rank);
        }
        if ranks.is_empty() {
            return Err("has no tokens".into());
        }
        let mut known = HashSet::new();
        match ranks.values().find(|rank| !known.insert(**rank)) {
            Some(rank) => Err(format!("two tokens have the rank {rank}")),
            None => Ok(Self(ranks)),
        }
    }

    /// The tokenizer that Python makes of the file, with the special tokens that `settings` name.
    pub fn tokenizer(&self, settings: &Settings) -> tokenizers::Result<Tokenizer> {
        let ids: Vocab = self.0.iter().map(|(token, rank)| (spelled(token), *rank)).collect();
        let model = BPE::builder().vocab_and_merges(ids, self.merges()).ignore_merges(true).build()?;
        let mut inner = Tokenizer::new(model);
        let words = Split::new(SplitPattern::Regex(WORDS.to_owned()), SplitDelimiterBehavior::Isolated, false)?;
        let bytes = ByteLevel::new(false, true, false);
        inner.with_pre_tokenizer(Some(Sequence::new(vec![words.into(), bytes.into()])));
        inner.with_decoder(Some(ByteLevel::default()));
        inner.with_post_processor(Some(ByteLevel::new(true, false, true)));
        let special = self.special(settings)?.into_iter().map(|token| AddedToken::from(token, true).normalized(false));
        inner.add_special_tokens(special.collect::<Vec<_>>())?;
        Ok(inner)
    }

    /// Every way to make a token of two others: first those of low rank, then of low ranks of their halves.
    fn merges(&self) -> Merges {
        let mut ranked = Vec::new();
        for (token, rank) in &self.0 {
            let halves = (1..token.len()).map(|place| token.split_at(place));
            let ranks = |(left, right)| Some((*rank, *self.0.get(left)?, *self.0.get(right)?, left, right));
            ranked.extend(halves.filter_map(ranks));
        }
        ranked.sort_unstable();
        ranked.into_iter().map(|(.., left, right)| (spelled(left), spelled(right))).collect()
    }

    /// The tokens that come after those of the file: the added ones, with others where ids are left out.
    fn special(&self, settings: &Settings) -> Result<Vec<String>, String> {
        let next = self.0.len() as u32;
        let mut all = Vec::new();
        if let Some((last, _)) = settings.added.last_key_value().filter(|(last, _)| **last >= next) {
            if (last - next) as usize >= MOST_EXTRA {
                return Err(format!("an added token has the id {last}, but the file has {next} tokens"));
            }
            let added = |id: u32| settings.added.get(&id).map(|token| token.content.clone());
            all.extend((next..=*last).map(|id| added(id).unwrap_or_else(|| format!("<|reserved_token_{id}|>"))));
        }
        let known = all.len();
        for token in settings.extra.iter().flatten() {
            match token {
                Given::Plain(content) if all[..known].contains(content) => {}
                Given::Plain(content) => all.push(content.clone()),
                Given::Full(token) => {
                    return Err(format!(
                        "`extra_special_tokens`: `{}` must be a string beside a file of tiktoken",
                        token.content
                    ));
                }
            }
        }
        Ok(all)
    }
}

/// The bytes and the rank of a line.
fn pair(line: &[u8]) -> Result<(Vec<u8>, u32), String> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | 0x0b | 0x0c);
    let words: Vec<&[u8]> = line.split(is_space).filter(|word| !word.is_empty()).collect();
    let [token, rank] = words.as_slice() else { return Err("not a token in base64 and a rank".into()) };
    let token = STANDARD.decode(token).map_err(|error| format!("not base64: {error}"))?;
    if token.is_empty() || token.len() > LONGEST {
        return Err(format!("has {} bytes; a token has 1 to {LONGEST}", token.len()));
    }
    let rank = std::str::from_utf8(rank).ok().and_then(|rank| rank.parse().ok()).filter(|rank| *rank <= LARGEST_ID);
    Ok((token, rank.ok_or_else(|| format!("the rank is not a number from 0 to {LARGEST_ID}"))?))
}

/// The characters that stand for bytes.
fn spelled(token: &[u8]) -> String {
    let char_of = |byte: &u8| match byte {
        b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(*byte),
        // The others in their order, after all characters of one byte.
        0..=b' ' => shifted(*byte),
        0x7f..=0xa0 => shifted(byte - 0x7f + 33),
        0xad => shifted(67),
    };
    token.iter().map(char_of).collect()
}

fn shifted(place: u8) -> char {
    char::from_u32(256 + u32::from(place)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bytes_have_a_character_of_their_own() {
        let all: Vec<u8> = (0..=255).collect();
        let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
        let mut ours: Vec<char> = spelled(&all).chars().collect();
        alphabet.sort_unstable();
        ours.sort_unstable();
        assert_eq!(ours, alphabet);
        assert_eq!(spelled(b" \n\xad"), "ĠĊŃ");
    }

    #[test]
    fn a_line_is_a_token_and_its_rank() {
        let wrong = |file: &[u8]| Ranks::parse(file).err().unwrap_or_default();
        assert_eq!(wrong(b"IQ== 0\r\n\r\n"), "");
        assert_eq!(wrong(b""), "has no tokens");
        assert_eq!(wrong(b"IQ== 0\nIg== -1\n"), "token 2: the rank is not a number from 0 to 2147483647");
        assert_eq!(wrong(b"IQ==\n"), "token 1: not a token in base64 and a rank");
        assert_eq!(wrong(b"IQ== 0 1\n"), "token 1: not a token in base64 and a rank");
        assert!(wrong(b"I 0\n").starts_with("token 1: not base64"));
    }
}
