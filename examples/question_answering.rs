//! The part of a text that answers a question: `cargo run --example question_answering -- MODEL QUESTION CONTEXT`

use tch_transformers::pipeline::{Options, Question, QuestionAnswering};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (model, question) = arguments.next().zip(arguments.next()).ok_or("the model or the question is missing")?;
    let context = arguments.next().ok_or("the context is missing")?;

    let pipeline = QuestionAnswering::from_pretrained(model, &Options::default())?;
    for answer in pipeline.answer(&[Question::new(question, context)], &Default::default())?.concat() {
        println!("{:.3}  {}-{}  {}", answer.score, answer.start, answer.end, answer.answer);
    }
    Ok(())
}
