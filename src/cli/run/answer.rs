use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use tch_transformers::pipeline::{Answer, Answers, Question, QuestionAnswering, QuestionAnsweringSettings};

use super::session::{Common, Session};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
    /// The text that has the answers
    #[arg(long, value_name = "TEXT", required_unless_present = "context_file", conflicts_with = "context_file")]
    context: Option<String>,
    /// The file that has the answers
    #[arg(long, value_name = "FILE")]
    context_file: Option<PathBuf>,
    /// Answers per question
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    top_k: u32,
    /// The most tokens of an answer
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    max_answer_len: u32,
    /// The most tokens of question and context together; longer contexts are read in pieces [default: what the
    /// tokenizer allows, and at most 384]
    #[arg(long, value_name = "N")]
    max_seq_len: Option<usize>,
    /// Tokens that such a piece shares with the one before [default: half of it, and at most 128]
    #[arg(long, value_name = "N")]
    doc_stride: Option<usize>,
    /// Cut questions to this many tokens
    #[arg(long, value_name = "N")]
    max_question_len: Option<usize>,
    /// Allow the empty answer: that the context has none
    #[arg(long)]
    handle_impossible_answer: bool,
    /// Do not widen answers to whole words
    #[arg(long)]
    no_align: bool,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let context = match (&arguments.context, &arguments.context_file) {
        (Some(context), _) => context.clone(),
        (None, Some(path)) => {
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?
        }
        (None, None) => bail!("there is no context; give one with --context or --context-file"),
    };
    let session = Session::begin(&arguments.common)?;
    let pipeline =
        session.load(|model, options| QuestionAnswering::from_pretrained(model, options), QuestionAnswering::text)?;
    let settings = QuestionAnsweringSettings {
        top_k: arguments.top_k.try_into()?,
        max_answer_len: arguments.max_answer_len.try_into()?,
        max_seq_len: arguments.max_seq_len,
        doc_stride: arguments.doc_stride,
        max_question_len: arguments.max_question_len,
        handle_impossible_answer: arguments.handle_impossible_answer,
        align_to_words: !arguments.no_align,
    };
    session.call(
        &pipeline,
        &settings,
        |question| Question::new(question, context.as_str()),
        |_, answers| match answers {
            Answers::One(answer) => line(answer),
            Answers::List(answers) => answers.iter().map(line).collect::<String>() + "\n",
        },
    )
}

/// Probability, place and text of an answer.
fn line(Answer { score, start, end, answer }: &Answer) -> String {
    format!("{score:.4}  {:>11}  {answer}\n", format!("{start}-{end}"))
}
