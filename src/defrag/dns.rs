//! Names that DNS can look up.

/// A DNS label (RFC 1123).
#[must_use]
pub fn is_label(value: &str) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !value.is_empty()
        && value.len() <= 63
        && value.chars().all(inner)
        && !value.starts_with('-')
        && !value.ends_with('-')
}

/// A DNS subdomain (RFC 1123), as Secrets are named.
#[must_use]
pub fn is_subdomain(value: &str) -> bool {
    value.len() <= 253 && value.split('.').all(is_label)
}

/// A label of a host in a URL that an etcd was given: whoever runs it may write capitals, and it runs all the same.
#[must_use]
pub fn is_host_label(label: &str) -> bool {
    !label.is_empty() && label.len() <= 63 && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}
