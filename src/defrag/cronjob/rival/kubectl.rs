//! What a script gives to kubectl: the labels of pods (`kubectl get pod -l app=etcd`), and namespaces.

use std::collections::BTreeMap;

use crate::defrag::dns::is_label;

/// The most selectors of one script, and terms of one selector, that are kept.
const MOST: usize = 8;
/// The longest key of a label: a prefix of 253 characters, a slash, a name of 63.
const LONGEST: usize = 317;

/// A key and the value that it has to have.
type Term = (Box<str>, Box<str>);

/// What stands behind flags of kubectl.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Kubectl {
    /// Selectors by equality, each with its terms.
    selectors: Box<[Vec<Term>]>,
    namespaces: Box<[Box<str>]>,
}

impl Kubectl {
    /// That of a text.
    pub(super) fn of(text: &str) -> Self {
        if !text.contains("kubectl") {
            return Self::default();
        }
        let text = text.replace(['"', '\''], "");
        let parts = |c: char| c.is_whitespace() || "`();|&".contains(c);
        let words: Vec<&str> = text.split(parts).filter(|word| !word.is_empty()).collect();
        let selectors = values(&words, "-l", "--selector").map(terms).filter(|terms| !terms.is_empty());
        let namespaces = values(&words, "-n", "--namespace").filter(|name| is_label(name));
        Self { selectors: selectors.take(MOST).collect(), namespaces: namespaces.take(MOST).map(Into::into).collect() }
    }

    /// Whether it selects pods with these labels.
    pub(super) fn select(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |(key, value): &Term| labels.get(&**key).is_some_and(|own| **own == **value);
        self.selectors.iter().any(|terms| terms.iter().all(has))
    }

    /// Whether it names a namespace.
    pub(super) fn names(&self, namespace: &str) -> bool {
        self.namespaces.iter().any(|name| **name == *namespace)
    }
}

/// The values of a flag in its forms: `-l x`, `-lx`, `-l=x`, `--selector x`, `--selector=x`.
fn values<'w>(words: &'w [&'w str], short: &'w str, long: &'w str) -> impl Iterator<Item = &'w str> {
    words.iter().enumerate().filter_map(move |(at, word)| {
        if *word == short || *word == long {
            return words.get(at + 1).copied();
        }
        let by_long = word.strip_prefix(long).and_then(|rest| rest.strip_prefix('='));
        let by_short = || word.strip_prefix(short).map(|rest| rest.strip_prefix('=').unwrap_or(rest));
        by_long.or_else(by_short)
    })
}

/// The terms of a selector; none where one of them is no plain equality.
fn terms(selector: &str) -> Vec<Term> {
    let term = |term: &str| {
        let (key, value) = term.split_once('=')?;
        let value = value.strip_prefix('=').unwrap_or(value);
        let is_plain = |text: &str| {
            text.len() <= LONGEST && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte))
        };
        (!key.is_empty() && is_plain(key) && is_plain(value)).then(|| (key.into(), value.into()))
    };
    let terms: Option<Vec<_>> = selector.split(',').take(MOST + 1).map(term).collect();
    terms.filter(|terms| terms.len() <= MOST).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_those_of_kubectl_in_each_form() {
        let labels = [("app", "etcd"), ("app.kubernetes.io/name", "etcd")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        for (text, selects) in [
            ("for p in $(kubectl get pod -l app=etcd -o name); do kubectl exec $p -- etcdctl defrag; done", true),
            ("kubectl get pod --selector=app=etcd", true),
            ("kubectl get pod --selector app==etcd", true),
            ("kubectl get pods -lapp=etcd", true),
            ("kubectl get pods -l='app.kubernetes.io/name=etcd,app=etcd' | xargs", true),
            ("kubectl get pod -l app=other", false),
            ("kubectl get pod -l app=etcd,tier=x", false),
            ("kubectl get pod -l app!=etcd", false),
            ("kubectl get pod -l 'app in (etcd)'", false),
            ("kubectl get pod -l app=$APP", false),
            ("kubectl get pod -l", false),
            ("kubectl get pod", false),
            ("grep -l app=etcd", false),
        ] {
            assert_eq!(Kubectl::of(text).select(&labels), selects, "{text}");
        }
        assert!(!Kubectl::of("kubectl get pod -l app=etcd").select(&BTreeMap::new()));
    }

    #[test]
    fn namespaces_are_those_of_kubectl_in_each_form() {
        for (text, named) in [
            ("kubectl exec -n db etcd-0 -- etcdctl defrag", true),
            ("kubectl -ndb exec etcd-0", true),
            ("kubectl exec --namespace=db sts/etcd", true),
            ("kubectl exec --namespace db sts/etcd", true),
            ("kubectl exec -n \"db\" sts/etcd", true),
            ("kubectl exec -n other etcd-0 -- ls db", false),
            ("kubectl exec -n $NS etcd-0", false),
            ("echo -n db", false),
        ] {
            assert_eq!(Kubectl::of(text).names("db"), named, "{text}");
        }
    }
}
