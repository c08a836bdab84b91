//! What is advised of members and of Secrets, which has no quotation marks around it, and what is not advised at all.

use super::*;

/// The first of the numbers that follow `lead` in a message, and those joined to it by `or`.
fn numbers(message: &str, lead: &str) -> Vec<i64> {
    let Some((_, rest)) = message.split_once(lead) else { return Vec::new() };
    let words = rest.split_whitespace().map(|word| word.trim_matches([',', '.']));
    words.take(4).filter_map(|word| word.parse().ok()).collect()
}

/// Each number of members that is advised is one that is accepted.
#[test]
fn advised_members_are_within_what_is_accepted() {
    let governing = governed(&json!({}));
    let of = |replicas: i64| {
        let mut object = etcd(&[]);
        object["spec"]["replicas"] = json!(replicas);
        assessed(&object, &governing)
    };
    for replicas in 0..=60 {
        let before = of(replicas);
        for finding in before.iter().filter(|finding| matches!(finding.code, Code::EvenMembers | Code::TooManyMembers))
        {
            let advised = [numbers(&finding.message, "Run "), numbers(&finding.message, "Write ")].concat();
            assert!(!advised.is_empty(), "{replicas}: {}", finding.message);
            for number in advised {
                let codes: Vec<Code> = of(number).iter().map(|one| one.code).collect();
                for code in [Code::EvenMembers, Code::TooManyMembers] {
                    assert!(!codes.contains(&code), "{replicas}: {} {number} is {code:?}", finding.message);
                }
            }
        }
        assert_eq!(
            before.iter().filter(|one| one.code == Code::EvenMembers).count(),
            usize::from(replicas > 0 && replicas < 10 && replicas % 2 == 0),
            "{replicas}"
        );
    }
}

/// The value that a message says to write behind the annotation.
fn confirming(finding: &Finding) -> Option<(Key, String)> {
    let Field::Annotation(key) = finding.field else { return None };
    let (_, rest) = finding.message.split_once(&format!("write {}: ", key.annotation()))?;
    Some((key, rest.split_once(", or ")?.0.to_owned()))
}

/// Names of objects are longer than labels of DNS.
#[test]
fn a_secret_that_is_assumed_may_be_named() {
    let governing = governed(&json!({}));
    for length in [11, 40, 52] {
        let name = format!("{}x", "kamaji-etcd-of-the-region-eu-west-1-for-tenants-of-prod".get(..length).unwrap());
        let text = etcd(&[]).to_string().replace("kamaji-etcd", &name);
        let object: Value = serde_json::from_str(&text).unwrap();
        let found = assessed(&object, &governing);
        let assumed: Vec<_> = found.iter().filter(|finding| finding.code == Code::TlsSecretAssumed).collect();
        assert!(!assumed.is_empty(), "{found:#?}");
        for finding in assumed {
            let (key, value) = confirming(finding).unwrap_or_else(|| panic!("{}", finding.message));
            let mut corrected = object.clone();
            corrected["metadata"]["annotations"][key.annotation()] = json!(value);
            let after = assessed(&corrected, &governing);
            assert!(
                denials(&after).is_empty() && after.iter().all(|one| one.field != finding.field),
                "{value}: {after:#?}"
            );
        }
    }
    let longest = format!("{}:ca.crt", "a".repeat(253));
    let codes = |value: &str| {
        let found = assessed(&etcd(&[("ca-secret", value)]), &governing);
        found.iter().any(|finding| finding.code == Code::SecretReferenceInvalid)
    };
    assert_eq!((codes(&longest), codes(&format!("a{longest}"))), (false, true));
}

/// What is assumed in place of a Secret matters only where none is named.
#[test]
fn beside_a_reference_that_is_refused_no_other_secret_is_assumed() {
    let found = assessed(&etcd(&[("client-secret", "Certs:tls.crt,tls.key")]), &governed(&json!({})));
    let codes: BTreeSet<Code> = found.iter().map(|finding| finding.code).collect();
    assert!(codes.contains(&Code::SecretReferenceInvalid) && !codes.contains(&Code::TlsSecretAssumed), "{found:#?}");
}

/// What a share of the quota for the alarm says, and whether anything follows from it.
#[test]
fn a_share_that_lifts_no_alarm_or_lifts_it_in_vain_is_reported() {
    let codes = |annotations: &[(&str, &str)]| -> Vec<(Code, Field)> {
        let found = assessed(&etcd(annotations), &governed(&json!({})));
        let of_share = |finding: &Finding| finding.field == Key::DisalarmBelow.field();
        found.into_iter().filter(of_share).map(|finding| (finding.code, finding.field)).collect()
    };
    let field = || Key::DisalarmBelow.field();
    let lifts = ("auto-disalarm", "true");
    assert_eq!(codes(&[("disalarm-below", "80%")]), [(Code::SettingUnread, field())]);
    assert_eq!(codes(&[("disalarm-below", "80%"), ("auto-disalarm", "false")]), [(Code::SettingUnread, field())]);
    assert_eq!(codes(&[("disalarm-below", "80%"), lifts]), []);
    assert_eq!(codes(&[("disalarm-below", "95%"), lifts]), []);
    assert_eq!(codes(&[("disalarm-below", "99.99%"), lifts]), [(Code::RuleConstantSuspect, field())]);
    // What the policy gives is for etcds that lift it.
    let given = governed(&json!({"defaults": {"disalarmBelow": "80%"}}));
    assert!(assessed(&etcd(&[]), &given).iter().all(|finding| finding.code != Code::SettingUnread));
    let switched = governed(&json!({"defaults": {"autoDisalarm": true}}));
    let found = assessed(&etcd(&[("disalarm-below", "80%")]), &switched);
    assert!(found.iter().all(|finding| finding.code != Code::SettingUnread), "{found:#?}");
}
