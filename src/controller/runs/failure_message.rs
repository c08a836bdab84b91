//! The failure message: what the pod of a failed run wrote before it ended.
//!
//! The Job's own condition contains only that its pod failed. The kubelet stores the end of the container's log as its
//! termination message (`terminationMessagePolicy: FallbackToLogsOnError`), so the log itself is not needed.

use serde::Deserialize;

use super::pods::Terminated;
use crate::defrag::{run_result::RunResult, text::printable};

/// At most so many characters are quoted: a note takes 1024 bytes in all.
const LIMIT: usize = 500;
/// At most so many lines are quoted.
const LINES: usize = 3;

/// How the engine ended, as a clause.
pub(crate) fn words(end: &Terminated) -> String {
    let how = match end.reason.as_str() {
        "" | "Error" => format!("The engine ended with {}", end.exit_code),
        reason => format!("The engine ended with {} ({})", end.exit_code, printable(reason)),
    };
    if let Ok(result) = RunResult::read(&end.message) {
        return format!("{how}: {result}");
    }
    let said = failure_message(&end.message);
    if said.is_empty() { how } else { format!("{how} and this message: {said}") }
}

/// The last lines that complain, oldest first, or else the last line.
fn failure_message(log: &str) -> String {
    let lines: Vec<&str> = log.lines().map(|line| without_time(line.trim())).filter(|line| !line.is_empty()).collect();
    let plain = || lines.iter().copied().filter(|line| !line.starts_with('{'));
    let mut said: Vec<String> = plain().rev().filter(|line| complains(line)).take(LINES).map(printable).collect();
    if said.is_empty() {
        said.extend(plain().next_back().map(printable));
    }
    // The etcd client logs in JSON what it tried again until its time was up; its error says nothing but that.
    if said.iter().any(|line| line.contains("deadline exceeded")) {
        said.extend(cause(lines.iter().rev().filter_map(|line| error_of(line))));
    }
    said.reverse();
    let said = said.join(" / ");
    match said.char_indices().rev().nth(LIMIT) {
        // The end says more than the beginning.
        Some((at, c)) => format!("…{}", said.get(at + c.len_utf8()..).unwrap_or_default()),
        None => said,
    }
}

fn complains(line: &str) -> bool {
    let line = line.to_lowercase();
    let empty = line.ends_with("error:");
    ["fail", "invalid", "health: false", "panic"].iter().any(|word| line.contains(word))
        || (line.contains("error:") && !empty)
}

/// Of the errors of the attempts, newest first, the one that says most. With TLS 1.3 a client that is refused may write
/// before it reads why, so that only some attempts know.
fn cause(errors: impl Iterator<Item = String>) -> Option<String> {
    let errors: Vec<String> = errors.collect();
    let of_tls = |error: &&String| ["tls: ", "x509: "].iter().any(|word| error.contains(word));
    let error = errors.iter().find(of_tls).or(errors.first())?;
    let cut_off = ["broken pipe", "connection reset by peer"].iter().any(|word| error.contains(word));
    let hint = if cut_off { " (with TLS this is most often a client certificate that the member refused)" } else { "" };
    Some(format!("{error}{hint}"))
}

/// The error of a line of JSON.
fn error_of(line: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Line {
        error: String,
    }
    serde_json::from_str::<Line>(line).ok().map(|line| printable(&line.error))
}

/// A line without the date and time that Go's logger begins it with.
fn without_time(line: &str) -> &str {
    let mut rest = line;
    for separator in ['/', ':'] {
        let Some((word, tail)) = rest.split_once(' ') else { return line };
        if word.split(separator).count() != 3 || !word.chars().all(|c| c.is_ascii_digit() || c == separator) {
            return line;
        }
        rest = tail;
    }
    rest.trim_start()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_lines_that_complain_are_quoted() {
        let log = "2026/11/25 04:28:33 Performing health check.\n\
            2026/11/25 04:28:33 endpoint: https://e-0:2379, health: true, took: 10ms, error: \n\
            2026/11/25 04:28:34 Defragmenting endpoint \"https://e-1:2379\"\n\
            {\"level\":\"warn\",\"error\":\"rpc error: code = Unavailable desc = EOF\"}\n\
            2026/11/25 04:28:35 Failed to defragment etcd member \"https://e-1:2379\". took 1.2s. (EOF)\n\
            2026/11/25 04:28:35 1 (total 3) endpoint(s) failed to be defragmented.\n";
        assert_eq!(
            failure_message(log),
            "Failed to defragment etcd member \"https://e-1:2379\". took 1.2s. (EOF) / \
             1 (total 3) endpoint(s) failed to be defragmented."
        );
    }

    #[test]
    fn the_cause_of_a_timeout_is_quoted_with_it() {
        let log = "2026/11/25 04:28:33 Performing health check.\n\
            {\"level\":\"warn\",\"error\":\"x509: certificate signed by\\nunknown authority\"}\n\
            2026/11/25 04:29:33 Failed to get members' health info: context deadline exceeded\n";
        assert_eq!(
            failure_message(log),
            "x509: certificate signed by\\nunknown authority / \
             Failed to get members' health info: context deadline exceeded"
        );
    }

    #[test]
    fn of_the_attempts_the_one_that_says_most_is_quoted() {
        let attempt = |error: &str| format!("{{\"error\":\"{error}\"}}\n");
        let end = "2026/11/25 04:29:33 Failed to get members' health info: context deadline exceeded\n";
        let pipe = "latest balancer error: write tcp 198.51.100.8:51262->198.51.100.6:2379: write: broken pipe";
        let refused = "latest balancer error: remote error: tls: bad certificate";
        assert_eq!(
            failure_message(&[&attempt(refused), &attempt(pipe), end].concat()),
            "latest balancer error: remote error: tls: bad certificate / \
             Failed to get members' health info: context deadline exceeded"
        );
        assert_eq!(
            failure_message(&[&attempt(pipe), end].concat()),
            "latest balancer error: write tcp 198.51.100.8:51262->198.51.100.6:2379: write: broken pipe (with TLS this \
             is most often a client certificate that the member refused) / \
             Failed to get members' health info: context deadline exceeded"
        );
    }

    #[test]
    fn without_a_complaint_the_last_line_is_quoted() {
        assert_eq!(failure_message("2026/11/25 04:28:33 a\n12/3 b\n\n"), "12/3 b");
        assert_eq!(failure_message("{}\n"), "");
        assert_eq!(failure_message(""), "");
    }

    #[test]
    fn a_long_line_keeps_its_end() {
        let said = failure_message(&format!("failed {}é!", "é".repeat(1000)));
        assert_eq!(said.chars().count(), LIMIT + 1);
        assert!(said.starts_with("…é") && said.ends_with("é!"), "{said}");
    }

    #[test]
    fn how_the_container_ended_comes_first() {
        let words = |terminated: serde_json::Value| words(&Terminated::deserialize(terminated).unwrap());
        let killed = words(json!({"exitCode": 137, "reason": "OOMKilled"}));
        assert_eq!(killed, "The engine ended with 137 (OOMKilled)");
        let failed = words(json!({"exitCode": 1, "reason": "Error", "message": "unknown flag: --x"}));
        assert_eq!(failed, "The engine ended with 1 and this message: unknown flag: --x");
    }
}
