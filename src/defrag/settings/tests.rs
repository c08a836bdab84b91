use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::defrag::keys::{ENABLED, PREFIX};

fn object(annotations: &[(&str, &str)]) -> StatefulSet {
    let mut object = StatefulSet::default();
    object.metadata.labels = Some(BTreeMap::from([(ENABLED.to_owned(), "true".to_owned())]));
    object.metadata.annotations =
        Some(annotations.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned())).collect());
    object
}

fn asked(annotations: &[(&str, &str)]) -> Asked {
    let mut asked = parse(&object(annotations), &Policy::built_in());
    // What composes URLs beside endpoints is only not used.
    asked.findings.retain(|finding| finding.code != Code::SettingUnread);
    assert_eq!(asked.findings, []);
    asked
}

fn settings(annotations: &[(&str, &str)]) -> Settings {
    asked(annotations).settings
}

#[test]
fn every_setting_reaches_its_place() {
    let asked = asked(&[
        ("schedule", "14 9 * * 1-5"),
        ("time-zone", "Europe/Rome"),
        ("quota-usage-above", "75%"),
        ("free-above", "1Gi"),
        ("free-share-above", "45%"),
        ("suspend", "true"),
        ("move-leader", "false"),
        ("auto-disalarm", "true"),
        ("disalarm-below", "0.85"),
        ("compaction", "true"),
        ("wait-between-members", "1m30s"),
        ("command-timeout", "5m"),
        ("service", "etcd-headless"),
        ("client-port", "12379"),
        ("cluster-domain", "k8s.example.org"),
        ("endpoints", "https://a.example:2379, https://[2001:db8::1]:2379"),
        ("quota", "8Gi"),
        ("ca-secret", "ca:root.pem"),
        ("client-secret", "client"),
        ("username-secret", "root:user,pass"),
        ("defrag-now", "2026-11-24"),
    ]);
    insta::assert_debug_snapshot!(asked);
}

#[test]
fn nothing_set_means_the_built_in_default() {
    let settings = settings(&[]);
    assert_eq!(settings.schedule, "0 0 * * *");
    assert_eq!(settings.trigger, Trigger::Rule(crate::defrag::policy::DEFAULT_RULE.to_owned()));
    assert_eq!((settings.wait, settings.command_timeout), (Duration::from_secs(30), None));
    assert!(settings.move_leader && !settings.auto_disalarm);
}

#[test]
fn a_listed_key_follows_the_policy_whatever_its_annotation_says() {
    let stale = settings(&[("schedule", "1 1 * * *"), ("rule", "dbSize > 1"), ("defaulted", "schedule,rule")]);
    assert_eq!(stale.schedule, "0 0 * * *");
    assert_eq!(stale.trigger_key, Key::Rule);
}

/// What an earlier version filled in as its default gives way to this one's.
#[test]
fn the_default_of_an_earlier_version_gives_way_where_it_was_filled_in() {
    let earlier = "dbSizeFree > 200*1024*1024 || (dbQuotaUsage > 0.8 && dbSizeFree > 32*1024*1024)";
    let rule = |annotations: &[(&str, &str)]| settings(annotations).trigger;
    let built_in = Trigger::Rule(crate::defrag::policy::DEFAULT_RULE.to_owned());
    assert_eq!(rule(&[("rule", earlier), ("defaulted", "schedule,rule")]), built_in);
    assert_eq!(rule(&[("rule", earlier)]), Trigger::Rule(earlier.to_owned()), "a person's");
}

#[test]
fn every_bad_value_is_refused_in_words_that_help() {
    let bad = [
        ("suspend", "yes"),
        ("suspend", ""),
        ("move-leader", "True"),
        ("compaction", "perhaps\n"),
        ("wait-between-members", "-30s"),
        ("wait-between-members", "30"),
        ("wait-between-members", "25h"),
        ("command-timeout", "59s"),
        ("command-timeout", "0"),
        ("command-timeout", "1 minute"),
        ("disalarm-below", "90"),
        ("disalarm-below", "1"),
        ("disalarm-below", "NaN"),
        ("quota-usage-above", "0%"),
        ("quota-usage-above", "eighty"),
        ("free-above", "200MB"),
        ("free-above", "0"),
        ("free-above", "-1Mi"),
        ("free-share-above", "50"),
        ("free-share-above", "100%"),
        ("service", "Etcd"),
        ("service", "-etcd"),
        ("client-port", "0"),
        ("client-port", "+2379"),
        ("client-port", "65536"),
        ("cluster-domain", ".cluster.local"),
        ("endpoints", ""),
        ("endpoints", "etcd-0:2379"),
        ("endpoints", "https://etcd-0"),
        ("endpoints", "https://etcd-0:0"),
        ("endpoints", "https://etcd_0:2379"),
        ("endpoints", "https://a:2379,http://b:2379"),
        ("endpoints", "https://a:2379,https://a:2379"),
        ("endpoints", "http://localhost:2379"),
        ("endpoints", "https://127.0.0.1:2379,https://etcd-1.etcd:2379"),
        ("endpoints", "http://0.0.0.0:2379"),
        ("endpoints", "http://[::]:2379"),
        ("endpoints", "http://[::ffff:127.0.0.1]:2379"),
        ("quota", "0"),
        ("quota", "lots"),
        ("quota", "16Ei"),
        ("ca-secret", "Certs"),
        ("ca-secret", "certs:a,b"),
        ("client-secret", "certs:tls.crt"),
        ("client-secret", "certs:tls/crt,tls.key"),
        ("client-secret", "certs:tls.crt,tls.crt"),
        ("username-secret", "root:a,a"),
        ("username-secret", "root"),
        ("username-secret", "root:user=,password"),
        ("username-secret", "root:user=a:b,password"),
        ("username-secret", "root:user,pass=word"),
        ("client-secret", "certs:user=root,tls.key"),
        ("shedule", "0 0 * * *"),
        ("Schedule", "0 0 * * *"),
        ("enabled", "true"),
        ("Enabled", "true"),
        ("enable", "true"),
        ("no-such-thing", "x"),
    ];
    // Kubernetes takes these too.
    let in_other_letters =
        ["Etcd-Defrag.io/schedule", "ETCD-DEFRAG.IO/shedule", "etcd-defrag.IO/nothing", "Etcd-defrag.io/enabled"];
    let mut page = String::new();
    for (key, value) in bad {
        let Asked { findings, .. } = parse(&object(&[(key, value)]), &Policy::built_in());
        assert!(findings.iter().any(Finding::denies), "{key}={value:?} was accepted");
        for finding in findings {
            let _ = writeln!(page, "{key}={value:?}\n  {}\n  {}: {}\n", finding.brief, finding.field, finding.message);
        }
    }
    for key in in_other_letters {
        let mut object = object(&[]);
        object.metadata.annotations = Some(BTreeMap::from([(key.to_owned(), "x".to_owned())]));
        let Asked { findings, .. } = parse(&object, &Policy::built_in());
        assert!(findings.iter().any(Finding::denies), "{key} was accepted");
        for finding in findings {
            let _ = writeln!(page, "{key}\n  {}\n  {}: {}\n", finding.brief, finding.field, finding.message);
        }
    }
    insta::assert_snapshot!(page);
}

#[test]
fn all_findings_are_collected_not_only_the_first() {
    let Asked { findings, .. } = parse(
        &object(&[("suspend", "x"), ("quota", "x"), ("typo", "x"), ("rule", "dbSize > 1"), ("free-above", "1Gi")]),
        &Policy::built_in(),
    );
    let codes: Vec<Code> = findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, [Code::AnnotationUnknown, Code::SettingsConflict, Code::BooleanInvalid, Code::QuotaInvalid]);
}

#[test]
fn a_label_of_ours_that_is_an_annotation_says_so() {
    let mut object = object(&[]);
    object.metadata.labels.get_or_insert_default().insert("etcd-defrag.io/schedule".to_owned(), "x".to_owned());
    let Asked { findings, .. } = parse(&object, &Policy::built_in());
    insta::assert_snapshot!(findings.first().map(|finding| finding.message.clone()).unwrap_or_default());
}

/// Each label of ours but one is a mistake, and one message says what to write.
#[test]
fn labels_in_other_letters_and_settings_as_labels() {
    for (label, advice) in [
        ("Enabled", "Write etcd-defrag.io/enabled."),
        ("enable", "Write etcd-defrag.io/enabled."),
        ("shedule", "Did you mean the annotation etcd-defrag.io/schedule?"),
        ("tier", "Remove it: the only label is etcd-defrag.io/enabled, and settings are annotations."),
    ] {
        let mut object = object(&[]);
        object.metadata.labels.get_or_insert_default().insert(format!("{PREFIX}{label}"), "true".to_owned());
        let findings = parse(&object, &Policy::built_in()).findings;
        assert!(findings.len() == 1 && findings[0].message.ends_with(advice), "{findings:#?}");
    }
}

#[test]
fn what_composes_urls_is_not_used_beside_endpoints() {
    let unused = |annotations: &[(&str, &str)], policy: &Policy| {
        let findings = parse(&object(annotations), policy).findings.into_iter();
        findings.map(|finding| format!("{} {}", finding.severity, finding.brief)).collect::<Vec<_>>()
    };
    let endpoints = ("endpoints", "https://a.example:2379");
    let mut policy = Policy::built_in();
    assert_eq!(unused(&[endpoints], &policy), [""; 0]);
    assert_eq!(unused(&[("service", "a"), ("client-port", "1")], &policy), [""; 0]);
    let found = unused(&[endpoints, ("service", "a"), ("client-port", "1"), ("cluster-domain", "b")], &policy);
    assert_eq!(
        found,
        ["service", "client-port", "cluster-domain"]
            .map(|name| format!("warn setting-unread: {name} is not used beside etcd-defrag.io/endpoints"))
    );
    // What the policy gives to all is no mistake of one.
    policy.defaults.insert(Key::ClientPort, "2379".to_owned());
    assert_eq!(unused(&[endpoints], &policy), [""; 0]);
}

proptest! {
    #[test]
    fn any_value_of_any_key_parses_or_is_refused(
        annotations in proptest::collection::btree_map(proptest::sample::select(Key::ALL.to_vec()), any::<String>(), 0..23),
    ) {
        let pairs: Vec<(&str, &str)> = annotations.iter().map(|(key, value)| (key.name(), value.as_str())).collect();
        let Asked { findings, .. } = parse(&object(&pairs), &Policy::built_in());
        for finding in findings {
            prop_assert!(finding.brief.chars().count() <= crate::defrag::finding::WARNING_LIMIT);
        }
    }
}
