use serde::{Deserialize, Serialize};
use tokenizers::Encoding;

use super::labels::softmax;
use super::text::numbers;
use super::{Options, Text, TypedPipeline};
use crate::auto::{AutoModelForQuestionAnswering, Checkpoint};
use crate::text::{Side, Strategy, Truncation};
use crate::{Error, Result};

/// Questions to the parts of texts that answer them.
///
/// Follows transformers 5.2.0, the last version whose pipelines have this task. Where the tokenizer pads on the left, and
/// so the text comes before the question, that version takes tokens of the question for answers; here they never are.
/// Parts of probability 0 are no answers.
#[derive(Debug)]
pub struct QuestionAnswering {
    text: Text,
}

/// A question about a text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// The question.
    pub question: String,
    /// The text that has the answer.
    pub context: String,
}

impl Question {
    /// This question about this text.
    pub fn new(question: impl Into<String>, context: impl Into<String>) -> Self {
        Self { question: question.into(), context: context.into() }
    }
}

/// The arguments of a call.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct QuestionAnsweringSettings {
    /// The most answers. Default: 1.
    pub top_k: usize,
    /// The most tokens of question and text together; a text that is longer is read in pieces. Default: what
    /// `tokenizer_config.json` allows, and at most 384.
    pub max_seq_len: Option<usize>,
    /// Tokens that such a piece shares with the one before. Default: half of `max_seq_len`, and at most 128.
    pub doc_stride: Option<usize>,
    /// The most tokens of a question, which is cut. Default: no limit, since Python has none with the tokenizers of
    /// today whatever it is told.
    pub max_question_len: Option<usize>,
    /// The most tokens of an answer. Default: 15.
    pub max_answer_len: usize,
    /// Whether an empty answer may come out, which says that the text has none.
    pub handle_impossible_answer: bool,
    /// Whether answers are widened to whole words. Default: yes.
    pub align_to_words: bool,
}

impl Default for QuestionAnsweringSettings {
    fn default() -> Self {
        Self {
            top_k: 1,
            max_seq_len: None,
            doc_stride: None,
            max_question_len: None,
            max_answer_len: 15,
            handle_impossible_answer: false,
            align_to_words: true,
        }
    }
}

/// A part of a text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Answer {
    /// Its probability; the sum where it comes out several times.
    pub score: f64,
    /// Its first character.
    pub start: usize,
    /// The first character after it.
    pub end: usize,
    /// The part itself; empty where the text has no answer.
    pub answer: String,
}

/// The answer to a question, or several.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answers {
    /// There is one.
    One(Answer),
    /// There are several or none: the likeliest first.
    List(Vec<Answer>),
}

/// A span of tokens with its probability.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Span {
    first: usize,
    last: usize,
    score: f64,
}

/// What a piece of a text says about the question.
struct Piece {
    encoding: Encoding,
    spans: Vec<Span>,
    /// How likely it has no answer.
    null: f64,
}

impl QuestionAnswering {
    /// Loads a checkpoint.
    ///
    /// # Errors
    /// As [`Text::from_pretrained`].
    pub fn from_pretrained(checkpoint: impl Into<Checkpoint>, options: &Options) -> Result<Self> {
        Ok(Self {
            text: Text::from_pretrained(AutoModelForQuestionAnswering::CLASS, checkpoint, options)?.for_whole_texts(),
        })
    }

    /// Tokenizer and model.
    pub fn text(&self) -> &Text {
        &self.text
    }

    /// The answers to each question, the likeliest first.
    ///
    /// # Errors
    /// [`Error::Input`] for an empty question or text and for settings that leave no room for the text,
    /// [`Error::Tokenizer`], and as [`Model::forward`](crate::Model::forward).
    pub fn answer(&self, questions: &[Question], settings: &QuestionAnsweringSettings) -> Result<Vec<Vec<Answer>>> {
        for (name, value) in [("top_k", settings.top_k), ("max_answer_len", settings.max_answer_len)] {
            if value == 0 {
                return Err(Error::input(name, "is 0; expected at least 1"));
            }
        }
        let (mut pieces, mut owners) = (Vec::new(), Vec::new());
        for (owner, question) in questions.iter().enumerate() {
            for (name, text) in [("question", &question.question), ("context", &question.context)] {
                if text.is_empty() {
                    return Err(Error::input(format!("inputs[{owner}].{name}"), "is empty"));
                }
            }
            let found = self.pieces(question, settings)?;
            owners.extend(std::iter::repeat_n(owner, found.len()));
            pieces.extend(found);
        }
        let pieces = self.text.rows(pieces, &["start_logits", "end_logits"], |encoding, rows| {
            let logits = |row: &tch::Tensor| numbers::<Vec<f32>>(&self.text.tokens(encoding, row).contiguous());
            Ok(self.piece(encoding, logits(&rows[0])?, logits(&rows[1])?, settings))
        })?;
        let mut by_question: Vec<Vec<Piece>> = questions.iter().map(|_| Vec::new()).collect();
        for (owner, piece) in std::iter::zip(owners, pieces) {
            by_question[owner].push(piece);
        }
        let answered = std::iter::zip(questions, by_question);
        Ok(answered.map(|(question, pieces)| self.answers(&question.context, &pieces, settings)).collect())
    }

    /// Whether the question comes before the text.
    fn question_first(&self) -> bool {
        self.text.tokenizer().padding_side() == Side::Right
    }

    /// Question and text, in as many pieces as it takes.
    fn pieces(&self, question: &Question, settings: &QuestionAnsweringSettings) -> Result<Vec<Encoding>> {
        let tokenizer = self.text.tokenizer();
        let positions = self.text.truncation(false).max_length;
        let max_length = settings.max_seq_len.unwrap_or(tokenizer.max_length().min(384)).min(positions);
        let stride = settings.doc_stride.unwrap_or((max_length / 2).min(128));
        if stride > max_length {
            return Err(Error::input("doc_stride", format!("is {stride}; must not exceed max_seq_len, {max_length}")));
        }
        let asked = self.shortened(&question.question, settings.max_question_len)?;
        let (pair, strategy) = match self.question_first() {
            true => ((asked.as_str(), question.context.as_str()), Strategy::OnlySecond),
            false => ((question.context.as_str(), asked.as_str()), Strategy::OnlyFirst),
        };
        let truncation = Truncation { strategy, stride, max_length };
        let mut encoding = tokenizer.encode_pairs(&[pair], truncation).map_err(|error| {
            let way = "a shorter question, `max_question_len` or a larger `max_seq_len` makes room";
            let message = format!("leaves no room for the context in {max_length} tokens; {way} ({error})");
            Error::input("question", message)
        })?;
        let mut encoding = encoding.swap_remove(0);
        let rest = encoding.take_overflowing();
        Ok(std::iter::once(encoding).chain(rest).collect())
    }

    /// The beginning of a question that has at most `length` tokens.
    fn shortened(&self, question: &str, length: Option<usize>) -> Result<String> {
        let Some(length) = length else { return Ok(question.to_owned()) };
        let tokens = self.text.tokenizer().encode_plain(&[question])?;
        let end = tokens.first().and_then(|tokens| tokens.get_offsets().get(length)).map(|(start, _)| *start);
        Ok(end.map_or(question.to_owned(), |end| question.chars().take(end).collect()))
    }

    /// The likeliest spans of a piece.
    fn piece(
        &self,
        encoding: &Encoding,
        mut start: Vec<f32>,
        mut end: Vec<f32>,
        settings: &QuestionAnsweringSettings,
    ) -> Piece {
        let context = if self.question_first() { 1 } else { 0 };
        let cls = self.text.tokenizer().special_tokens().cls.as_ref().map(|cls| cls.id);
        let allowed: Vec<bool> = std::iter::zip(encoding.get_sequence_ids(), encoding.get_ids())
            .map(|(sequence, id)| sequence == Some(context) || Some(*id) == cls)
            .collect();
        for logits in [&mut start, &mut end] {
            let outside = std::iter::zip(logits, &allowed).filter(|(_, allowed)| !**allowed);
            outside.for_each(|(logit, _)| *logit = -10_000.0);
        }
        let (mut start, mut end) = (softmax(&start), softmax(&end));
        let null = start[0] * end[0];
        (start[0], end[0]) = (0.0, 0.0);
        // Widening to words makes one answer of several spans.
        let count = if settings.align_to_words { settings.top_k * 2 + 10 } else { settings.top_k };
        let spans = best_spans(&start, &end, settings.max_answer_len, count);
        let spans = spans.into_iter().filter(|span| allowed[span.first] && allowed[span.last]).collect();
        Piece { encoding: encoding.clone(), spans, null }
    }

    /// The answers that the pieces of a text give together.
    fn answers(&self, context: &str, pieces: &[Piece], settings: &QuestionAnsweringSettings) -> Vec<Answer> {
        let characters: Vec<char> = context.chars().collect();
        let mut answers: Vec<Answer> = Vec::new();
        for piece in pieces {
            for span in &piece.spans {
                let (start, end) = self.characters(&piece.encoding, span, settings.align_to_words);
                let answer: String = characters.iter().take(end).skip(start).collect();
                let same = |known: &&mut Answer| known.answer.to_lowercase() == answer.to_lowercase();
                match answers.iter_mut().find(same) {
                    Some(known) => known.score += span.score,
                    None => answers.push(Answer { score: span.score, start, end, answer }),
                }
            }
        }
        if settings.handle_impossible_answer {
            let score = pieces.iter().map(|piece| piece.null).fold(f64::INFINITY, f64::min);
            answers.push(Answer { score, start: 0, end: 0, answer: String::new() });
        }
        answers.sort_by(|left, right| right.score.total_cmp(&left.score));
        answers.truncate(settings.top_k);
        answers
    }

    /// The characters of a span.
    fn characters(&self, encoding: &Encoding, span: &Span, align_to_words: bool) -> (usize, usize) {
        let context = if self.question_first() { 1 } else { 0 };
        let word = |token: usize| {
            let (_, word) = encoding.token_to_word(token)?;
            encoding.word_to_chars(word, context)
        };
        match (word(span.first), word(span.last)) {
            (Some((start, _)), Some((_, end))) if align_to_words => (start, end),
            _ => (encoding.get_offsets()[span.first].0, encoding.get_offsets()[span.last].1),
        }
    }
}

/// The `count` likeliest spans of at most `longest` tokens, the best first.
fn best_spans(start: &[f64], end: &[f64], longest: usize, count: usize) -> Vec<Span> {
    let of = |first: usize| {
        let lasts = end.iter().enumerate().skip(first).take(longest);
        lasts.map(move |(last, end)| Span { first, last, score: start[first] * end })
    };
    let mut spans: Vec<Span> = (0..start.len()).flat_map(of).filter(|span| span.score > 0.0).collect();
    let better = |left: &Span, right: &Span| right.score.total_cmp(&left.score);
    if spans.len() > count {
        spans.select_nth_unstable_by(count, better);
        spans.truncate(count);
    }
    spans.sort_by(better);
    spans
}

impl TypedPipeline for QuestionAnswering {
    const TASK: &'static str = "question-answering";
    type Input = Question;
    type Settings = QuestionAnsweringSettings;
    type Output = Answers;

    fn call(&self, inputs: &[Question], settings: &Self::Settings) -> Result<Vec<Answers>> {
        let shaped = |mut answers: Vec<Answer>| match answers.len() {
            1 => Answers::One(answers.swap_remove(0)),
            _ => Answers::List(answers),
        };
        Ok(self.answer(inputs, settings)?.into_iter().map(shaped).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::best_spans;

    #[test]
    fn spans_run_forwards_and_are_not_too_long() {
        let (start, end) = ([0.1, 0.6, 0.0, 0.3], [0.5, 0.1, 0.2, 0.25]);
        let spans = |longest, count| {
            let spans = best_spans(&start, &end, longest, count);
            spans.iter().map(|span| (span.first, span.last)).collect::<Vec<_>>()
        };
        assert_eq!(spans(4, 1), [(1, 3)]);
        assert_eq!(spans(2, 1), [(1, 2)]);
        assert_eq!(spans(1, 9), [(3, 3), (1, 1), (0, 0)]);
        assert_eq!(spans(4, 9).len(), 8, "spans of probability 0 are none");
    }
}
