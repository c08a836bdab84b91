//! Names that DNS can look up.

/// The longest name, in characters.
const LONGEST: usize = 253;

/// A DNS label (RFC 1123).
#[must_use]
pub fn is_label(value: &str) -> bool {
    !value.is_empty()
        && value.len() <= 63
        && value.chars().all(in_label)
        && !value.starts_with('-')
        && !value.ends_with('-')
}

const fn in_label(c: char) -> bool {
    c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
}

/// A DNS subdomain (RFC 1123) that DNS can look up: none of its labels is too long.
#[must_use]
pub fn is_subdomain(value: &str) -> bool {
    value.len() <= LONGEST && value.split('.').all(is_label)
}

/// The name of an object such as a Secret, a ConfigMap or a StatefulSet. Kubernetes asks for the form of a DNS subdomain
/// (`IsDNS1123Subdomain` of apimachinery), and bounds the whole and no label of it.
#[must_use]
pub fn is_object_name(value: &str) -> bool {
    let ends = |label: &str| label.starts_with('-') || label.ends_with('-');
    value.len() <= LONGEST
        && value.split('.').all(|label| !label.is_empty() && label.chars().all(in_label) && !ends(label))
}

/// A label of a host in the URL of an etcd: capitals are allowed, since etcd accepts them.
#[must_use]
pub fn is_host_label(label: &str) -> bool {
    !label.is_empty() && label.len() <= 63 && label.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As `IsDNS1123Subdomain` and `IsDNS1123Label` of apimachinery have it.
    #[test]
    fn names_of_objects_are_bounded_as_a_whole_and_those_in_dns_by_label() {
        let long = "a".repeat(64);
        for (name, is_object, is_host) in [
            ("a", true, true),
            ("a.b-c.0", true, true),
            (long.as_str(), true, false),
            (&format!("x.{}", "a".repeat(251)), true, false),
            (&"a".repeat(253), true, false),
            (&"a".repeat(254), false, false),
            (&["a"; 127].join("."), true, true),
            (&["a"; 128].join("."), false, false),
            ("", false, false),
            (".", false, false),
            ("a.", false, false),
            (".a", false, false),
            ("a..b", false, false),
            ("-a", false, false),
            ("a-.b", false, false),
            ("a.-b", false, false),
            ("A", false, false),
            ("a_b", false, false),
            ("é", false, false),
        ] {
            assert_eq!((is_object_name(name), is_subdomain(name)), (is_object, is_host), "{name}");
        }
    }
}
