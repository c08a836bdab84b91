//! The conditions in CEL that select the writes which the API server sends.
//!
//! The API server evaluates them for every write that an entry selects, whoever makes it and whatever the object
//! contains: labels have no limit but that of the object (1.5 MiB), annotations may have 256 KiB. Its CEL library
//! counts costs in a time that is quadratic in the length of what a macro such as `exists` iterates over: 13,000
//! annotations take a second, and 52,000 the request's whole time. So known keys are looked up by their names, and no
//! condition iterates over anything that an author of objects can make long: with more than [`MOST`] keys, unknown keys
//! are not searched for (the reconciler reports them), and a pod template of that size counts as an etcd.
//! `tests/registration/cost.rs` has the times.
//!
//! A condition that fails refuses the write if the entry fails closed. So only entries that fail open iterate over a
//! map at all.

use std::fmt::Write as _;

use crate::defrag::{
    budget::Counted,
    keys::{ENABLED, Key, PREFIX},
};

pub(in crate::admission) const NOT_BEING_DELETED: &str = "!has(object.metadata.deletionTimestamp)";

/// How many labels, annotations, words or variables are iterated over: some milliseconds of the API server's time.
pub(in crate::admission) const MOST: usize = 1000;

/// The same inside of each container, of which as many are iterated over as are assessed
/// ([`Counted::Containers`](crate::defrag::budget::Counted::Containers)).
const MOST_IN_A_CONTAINER: usize = 250;

/// True of every pod template that runs an etcd, and of little else: most StatefulSets of a cluster then cost no call.
/// What looks like an etcd here is examined more closely by `etcd::evidence`, which finds none where this is false.
pub(super) fn may_be_an_etcd() -> String {
    let containers = "object.spec.template.spec.containers";
    let words = "(container[?'command'].orValue([]) + container[?'args'].orValue([]))";
    let variables = "container[?'env'].orValue([])";
    format!(
        "{containers}.size() > {} || {containers}.exists(container,\n  \
         container[?'image'].orValue('').contains('etcd') ||\n  \
         {words}.size() > {MOST_IN_A_CONTAINER} ||\n  \
         {variables}.size() > {MOST_IN_A_CONTAINER} ||\n  \
         {words}.exists(word, word.contains('etcd')) ||\n  \
         {variables}.exists(variable, variable[?'value'].orValue('').contains('etcd')))",
        Counted::Containers.most()
    )
}

/// True of a create, and of an update that the entry `mutate` has something to say about: there is something to fill in, or
/// what changes is not for `validate` to answer. A value that a person changes is `validate`'s alone: one call.
pub(super) fn may_be_filled_in_or_warned_about() -> String {
    format!(
        "request.operation == 'CREATE' || object.spec != oldObject.spec ||\n{} ||\n{} ||\n{}",
        label_changes(),
        what_is_filled_in_changes(),
        unknown_keys()
    )
}

/// True where an update adds or removes an annotation of ours, or changes one that the policy gives.
fn what_is_filled_in_changes() -> String {
    let (now, before) = ("object.metadata[?'annotations'][?key]", "oldObject.metadata[?'annotations'][?key]");
    let defaulted = Key::Defaulted.annotation();
    format!(
        "{}.exists(key,\n  {now} != {before} &&\n  \
         (!{now}.hasValue() || !{before}.hasValue() || key == '{defaulted}' ||\n    \
         object.metadata[?'annotations'][?'{defaulted}'].orValue('').contains(key.substring({}))))",
        list(Key::ALL),
        PREFIX.len()
    )
}

/// True where an update changes a key of ours, or brings in one under our prefix that does not exist.
pub(in crate::admission) fn any_key_changes() -> String {
    format!("{} ||\n{}", our_keys_change(), unknown_keys())
}

/// True where an update changes the label or one of our annotations. A map that is absent reads as empty.
pub(super) fn our_keys_change() -> String {
    format!(
        "{} ||\n{}.exists(key,\n  object.metadata[?'annotations'][?key] != oldObject.metadata[?'annotations'][?key])",
        label_changes(),
        list(Key::ALL)
    )
}

fn label_changes() -> String {
    format!("object.metadata[?'labels'][?'{ENABLED}'] != oldObject.metadata[?'labels'][?'{ENABLED}']")
}

/// True where an update brings in a label or an annotation under our prefix that does not exist. Taking one away is no
/// reason to ask.
fn unknown_keys() -> String {
    let brings_in = |part: &str, known: &str| {
        let (now, before) = (format!("object.metadata[?'{part}']"), format!("oldObject.metadata[?'{part}']"));
        format!(
            "{now}.orValue({{}}).size() <= {MOST} && {now} != {before} &&\n  \
             {now}.orValue({{}}).exists(key, key.startsWith('{PREFIX}') &&\n    \
             object.metadata.{part}[?key] != {before}[?key] && !(key in {known}))"
        )
    };
    format!(
        "{} ||\n{}",
        brings_in("labels", &format!("['{ENABLED}']")),
        brings_in("annotations", &list(Key::ALL).replace('\n', "\n    "))
    )
}

/// A list of annotations, a few on each line.
fn list(keys: &[Key]) -> String {
    let mut list = String::from("[");
    for (at, key) in keys.iter().enumerate() {
        let gap = match at {
            0 => "",
            at if at % 4 == 0 => ",\n  ",
            _ => ", ",
        };
        let _ = write!(list, "{gap}'{}'", key.annotation());
    }
    list.push(']');
    list
}
