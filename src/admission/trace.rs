//! The trace that a request belongs to, so that a line of the log can be found from a trace and the other way round.

use axum::http::HeaderMap;

/// The trace id in the header `traceparent` of W3C Trace Context, which an API server that traces requests sends along.
pub(super) fn id(headers: &HeaderMap) -> Option<String> {
    let mut fields = headers.get("traceparent")?.to_str().ok()?.split('-');
    let version = fields.next().filter(|version| is_hex(version, 2) && *version != "ff")?;
    let trace = fields.next().filter(|trace| is_hex(trace, 32) && trace.bytes().any(|digit| digit != b'0'))?;
    fields.next().filter(|parent| is_hex(parent, 16))?;
    fields.next().filter(|flags| is_hex(flags, 2))?;
    // Later versions may say more.
    (version != "00" || fields.next().is_none()).then(|| trace.to_owned())
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Option<String> {
        id(&[("traceparent".parse().unwrap(), header.parse().unwrap())].into_iter().collect())
    }

    #[test]
    fn only_a_whole_header_names_a_trace() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(of(&format!("00-{trace}-00f067aa0ba902b7-01")).as_deref(), Some(trace));
        assert_eq!(of(&format!("cc-{trace}-00f067aa0ba902b7-01-more")).as_deref(), Some(trace));
        for bad in [
            "",
            "00",
            trace,
            &format!("00-{trace}"),
            &format!("00-{trace}-00f067aa0ba902b7"),
            &format!("00-{trace}-00f067aa0ba902b7-01-more"),
            &format!("ff-{trace}-00f067aa0ba902b7-01"),
            &format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            &format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            &format!("00-{trace}\u{e9}-00f067aa0ba902b7-01"),
        ] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
    }
}
