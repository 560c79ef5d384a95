//! The one error type of the library: what went wrong, where, and what to do about it.

use std::path::PathBuf;

use crate::hub::HubError;
use crate::weights::WeightsReport;

/// Shorthand for results of this library.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong between a checkpoint and its outputs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory could not be read or written.
    #[error("{path}: {cause}")]
    Io {
        /// What was read or written.
        path: PathBuf,
        /// Why it failed.
        cause: std::io::Error,
    },
    /// A file is not the JSON it should be.
    #[error("{path}: not valid JSON: {message}")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser says, with line and column.
        message: String,
    },
    /// A configuration has a field that is missing, of the wrong type or of a value that is not supported.
    #[error("config of `{model_type}`: `{field}`: {message}")]
    Config {
        /// The `model_type` whose configuration it is.
        model_type: String,
        /// Dotted path of the field.
        field: String,
        /// What is wrong and what is accepted.
        message: String,
    },
    /// `model_type` is not in the roster.
    #[error("unknown model_type `{name}`{}", nearest_hint(.nearest))]
    UnknownModelType {
        /// The name that was asked for.
        name: String,
        /// The names of the roster that come closest.
        nearest: Vec<String>,
    },
    /// The Hugging Face class is not in the roster.
    #[error("no class `{name}` in the roster{}", nearest_hint(.nearest))]
    UnknownClass {
        /// The class that was asked for.
        name: String,
        /// The classes that come closest.
        nearest: Vec<String>,
    },
    /// The architecture has no class for the task that was asked for.
    #[error(
        "`{asked}`: `{model_type}` has no class for {}; {}",
        .tasks.join(" or "),
        classes_hint(.available)
    )]
    NoClassForTask {
        /// The Auto class that was asked for.
        asked: &'static str,
        /// The architecture.
        model_type: String,
        /// The tasks that the Auto class is for.
        tasks: &'static [&'static str],
        /// Tasks that the architecture has, with the class for each.
        available: Vec<(&'static str, &'static str)>,
    },
    /// The weights do not fit the architecture; all mistakes at once.
    #[error("{0}")]
    Weights(Box<WeightsReport>),
    /// A weights file is damaged or not supported.
    #[error("{path}: {message}")]
    WeightsFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// An input of `forward` or `generate` does not fit.
    #[error("input `{name}`: {message}")]
    Input {
        /// The argument's name.
        name: String,
        /// What is wrong and what is expected.
        message: String,
    },
    /// A reference case is damaged.
    #[error("{path}: {message}")]
    Case {
        /// The file or folder of the case.
        path: PathBuf,
        /// What is wrong with it.
        message: String,
    },
    /// A tokenizer could not be read or failed on a text.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// A conversation did not become text.
    #[error("chat template: {0}")]
    ChatTemplate(crate::text::ChatTemplateError),
    /// A checkpoint could not be had from the hub.
    #[error("{0}")]
    Hub(Box<HubError>),
    /// libtorch reported a failure, such as running out of memory.
    #[error("libtorch: {0}")]
    Libtorch(String),
}

impl Error {
    /// An [`Error::Io`] for `path`.
    pub fn io(path: impl Into<PathBuf>, cause: std::io::Error) -> Self {
        Self::Io { path: path.into(), cause }
    }

    /// An [`Error::Hub`].
    pub fn hub(error: HubError) -> Self {
        Self::Hub(Box::new(error))
    }

    /// An [`Error::Input`] for the argument `name`.
    pub fn input(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Input { name: name.into(), message: message.into() }
    }

    /// An [`Error::Case`] for a file of a case.
    pub fn case(path: impl Into<PathBuf>, message: impl Into<String>) -> Self {
        Self::Case { path: path.into(), message: message.into() }
    }

    /// An [`Error::Config`] for a field of `model_type`'s configuration.
    pub fn config(model_type: &str, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Config { model_type: model_type.into(), field: field.into(), message: message.into() }
    }
}

pub(crate) fn nearest_hint(nearest: &[String]) -> String {
    match nearest {
        [] => String::new(),
        names => format!("; did you mean {}?", names.join(", ")),
    }
}

fn classes_hint(available: &[(&str, &str)]) -> String {
    let classes: Vec<_> = available.iter().map(|(task, class)| format!("{task} ({class})")).collect();
    format!("it has {}", classes.join(", "))
}

/// Runs tensor code and turns a failure inside libtorch into an error.
///
/// Model code uses the operators of `tch`, which panic when libtorch fails; this is the boundary
/// where such a panic stops.
pub fn catch<T>(run: impl FnOnce() -> Result<T>) -> Result<T> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).unwrap_or_else(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .cloned()
            .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "unknown failure".to_owned());
        Err(Error::Libtorch(message))
    })
}
