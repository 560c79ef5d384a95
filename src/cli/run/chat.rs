//! A conversation, line by line.

use std::io::Write;
use std::ops::ControlFlow;

use anyhow::{Context, Result, bail};
use tch_transformers::pipeline::{Conversation, TextGeneration, TextGenerationSettings, Turn};
use tch_transformers::text::Message;

use super::interrupt::Interrupt;
use super::lines::{Line, Lines};
use super::session::{Session, document};
use super::write::GenerationArguments;

/// What a line may be besides something to say.
const COMMANDS: &str = "\
/system TEXT  tell the model what to be, or nothing in particular without TEXT
/reset        begin anew
/save FILE    write the conversation to FILE, as JSON
/quit         end, as the end of input does
//...         say something that begins with /
Ctrl-C stops an answer.";

struct Chat<'a> {
    conversation: Conversation<'a>,
    settings: TextGenerationSettings,
    json: bool,
    verbose: bool,
    interrupt: Interrupt,
}

/// A line as it is meant.
#[derive(Debug, PartialEq)]
enum Meaning<'a> {
    Nothing,
    Say(&'a str),
    System(Option<&'a str>),
    Reset,
    Save(&'a str),
    Help,
    Quit,
}

pub fn run(arguments: &GenerationArguments) -> Result<()> {
    let session = Session::without_texts(&arguments.common);
    let pipeline =
        session.load(|model, options| TextGeneration::from_pretrained(model, options), TextGeneration::text)?;
    let mut lines = Lines::open()?;
    let mut chat = Chat {
        conversation: pipeline.conversation(arguments.told()),
        settings: arguments.settings(),
        json: arguments.common.json,
        verbose: arguments.common.verbose,
        interrupt: Interrupt::install(!lines.is_edited())?,
    };
    if lines.is_edited() {
        eprintln!("/help lists the commands; Ctrl-D ends.");
    }
    loop {
        let line = match lines.next()? {
            Line::Text(line) => line,
            Line::GivenUp => continue,
            Line::End => return Ok(()),
        };
        match chat.take(&line) {
            Ok(ControlFlow::Continue(())) => {}
            Ok(ControlFlow::Break(())) => return Ok(()),
            Err(error) => eprintln!("error: {error:#}"),
        }
    }
}

impl Chat<'_> {
    /// Does what a line says.
    fn take(&mut self, line: &str) -> Result<ControlFlow<()>> {
        match meaning(line)? {
            Meaning::Nothing => {}
            Meaning::Say(text) => return self.say(text),
            Meaning::System(text) => self.conversation.set_system(text),
            Meaning::Reset => self.conversation.reset(),
            Meaning::Save(file) => {
                let messages = serde_json::to_string_pretty(self.conversation.messages())? + "\n";
                std::fs::write(file, messages).with_context(|| format!("cannot write {file}"))?;
            }
            Meaning::Help => eprintln!("{COMMANDS}"),
            Meaning::Quit => return Ok(ControlFlow::Break(())),
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Prints the answer as it comes, or as JSON.
    fn say(&mut self, text: &str) -> Result<ControlFlow<()>> {
        let (interrupt, json) = (&self.interrupt, self.json);
        // A reader that has gone away ends the conversation.
        let mut read = true;
        let mut print = |piece: &str| {
            let mut output = std::io::stdout().lock();
            read &= output.write_all(piece.as_bytes()).and_then(|()| output.flush()).is_ok();
            read
        };
        let on_piece = |piece: &str| match interrupt.stops() || !(json || print(piece)) {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        };
        let turn = interrupt.during(|| self.conversation.say(Message::user(text), &self.settings, on_piece))?;
        if self.verbose {
            eprintln!("{}", counted(&turn));
        }
        let end = if json { document(&turn)? + "\n" } else { "\n".to_owned() };
        Ok(if print(&end) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
    }
}

/// How many tokens a turn took.
fn counted(turn: &Turn) -> String {
    let (prompt, remembered, new) = (turn.prompt_tokens, turn.remembered_tokens, turn.new_tokens);
    format!("{prompt} tokens, {remembered} of them remembered; {new} new ones")
}

/// What `line` means.
fn meaning(line: &str) -> Result<Meaning<'_>> {
    let line = line.trim();
    let Some(command) = line.strip_prefix('/').filter(|rest| !rest.starts_with('/')) else {
        return Ok(if line.is_empty() {
            Meaning::Nothing
        } else {
            Meaning::Say(line.strip_prefix('/').unwrap_or(line))
        });
    };
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = Some(rest.trim()).filter(|rest| !rest.is_empty());
    match (name, rest) {
        ("system", text) => Ok(Meaning::System(text)),
        ("reset", None) => Ok(Meaning::Reset),
        ("save", Some(file)) => Ok(Meaning::Save(file)),
        ("save", None) => bail!("/save needs the name of a file"),
        ("help", None) => Ok(Meaning::Help),
        ("quit", None) => Ok(Meaning::Quit),
        ("reset" | "help" | "quit", Some(_)) => bail!("/{name} stands alone"),
        _ => bail!("there is no command /{name}; /help lists them, and //{name} says it to the model"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_said_unless_they_are_commands() {
        for (line, meant) in [
            ("", Meaning::Nothing),
            ("  ", Meaning::Nothing),
            (" Who? ", Meaning::Say("Who?")),
            ("//etc is what?", Meaning::Say("/etc is what?")),
            ("/system Be  brief. ", Meaning::System(Some("Be  brief."))),
            ("/system", Meaning::System(None)),
            ("/reset", Meaning::Reset),
            ("/save two words.json", Meaning::Save("two words.json")),
            ("/help", Meaning::Help),
            ("/quit ", Meaning::Quit),
        ] {
            assert_eq!(meaning(line).unwrap(), meant, "{line}");
        }
        for line in ["/", "/etc is what?", "/save", "/quit now", "/reset all"] {
            assert!(meaning(line).is_err(), "{line}");
        }
    }
}
