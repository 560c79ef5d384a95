//! Lines that somebody writes, in an editor on a terminal.

use std::io::{IsTerminal, StdinLock};

use anyhow::{Context, Result};
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

/// Where lines come from.
pub enum Lines {
    /// A terminal, with a history of what was written.
    Editor(Box<DefaultEditor>),
    /// Standard input as it is.
    Plain(std::io::Lines<StdinLock<'static>>),
}

/// What comes next.
pub enum Line {
    Text(String),
    /// What was being written is given up.
    GivenUp,
    End,
}

impl Lines {
    pub fn open() -> Result<Self> {
        let input = std::io::stdin();
        match input.is_terminal() && std::io::stdout().is_terminal() {
            true => Ok(Self::Editor(Box::new(DefaultEditor::new().context("cannot edit lines on this terminal")?))),
            false => Ok(Self::Plain(input.lines())),
        }
    }

    /// Whether they are edited on a terminal.
    pub fn is_edited(&self) -> bool {
        matches!(self, Self::Editor(_))
    }

    pub fn next(&mut self) -> Result<Line> {
        match self {
            Self::Editor(editor) => match editor.readline("> ") {
                Ok(line) => {
                    editor.add_history_entry(line.as_str()).context("cannot remember the line")?;
                    Ok(Line::Text(line))
                }
                Err(ReadlineError::Interrupted) => Ok(Line::GivenUp),
                Err(ReadlineError::Eof) => Ok(Line::End),
                Err(error) => Err(error).context("cannot read from the terminal"),
            },
            Self::Plain(lines) => match lines.next() {
                Some(line) => Ok(Line::Text(line.context("cannot read standard input; expected lines of UTF-8")?)),
                None => Ok(Line::End),
            },
        }
    }
}
