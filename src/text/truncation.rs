use tokenizers::{Encoding, TruncationDirection};

use crate::{Error, Result};

/// How a text, or a pair of texts, is cut to a length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    /// What is cut.
    pub strategy: Strategy,
    /// Tokens of the text that is cut which a piece of it shares with the piece before.
    pub stride: usize,
    /// The most tokens of a result, special ones included.
    pub max_length: usize,
}

/// What of a pair is cut; of a text alone, everything but [`Strategy::None`] cuts that text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Strategy {
    /// The longer text, then both alike.
    #[default]
    LongestFirst,
    /// The first text only.
    OnlyFirst,
    /// The second text only.
    OnlySecond,
    /// Nothing: results may be longer.
    None,
}

impl Truncation {
    /// Nothing is cut.
    pub const NONE: Self = Self { strategy: Strategy::None, stride: 0, max_length: usize::MAX };

    /// Cuts `first` and `second` so that they and `specials` further tokens fit; what is cut off becomes their
    /// overflow.
    pub(super) fn apply(
        &self,
        first: &mut Encoding,
        second: Option<&mut Encoding>,
        specials: usize,
        direction: TruncationDirection,
    ) -> Result<()> {
        let lengths = (first.len(), second.as_ref().map_or(0, |second| second.len()));
        if self.strategy == Strategy::None || lengths.0 + lengths.1 + specials <= self.max_length {
            return Ok(());
        }
        let room = self.max_length.checked_sub(specials).ok_or_else(|| {
            let length = self.max_length;
            Error::Tokenizer(format!("a length of {length} tokens leaves no room for {specials} special tokens"))
        })?;
        let kept = self.kept(lengths, room, second.is_some())?;
        self.cut(first, kept.0, direction)?;
        second.map_or(Ok(()), |second| self.cut(second, kept.1, direction))
    }

    /// How many tokens of each text are kept where both may have `room` together, which is less than they have.
    fn kept(&self, (first, second): (usize, usize), room: usize, is_pair: bool) -> Result<(usize, usize)> {
        let rest = |other: usize, which: &str| {
            room.checked_sub(other).filter(|rest| *rest > 0 || room == 0).ok_or_else(|| {
                let texts = format!("the other text alone has {other} of the {room} tokens that both may have");
                Error::Tokenizer(format!("cutting the {which} text only leaves nothing of it: {texts}"))
            })
        };
        match self.strategy {
            _ if room == 0 => Ok((0, 0)),
            _ if !is_pair => Ok((room, 0)),
            Strategy::None => Ok((first, second)),
            Strategy::OnlyFirst => Ok((rest(second, "first")?, second)),
            Strategy::OnlySecond => Ok((first, rest(first, "second")?)),
            Strategy::LongestFirst => {
                let (short, half) = (first.min(second), room / 2);
                // Of an odd number of tokens the longer text has one more; of equal texts the second.
                let (short, long) = if short <= half { (short, room - short) } else { (half, room - half) };
                Ok(if first > second { (long, short) } else { (short, long) })
            }
        }
    }

    fn cut(&self, encoding: &mut Encoding, length: usize, direction: TruncationDirection) -> Result<()> {
        if length < encoding.len() && length > 0 && self.stride >= length {
            return Err(Error::Tokenizer(format!(
                "a stride of {} tokens is too long for pieces of {length} tokens; it must be less",
                self.stride
            )));
        }
        encoding.truncate(length, self.stride, direction);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(strategy: Strategy, lengths: (usize, usize), room: usize) -> Option<(usize, usize)> {
        Truncation { strategy, stride: 0, max_length: room }.kept(lengths, room, true).ok()
    }

    #[test]
    fn the_longest_is_cut_first_then_both_alike() {
        let longest = |lengths, room| kept(Strategy::LongestFirst, lengths, room).unwrap();
        assert_eq!(longest((2, 9), 8), (2, 6));
        assert_eq!(longest((9, 2), 8), (6, 2));
        assert_eq!(longest((9, 9), 7), (3, 4));
        assert_eq!(longest((9, 8), 7), (4, 3));
        assert_eq!(longest((4, 4), 7), (3, 4));
        assert_eq!(longest((4, 9), 7), (3, 4));
        assert_eq!(longest((4, 4), 0), (0, 0));
        assert_eq!(longest((4, 4), 1), (0, 1));
    }

    #[test]
    fn only_one_is_cut_where_that_is_enough() {
        assert_eq!(kept(Strategy::OnlyFirst, (5, 4), 6), Some((2, 4)));
        assert_eq!(kept(Strategy::OnlySecond, (5, 4), 6), Some((5, 1)));
        assert_eq!(kept(Strategy::OnlyFirst, (5, 6), 6), None);
        assert_eq!(kept(Strategy::OnlySecond, (7, 6), 6), None);
    }
}
