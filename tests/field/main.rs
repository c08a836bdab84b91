//! The etcds of the field: shapes that public charts and operators write, each with the truth and with what is said of it.
//!
//! `tests/fixtures/charts.yaml` is the table. It is printed, and each row is held to it. `scripts/field.sh` shows what is made
//! of a real chart, for when one changes.

#![allow(clippy::indexing_slicing, clippy::unwrap_used, reason = "a test may fail loudly")]

mod check;
mod shape;
mod spread;

use std::{collections::BTreeSet, fmt::Write as _};

use etcd_defrag_webhook::defrag::{
    Assessment, Enrollment, Surroundings, assess, etcd,
    facts::Facts,
    finding::Code,
    policy::{EnrollmentMode, Governing, Policy},
    settings,
    statefulset::StatefulSet,
};
use jiff::Timestamp;
use shape::Row;

/// 2026-11-24T00:00:00Z.
const NOW: Timestamp = Timestamp::constant(1_795_478_400, 0);

/// What a row says about: how the etcd is found, reached and logged in to, and the hazards that
/// follow from what it is. What else is said of a shape is not this table's.
const CODES: [Code; 25] = [
    Code::EtcdNotFound,
    Code::EtcdUnreachable,
    Code::MembersElsewhere,
    Code::AdvertisedUnreachable,
    Code::SecondEtcd,
    Code::EndpointsUnknown,
    Code::EndpointsMismatch,
    Code::EndpointsAssumed,
    Code::MembersLeftOut,
    Code::QuotaUnknown,
    Code::TlsSecretUnknown,
    Code::TlsSecretAssumed,
    Code::CredentialsUnknown,
    Code::RivalDefragmenter,
    Code::SettingUnread,
    Code::SecretReferenceInvalid,
    Code::ValueInvalid,
    Code::VolumeTooSmall,
    Code::VolumeTight,
    Code::LivenessTooEager,
    Code::MembersHidden,
    Code::MembersUnresolved,
    Code::CompactionRedundant,
    Code::AutoCompactionDoubtful,
    Code::EtcdVersionUnsafe,
];

fn rows() -> Vec<Row> {
    serde_saphyr::from_str(include_str!("../fixtures/charts.yaml")).unwrap()
}

/// What is said of a row, a word or two for each thing. Facts are shown whatever else is refused.
fn said(object: &StatefulSet, assessment: &Assessment) -> BTreeSet<String> {
    let of_table = assessment.findings.iter().filter(|finding| CODES.contains(&finding.code));
    let mut said: BTreeSet<String> = of_table.map(|finding| format!("{} {}", finding.severity, finding.code)).collect();
    let overrides = settings::parse(object, &Policy::built_in()).overrides;
    let etcd = etcd::discover(object, &overrides).etcd;
    let facts = etcd.as_ref().and_then(|etcd| Facts::of(etcd, &overrides));
    let Some((etcd, facts)) = etcd.zip(facts) else { return said };
    said.insert(format!("quota {}", facts.quota));
    said.insert(format!("members {}", facts.replicas));
    said.extend(facts.endpoints.iter().map(|url| format!("to {url}")));
    if facts.skips_health_check {
        said.insert("skips".to_owned());
    }
    if assessment.suspended {
        said.insert("suspended".to_owned());
    }
    if let Some(ca) = &facts.ca {
        said.insert(format!("ca {:?} {}:{}", ca.kind, ca.name, ca.key));
    }
    if let Some(client) = &facts.client {
        said.insert(format!("client {}:{},{}", client.name, client.cert_key, client.key_key));
    }
    if etcd.auto_compaction.is_some() {
        said.insert("compacts itself".to_owned());
    }
    said.insert(if facts.no_compaction { "no compaction" } else { "compaction" }.to_owned());
    said
}

/// Whether a policy that enrols all takes the shape without its label.
fn enrolled_by_policy(row: &Row) -> bool {
    let mut object = row.object();
    object.metadata.labels = None;
    let mut policy = Policy::built_in();
    policy.enrollment = EnrollmentMode::All;
    Enrollment::of(&object, &policy) == Enrollment::Enrolled
}

#[test]
fn each_shape_is_judged_as_it_is_in_truth() {
    let governing = Governing::built_in();
    let (mut table, mut wrong) = (String::new(), String::new());
    for row in rows() {
        let object = row.object();
        let services = row.services();
        let around = Surroundings { services: Some(&services), ..Surroundings::nothing() };
        let assessment = assess(&object, &governing, &around, NOW);
        let said = said(&object, &assessment);
        let _ = writeln!(table, "{} | {}\n  truth: {}", row.source, row.kind, row.truth.trim());
        let _ = writeln!(table, "  says:  {}", said.iter().cloned().collect::<Vec<_>>().join("; "));
        let expected: BTreeSet<String> = row.says.iter().cloned().collect();
        // Each finding counts, whether it is expected or not; of the rest what is named.
        let finding = |text: &String| text.starts_with("deny ") || text.starts_with("warn ") || text == "skips";
        let missing: Vec<&String> = expected.difference(&said).collect();
        let besides: Vec<&String> = said.iter().filter(|text| finding(text) && !expected.contains(*text)).collect();
        if !missing.is_empty() || !besides.is_empty() {
            let _ = writeln!(wrong, "{}: not said {missing:?}, said besides {besides:?}", row.source);
        }
        for part in &row.tells {
            let effective = assessment.plan.iter().flat_map(|plan| plan.effective(NOW));
            let mut all = assessment.findings.iter().map(|finding| finding.message.clone()).chain(effective);
            if !all.any(|text| text.contains(part.as_str())) {
                let _ = writeln!(wrong, "{}: nothing tells {part:?}", row.source);
            }
        }
        if row.enrolled_by_all.is_some_and(|expected| enrolled_by_policy(&row) != expected) {
            let _ = writeln!(wrong, "{}: a policy that enrols all decides otherwise", row.source);
        }
    }
    println!("{table}");
    assert!(wrong.is_empty(), "wrong:\n{wrong}");
}

#[test]
fn the_table_has_each_kind_twice() {
    let rows = rows();
    assert!(rows.len() >= 30, "{} shapes", rows.len());
    let kinds: BTreeSet<&str> = rows.iter().map(|row| row.kind.as_str()).collect();
    let rare: Vec<&&str> =
        kinds.iter().filter(|kind| rows.iter().filter(|row| row.kind == **kind).count() < 2).collect();
    assert!(rare.is_empty(), "only once: {rare:?}");
    let sources: BTreeSet<&str> = rows.iter().map(|row| row.source.as_str()).collect();
    assert_eq!(sources.len(), rows.len(), "a source stands there twice");
}
