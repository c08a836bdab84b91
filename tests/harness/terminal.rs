//! Programs on a pseudo-terminal, by `script` of util-linux: what they print there is what a person has on the screen.

use std::{
    ffi::OsStr,
    io::{Read as _, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    thread,
    time::Duration,
};

use crate::eventually;

/// Longer than anything that a program is waited for.
const LONGEST: Duration = Duration::from_mins(2);

/// What a program showed on a terminal.
pub struct Screen {
    /// All that the terminal was sent, colours and carriage returns included.
    pub sent: String,
    /// The exit code.
    pub code: Option<i32>,
}

/// A program on a terminal, while it runs; both its outputs go there.
pub struct Terminal {
    child: Child,
    // Open to the end: the end of its input is a character on the terminal.
    stdin: ChildStdin,
    parts: Receiver<Vec<u8>>,
    sent: Vec<u8>,
}

/// Runs a program on a terminal to its end. `None` where there is no `script` to do it with, which is said as a skipped test.
pub fn on_terminal(test: &str, command: &Command) -> Option<Screen> {
    Some(Terminal::start(test, command)?.end())
}

impl Terminal {
    /// Starts a program on a terminal. `None` where there is no `script` to do it with, which is said as a skipped test.
    pub fn start(test: &str, command: &Command) -> Option<Self> {
        let version = Command::new("script").arg("--version").output();
        if !version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("util-linux")) {
            println!("SKIPPED: {test}: there is no `script` of util-linux, which makes a terminal");
            return None;
        }
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let line: Vec<String> = words.map(quoted).collect();
        // A shell without job control has what it starts in the background ignore Ctrl-C, and so would the program under test.
        let line = format!("exec env --default-signal=INT,QUIT {}", line.join(" "));
        let mut script = Command::new("script");
        script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
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
        let stdin = child.stdin.take().expect("it was asked for");
        let mut stdout = child.stdout.take().expect("it was asked for");
        let (parts, received) = channel();
        thread::spawn(move || {
            let mut part = [0; 4096];
            while let Ok(read @ 1..) = stdout.read(&mut part) {
                if parts.send(part[..read].to_vec()).is_err() {
                    return;
                }
            }
        });
        Some(Self { child, stdin, parts: received, sent: Vec::new() })
    }

    /// Waits until what the terminal was sent is as wanted.
    #[track_caller]
    pub fn wait_for(&mut self, what: &str, wanted: impl Fn(&str) -> bool) {
        eventually(what, LONGEST, || {
            self.sent.extend(self.parts.try_iter().flatten());
            wanted(&String::from_utf8_lossy(&self.sent)).then_some(())
        });
    }

    /// Ends the program as a person does, with Ctrl-C.
    pub fn interrupt(mut self) -> Screen {
        self.stdin.write_all(b"\x03").unwrap_or_else(|error| panic!("press Ctrl-C: {error}"));
        self.end()
    }

    /// Waits for the end of the program.
    #[track_caller]
    fn end(mut self) -> Screen {
        loop {
            match self.parts.recv_timeout(LONGEST) {
                Ok(part) => self.sent.extend(part),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it does not end: {}", String::from_utf8_lossy(&self.sent)),
            }
        }
        let status = self.child.wait().unwrap_or_else(|error| panic!("wait for script: {error}"));
        let sent =
            String::from_utf8(std::mem::take(&mut self.sent)).unwrap_or_else(|error| panic!("not UTF-8: {error}"));
        Screen { sent, code: status.code() }
    }
}

impl Drop for Terminal {
    /// Where a test fails while it runs, it does not stay.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A word for a shell.
fn quoted(word: &OsStr) -> String {
    let word = word.to_str().unwrap_or_else(|| panic!("{} is not UTF-8", word.display()));
    format!("'{}'", word.replace('\'', r"'\''"))
}

impl Screen {
    /// The lines that a person sees, without colours, and without the progress that a line took the place of.
    ///
    /// Panics where the terminal was sent anything that it obeys besides: whatever else moves the cursor, clears the screen,
    /// reverses the order of characters or shows nothing. `printable` says which characters are seen.
    #[track_caller]
    pub fn lines(&self, printable: impl Fn(char) -> bool) -> Vec<String> {
        let mut lines = Vec::new();
        for line in self.sent.split_terminator("\r\n") {
            let mut shown: Vec<&str> = line.split("\r\u{1b}[2K").collect();
            let line = shown.pop().unwrap_or_default();
            for progress in shown {
                let is_progress = progress.starts_with(|c: char| c.is_ascii_digit()) && progress.contains(" reading ");
                assert!(is_progress && progress.chars().all(&printable), "cleared: {progress:?}");
            }
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
