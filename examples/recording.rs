//! Makes of a recording by asciinema what is kept of it: `docs/demo.cast` without the machine that it was made on, and
//! `docs/demo.svg`, a still of it. `make recording` records and runs it.

use std::{
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use harness::svg::Picture;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

/// In a player no pause is longer, in seconds.
const IDLE: u32 = 2;
/// The first line of the still, and how many lines it has.
const FIRST: &str = "=== One label on its StatefulSet";
const LINES: usize = 33;

/// Pixels.
const CHARACTER: f64 = 7.3;
const LINE: f64 = 16.5;
const MARGIN: f64 = 14.0;
const STYLE: &str = "
  .paper { fill: #0d1117; }
  .output, .command, .heading { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, 'Liberation Mono', monospace; }
  .output { fill: #c9d1d9; } .command { fill: #7ee787; font-weight: 600; } .heading { fill: #79c0ff; font-weight: 600; }
";

fn main() -> ExitCode {
    let paths: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [raw, folder] = &paths[..] else {
        eprintln!("usage: recording RAW.cast FOLDER");
        return ExitCode::from(2);
    };
    match make(raw, folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("recording: error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn make(raw: &Path, folder: &Path) -> Result<(), String> {
    let read = fs::read_to_string(raw).map_err(|error| format!("{}: {error}", raw.display()))?;
    let cast = kept(&read)?;
    for (name, text) in [("demo.svg", still(&cast)?), ("demo.cast", cast)] {
        let path = folder.join(name);
        fs::write(&path, text).map_err(|error| format!("{}: {error}", path.display()))?;
        println!("{}", path.display());
    }
    Ok(())
}

/// The first line of a recording, in version 2 of asciinema's format.
#[derive(Deserialize)]
struct Header {
    version: u8,
    width: u32,
    height: u32,
}

/// A recording: its size, and what was shown when.
struct Cast {
    header: Header,
    shown: Vec<(f64, String)>,
}

fn read(text: &str) -> Result<Cast, String> {
    let mut lines = text.lines();
    let header: Header = parsed(lines.next().unwrap_or_default())?;
    if header.version != 2 {
        return Err(format!("version {} of the format; use asciinema 2", header.version));
    }
    let events = lines.map(parsed::<(f64, String, String)>).collect::<Result<Vec<_>, _>>()?;
    let shown = events.into_iter().filter(|(_, kind, _)| kind == "o").map(|(at, _, text)| (at, text)).collect();
    Ok(Cast { header, shown })
}

fn parsed<T: DeserializeOwned>(line: &str) -> Result<T, String> {
    serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))
}

/// The recording without the environment and the time of the machine that it was made on, and in times of hundredths.
fn kept(text: &str) -> Result<String, String> {
    let cast = read(text)?;
    let header = json!({
        "version": 2, "width": cast.header.width, "height": cast.header.height, "idle_time_limit": IDLE, "title": "make demo",
    });
    let mut kept = format!("{header}\n");
    for (at, text) in &cast.shown {
        let _ = writeln!(kept, "[{at:.2}, \"o\", {}]", json!(text));
    }
    Ok(kept)
}

/// What was on the screen when the first thing happened: a label, and the CronJob.
fn still(text: &str) -> Result<String, String> {
    let cast = read(text)?;
    let all: String = cast.shown.iter().map(|(_, text)| text.as_str()).collect();
    let all = without_colours(&all);
    let lines = all.lines().skip_while(|line| !line.starts_with(FIRST));
    let columns = usize::try_from(cast.header.width).unwrap_or(usize::MAX);
    let lines: Vec<String> = lines.flat_map(|line| wrapped(line.trim_end(), columns)).take(LINES).collect();
    if lines.len() < LINES {
        return Err(format!("there are not {LINES} lines from {FIRST:?} on"));
    }
    let mut picture = Picture::default();
    let mut y = MARGIN;
    for line in &lines {
        y += LINE;
        let class = match line.as_str() {
            line if line.starts_with("===") => "heading",
            line if line.starts_with("$ ") => "command",
            _ => "output",
        };
        // Blanks as wide as other characters, and none of them left out.
        let text = line.trim_start();
        let indent = u32::try_from(line.len() - text.len()).unwrap_or_default();
        let x = MARGIN + f64::from(indent) * CHARACTER;
        picture.label(class, x, y, "start", &text.replace(' ', "\u{a0}"));
    }
    let width = f64::from(cast.header.width) * CHARACTER + 2.0 * MARGIN;
    Ok(picture.finish(width, y + MARGIN, "make demo: a label on a StatefulSet, and its CronJob", STYLE))
}

/// A line as a terminal of so many columns shows it.
fn wrapped(line: &str, columns: usize) -> Vec<String> {
    let characters: Vec<char> = line.chars().collect();
    if characters.is_empty() {
        return vec![String::new()];
    }
    characters.chunks(columns.max(1)).map(|part| part.iter().collect()).collect()
}

fn without_colours(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.split_once('m').map_or("", |(_, rest)| rest));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    const RAW: &str = "{\"version\": 2, \"width\": 80, \"height\": 24, \"timestamp\": 1, \"env\": {\"SHELL\": \"/bin/own\"}}\n\
        [0.123456, \"o\", \"a\\u001b[1m b\\r\\n\"]\n[1.5, \"i\", \"typed\"]\n";

    #[test]
    fn what_is_of_the_machine_is_not_kept() {
        let kept = kept(RAW).unwrap();
        assert_eq!(
            kept,
            "{\"height\":24,\"idle_time_limit\":2,\"title\":\"make demo\",\"version\":2,\"width\":80}\n\
             [0.12, \"o\", \"a\\u001b[1m b\\r\\n\"]\n"
        );
        assert_eq!(kept, super::kept(&kept).unwrap());
    }

    #[test]
    fn the_still_has_the_lines_from_the_first_on() {
        let mut raw = RAW.to_owned();
        for line in std::iter::once("before").chain(std::iter::once(FIRST)).chain(["$ kubectl <x>"; LINES]) {
            let _ = writeln!(raw, "[2, \"o\", {}]", json!(format!("{line}\r\n")));
        }
        let picture = still(&raw).unwrap();
        assert_eq!(picture.matches("<text class=").count(), LINES);
        assert!(picture.contains("kubectl\u{a0}&lt;x>") && !picture.contains("before"), "{picture}");
        assert!(still(RAW).is_err());
        assert_eq!(wrapped("abcde", 2), ["ab", "cd", "e"]);
        assert_eq!(wrapped("", 2), [""]);
    }

    /// What is committed is of one recording, small, and has nothing of a machine.
    #[test]
    fn the_recording_in_the_documentation_is_whole() {
        let file =
            |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap();
        let cast = file("demo.cast");
        assert!(cast.len() <= 200 * 1024, "{} bytes", cast.len());
        assert_eq!(kept(&cast).unwrap(), cast, "run make recording");
        assert_eq!(still(&cast).unwrap(), file("demo.svg"), "run make recording");
        let shown: String = read(&cast).unwrap().shown.into_iter().map(|(_, text)| text).collect();
        assert!(shown.contains("Done in "), "it does not go on to the end");
        for of_a_machine in ["/root", "/home", "/tmp", "/usr", "/var", "SKIPPED", "panicked"] {
            assert!(!shown.contains(of_a_machine), "{of_a_machine} is in it");
        }
    }
}
