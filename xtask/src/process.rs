//! Running other programs.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, ExitCode, ExitStatus, Stdio};

use anyhow::{Context, Error, Result, anyhow};

/// An error that names the one command that mends it.
pub fn amiss(problem: impl Display, mend: impl Display) -> Error {
    anyhow!("{problem}\n  mend it with: {mend}")
}

/// The first line that `command` prints, or `None` where it is missing or fails.
pub fn first_line(command: &mut Command) -> Option<String> {
    output(command).and_then(|text| text.lines().next().map(|line| line.trim().to_owned()))
}

/// What `command` prints, or `None` where it is missing or fails.
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command` with its standard error shown and returned.
pub fn run_heard(command: &mut Command) -> Result<(ExitStatus, String)> {
    let program = command.get_program().to_string_lossy().into_owned();
    let mut child =
        command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().with_context(|| format!("cannot run {program}"))?;
    let mut heard = String::new();
    if let Some(stderr) = child.stderr.take() {
        let mut reader = BufReader::new(stderr);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            std::io::stderr().write_all(&line).ok();
            heard.push_str(&String::from_utf8_lossy(&line));
            line.clear();
        }
    }
    let status = child.wait().with_context(|| format!("cannot wait for {program}"))?;
    Ok((status, heard))
}

/// Runs `command` and hands on its exit status.
pub fn hand_over(command: &mut Command) -> Result<ExitCode> {
    let program = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot run {program}"))?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hears_standard_error() {
        let (status, heard) = run_heard(Command::new("sh").args(["-c", "echo one >&2; echo two >&2; exit 3"])).unwrap();
        assert_eq!((status.code(), heard.as_str()), (Some(3), "one\ntwo\n"));
        assert!(run_heard(&mut Command::new("/nonexistent/program")).is_err());
    }
}
