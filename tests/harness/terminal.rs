//! Programs on a pseudo-terminal, by `script` of util-linux: what they print there is what a person has on the screen.

use std::{
    ffi::OsStr,
    io::Read as _,
    process::{Command, Stdio},
};

/// What a program showed on a terminal.
pub struct Screen {
    /// All that the terminal was sent, colours and carriage returns included.
    pub sent: String,
    /// The exit code.
    pub code: Option<i32>,
}

/// Runs a program on a terminal; both its outputs go there. `None` where there is no `script` to do it with, which is said
/// as a skipped test.
pub fn on_terminal(test: &str, command: &Command) -> Option<Screen> {
    let version = Command::new("script").arg("--version").output();
    if !version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("util-linux")) {
        println!("SKIPPED: {test}: there is no `script` of util-linux, which makes a terminal");
        return None;
    }
    let words = [command.get_program()].into_iter().chain(command.get_args());
    let line: Vec<String> = words.map(quoted).collect();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line.join(" "), "/dev/null"]);
    script.env("SHELL", "/bin/sh").env("TERM", "xterm").env_remove("NO_COLOR");
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        script.current_dir(folder);
    }
    let mut child = script
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("run script: {error}"));
    // Open to the end: the end of its input is a character on the terminal.
    let stdin = child.stdin.take();
    let mut sent = Vec::new();
    let mut stdout = child.stdout.take().expect("it was asked for");
    stdout.read_to_end(&mut sent).unwrap_or_else(|error| panic!("read from script: {error}"));
    let status = child.wait().unwrap_or_else(|error| panic!("wait for script: {error}"));
    drop(stdin);
    let sent = String::from_utf8(sent).unwrap_or_else(|error| panic!("not UTF-8: {error}"));
    Some(Screen { sent, code: status.code() })
}

/// A word for a shell.
fn quoted(word: &OsStr) -> String {
    let word = word.to_str().unwrap_or_else(|| panic!("{} is not UTF-8", word.display()));
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl Screen {
    /// The lines that a person sees, without colours.
    ///
    /// Panics where the terminal was sent anything that it obeys besides: whatever else moves the cursor, clears the screen,
    /// reverses the order of characters or shows nothing. `printable` says which characters are seen.
    #[track_caller]
    pub fn lines(&self, printable: impl Fn(char) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        for line in self.sent.split_terminator("\r\n") {
            let mut parts = line.split("\u{1b}[");
            let mut seen = parts.next().unwrap_or_default().to_owned();
            for part in parts {
                let (colour, rest) = part.split_once('m').unwrap_or_else(|| panic!("no colour: {line:?}"));
                assert!(colour.chars().all(|c| c.is_ascii_digit() || c == ';'), "no colour: {line:?}");
                seen.push_str(rest);
            }
            assert!(seen.chars().all(&printable), "sent to the terminal: {seen:?}");
            lines.push(seen);
        }
        lines
    }

    /// Whether there is any colour: that shows that the program took it for a terminal.
    pub fn is_coloured(&self) -> bool {
        self.sent.contains("\u{1b}[1m")
    }
}
