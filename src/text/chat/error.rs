use std::path::PathBuf;

/// Why a conversation did not become text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ChatTemplateError {
    /// The checkpoint is of a model that does not chat, or its template was left out.
    #[error(
        "{directory}: has no chat template, neither chat_template.jinja nor `chat_template` in tokenizer_config.json; \
         give plain text, or make a template with ChatTemplate::new"
    )]
    Missing {
        /// Where it was looked for.
        directory: PathBuf,
    },
    /// There are several templates, and none of the name that is wanted.
    #[error("there is no template `{wanted}`; there are {}", .names.join(", "))]
    UnknownName {
        /// The name.
        wanted: String,
        /// The names that there are.
        names: Vec<String>,
    },
    /// A template is larger than any real one.
    #[error("template `{name}` has {size} bytes, more than the {most} that are read")]
    TooLarge {
        /// The template's name.
        name: String,
        /// Its size in bytes.
        size: u64,
        /// The largest size that is read, in bytes.
        most: u64,
    },
    /// The text of a template is not the language of templates.
    #[error("template `{name}`, line {line}: {message}")]
    Syntax {
        /// The template's name.
        name: String,
        /// The line of the mistake, from 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The template refuses the conversation, by `raise_exception`.
    #[error("the template refuses the conversation: {0}")]
    Refused(String),
    /// The template failed on the conversation.
    #[error("template `{name}`, line {line}: {message}")]
    Failed {
        /// The template's name.
        name: String,
        /// The line where it failed, from 1; 0 where that is not known.
        line: usize,
        /// What went wrong.
        message: String,
    },
    /// The template does more work than a conversation needs; it may never end.
    #[error("the template is not done after {0} steps; see ChatTemplate::limited_to")]
    Endless(u64),
    /// The template writes more text than a conversation has.
    #[error("the template writes more than {0} bytes; see ChatTemplate::limited_to")]
    TooLong(usize),
}
