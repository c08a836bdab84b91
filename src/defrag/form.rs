//! The forms of names in Kubernetes. The rules of the definition of `DefragPolicy` have the same texts, so that what one accepts the
//! other does not refuse.

use std::sync::LazyLock;

use regex::Regex;

/// A DNS subdomain (RFC 1123), as most objects are named; at most [`SUBDOMAIN_LENGTH`] characters.
pub const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// The most characters of a DNS subdomain.
pub const SUBDOMAIN_LENGTH: u32 = 253;

/// The key of a label, with or without a prefix.
pub const LABEL_KEY: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

/// The key of an annotation: that of a label, in which the case of the prefix does not matter.
pub const ANNOTATION_KEY: &str = r"^([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

/// The value of a label.
pub const LABEL_VALUE: &str = r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$";

/// A reference to an image: registry, path, tag and digest, of which only the path has to be there.
pub const IMAGE: &str = concat!(
    r"^(([A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?(\.[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?)*|\[[0-9A-Fa-f:]+\])(:[0-9]+)?/)?",
    r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*",
    r"(:[A-Za-z0-9_][-A-Za-z0-9_.]{0,127})?",
    r"(@(sha256:[0-9a-f]{64}|sha384:[0-9a-f]{96}|sha512:[0-9a-f]{128}))?$"
);

/// A form, compiled once.
struct Form(LazyLock<Option<Regex>>);

static LABEL_KEYS: Form = Form(LazyLock::new(|| Regex::new(LABEL_KEY).ok()));
static ANNOTATION_KEYS: Form = Form(LazyLock::new(|| Regex::new(ANNOTATION_KEY).ok()));
static LABEL_VALUES: Form = Form(LazyLock::new(|| Regex::new(LABEL_VALUE).ok()));
static IMAGES: Form = Form(LazyLock::new(|| Regex::new(IMAGE).ok()));

impl Form {
    fn is(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|form| form.is_match(text))
    }
}

/// Whether a label, and a taint, can have this key.
#[must_use]
pub fn is_label_key(text: &str) -> bool {
    has_short_prefix(text) && LABEL_KEYS.is(text)
}

/// Whether an annotation can have this key.
#[must_use]
pub fn is_annotation_key(text: &str) -> bool {
    has_short_prefix(text) && ANNOTATION_KEYS.is(text)
}

fn has_short_prefix(text: &str) -> bool {
    text.split_once('/').is_none_or(|(prefix, _)| prefix.len() <= SUBDOMAIN_LENGTH as usize)
}

/// Whether a label can have this value.
#[must_use]
pub fn is_label_value(text: &str) -> bool {
    LABEL_VALUES.is(text)
}

/// Whether a container runtime can read this as an image.
#[must_use]
pub fn is_image(text: &str) -> bool {
    IMAGES.is(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::defrag::dns::is_object_name;

    /// The text that the definition has for names of objects.
    fn is_as_defined(text: &str) -> bool {
        text.len() <= SUBDOMAIN_LENGTH as usize && Regex::new(SUBDOMAIN).unwrap().is_match(text)
    }

    fn sort(is: fn(&str) -> bool, accepted: &[&str], refused: &[&str]) {
        for text in accepted {
            assert!(is(text), "{text:?} is refused");
        }
        for text in refused {
            assert!(!is(text), "{text:?} is accepted");
        }
    }

    #[test]
    fn names_keys_and_values_as_kubernetes_has_them() {
        let long = "a".repeat(64);
        let longest = "a".repeat(63);
        let prefixed = format!("{}/a", "a".repeat(254));
        for is in [is_object_name, is_as_defined] {
            sort(
                is,
                &["a", "a.b-c.1", &"a".repeat(253)],
                &["", "A", "a_b", "-a", "a-", "a..b", "a.", "a ", "a\n", &"a".repeat(254)],
            );
        }
        sort(
            is_label_key,
            &["a", "A_b.c-d", "app.kubernetes.io/name", &longest],
            &["", "a b", "-a", "a/", "/a", "A/b", "a/b/c", "bad key!", &long, &prefixed],
        );
        sort(is_annotation_key, &["Example.com/A"], &["a b/c", ""]);
        sort(is_label_value, &["", "a", "1.0-x_Y", &longest], &["x y", "-a", "a.", "ü", &long]);
    }

    #[test]
    fn images_as_container_runtimes_read_them() {
        let digest = format!("@sha256:{}", "0".repeat(64));
        let with_digest = format!("registry.example:5000/a/b_c/etcd-defrag:v0.42.0{digest}");
        sort(
            is_image,
            &[
                "etcd-defrag",
                "ghcr.io/ahrtr/etcd-defrag:v0.42.0",
                "Ghcr.io/x/y:1",
                "[fd00::1]:5000/x",
                "localhost/x",
                &with_digest,
            ],
            &[
                "",
                "ghcr.io/ahrtr/etcd-defrag:v0.42.0 ",
                "Ghcr.io/X/Y:1",
                "Etcd-Defrag",
                "https://ghcr.io/x",
                "x:",
                "x@sha256:00",
                "x:tag:tag",
                "a//b",
                "x:$TAG",
            ],
        );
    }
}
