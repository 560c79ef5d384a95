use std::fmt::Debug;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{
    FeatureExtraction, FillMask, Options, QuestionAnswering, Summarization, Text2TextGeneration, TextClassification,
    TextGeneration, TokenClassification, Translation, ZeroShotClassification,
};
use crate::auto::Checkpoint;
use crate::{Error, Result};

/// A pipeline whose task is known only when the program runs: JSON in, JSON out, both as Python's pipelines have them.
pub trait Pipeline: Debug + Send + Sync {
    /// The task.
    fn task(&self) -> &'static str;

    /// The result of each of `inputs`, as Python's pipeline returns it for that member of a list.
    ///
    /// `settings` has the arguments of a call to Python's pipeline under their names (`top_k`, `targets`, …).
    ///
    /// # Errors
    /// [`Error::Input`] for an input that the task does not take and a setting that it does not know, and as the call of
    /// the pipeline's own type.
    fn run(&self, inputs: &[Value], settings: &Map<String, Value>) -> Result<Vec<Value>>;
}

/// A pipeline with types of its own; each is a [`Pipeline`] too.
pub trait TypedPipeline: Debug + Send + Sync {
    /// The task.
    const TASK: &'static str;
    /// One input.
    type Input: DeserializeOwned;
    /// The arguments of a call.
    type Settings: DeserializeOwned;
    /// What comes of one input; as JSON it is what Python's pipeline returns.
    type Output: Serialize;

    /// The result of each of `inputs`, in their order.
    ///
    /// # Errors
    /// For an input or a setting that does not fit, and when the model fails.
    fn call(&self, inputs: &[Self::Input], settings: &Self::Settings) -> Result<Vec<Self::Output>>;
}

impl<P: TypedPipeline> Pipeline for P {
    fn task(&self) -> &'static str {
        P::TASK
    }

    fn run(&self, inputs: &[Value], settings: &Map<String, Value>) -> Result<Vec<Value>> {
        let settings = parse("settings", Value::Object(settings.clone()))?;
        let input = |(index, input): (usize, &Value)| parse(&format!("inputs[{index}]"), input.clone());
        let inputs = inputs.iter().enumerate().map(input).collect::<Result<Vec<_>>>()?;
        let unwritten = |error: serde_json::Error| Error::input("inputs", format!("the result is no JSON: {error}"));
        self.call(&inputs, &settings)?.iter().map(|result| serde_json::to_value(result).map_err(unwritten)).collect()
    }
}

fn parse<T: DeserializeOwned>(name: &str, json: Value) -> Result<T> {
    serde_path_to_error::deserialize(json).map_err(|error| {
        let path = error.path().to_string();
        let at = if path == "." { name.to_owned() } else { format!("{name}.{path}") };
        Error::input(at, error.inner().to_string())
    })
}

type Loader = fn(Checkpoint, &Options) -> Result<Box<dyn Pipeline>>;

/// A task, the other names that Python has for it, and how its pipeline is loaded.
const fn row<P: TypedPipeline + 'static>(
    aliases: &'static [&'static str],
    load: Loader,
) -> (&'static str, &'static [&'static str], Loader) {
    (P::TASK, aliases, load)
}

const TASKS: &[(&str, &[&str], Loader)] = &[
    row::<FeatureExtraction>(&[], |checkpoint, options| boxed(FeatureExtraction::from_pretrained(checkpoint, options))),
    row::<FillMask>(&[], |checkpoint, options| boxed(FillMask::from_pretrained(checkpoint, options))),
    row::<QuestionAnswering>(&[], |checkpoint, options| boxed(QuestionAnswering::from_pretrained(checkpoint, options))),
    row::<TextClassification>(&["sentiment-analysis"], |checkpoint, options| {
        boxed(TextClassification::from_pretrained(checkpoint, options))
    }),
    row::<TextGeneration>(&[], |checkpoint, options| boxed(TextGeneration::from_pretrained(checkpoint, options))),
    row::<Text2TextGeneration>(&[], |checkpoint, options| {
        boxed(Text2TextGeneration::from_pretrained(checkpoint, options))
    }),
    row::<Summarization>(&[], |checkpoint, options| boxed(Summarization::from_pretrained(checkpoint, options))),
    row::<Translation>(&[], |checkpoint, options| boxed(Translation::from_pretrained(checkpoint, options))),
    row::<TokenClassification>(&["ner"], |checkpoint, options| {
        boxed(TokenClassification::from_pretrained(checkpoint, options))
    }),
    row::<ZeroShotClassification>(&[], |checkpoint, options| {
        boxed(ZeroShotClassification::from_pretrained(checkpoint, options))
    }),
];

fn boxed(pipeline: Result<impl Pipeline + 'static>) -> Result<Box<dyn Pipeline>> {
    Ok(Box::new(pipeline?))
}

/// The tasks that [`load`] knows.
pub fn tasks() -> impl Iterator<Item = &'static str> {
    TASKS.iter().map(|(task, ..)| *task)
}

/// The pipeline for `task` with a checkpoint; `sentiment-analysis` and `ner` are known too.
///
/// # Errors
/// [`Error::Input`] for a task without pipeline, and as the pipeline's own `from_pretrained`.
pub fn load(task: &str, checkpoint: impl Into<Checkpoint>, options: &Options) -> Result<Box<dyn Pipeline>> {
    let found = TASKS.iter().find(|(name, aliases, _)| *name == task || aliases.contains(&task));
    let (.., load) = found.ok_or_else(|| {
        let known: Vec<_> = tasks().collect();
        Error::input("task", format!("there is no pipeline for `{task}`; there are {}", known.join(", ")))
    })?;
    load(checkpoint.into(), options)
}
