//! Quotas, compaction by etcd itself, and volumes.

use super::*;

#[test]
fn quotas_and_where_they_stand() {
    for (args, bytes, source) in [
        (vec!["--quota-backend-bytes=0"], 2 * GIB, "--quota-backend-bytes=0, which means etcd's default"),
        (vec![], 2 * GIB, "etcd's default, as none is set"),
        (vec!["--quota-backend-bytes", "8_589_934_592"], 8 * GIB, "--quota-backend-bytes"),
        (vec!["--quota-backend-gb", "3"], 3 * GIB, "--quota-backend-gb"),
    ] {
        let quota = facts(&with_args(&args)).quota.unwrap();
        assert_eq!((quota.bytes, quota.source.as_str()), (bytes, source), "{args:?}");
    }
    let overflow = facts(&with_args(&["--quota-backend-gb=9223372036854775807"]));
    assert_eq!(overflow.quota, None);
    // An image's own entry point may set a quota that is not visible, so the annotation is believed.
    let bare = with_container(json!({
        "name": "etcd", "image": "etcd:v3.6.1", "args": ["--listen-client-urls=http://0.0.0.0:2379"]
    }));
    let stated = Overrides { quota: Some(8 * GIB), ..Overrides::default() };
    assert_eq!(codes(&bare, &stated), []);
    assert_eq!(discover(&bare, &stated).etcd.unwrap().quota.unwrap().bytes, 8 * GIB);
    // Where etcd itself is started without the flag, its default is certain.
    assert_eq!(codes(&with_args(&[]), &stated), [Code::QuotaMismatch]);
    // Behind a configuration file the annotation is all there is.
    let mut hidden = with_args(&["--config-file=/x", "--quota-backend-bytes=1"]);
    hidden.spec.volume_claim_templates.clear();
    let endpoints = Some((0..3).map(|ordinal| format!("http://etcd-{ordinal}.etcd-headless:2379")).collect());
    assert_eq!(codes(&hidden, &Overrides { endpoints, ..stated }), []);
}

#[test]
fn compaction_by_etcd_itself() {
    for (args, expected) in [
        (vec![], None),
        (vec!["--auto-compaction-retention=0"], None),
        (vec!["--auto-compaction-retention=0h"], None),
        (vec!["--auto-compaction-retention=5m"], Some("periodic 5m")),
        (vec!["--auto-compaction-mode=revision", "--auto-compaction-retention=1000"], Some("revision 1000")),
        (vec!["--auto-compaction-mode=revision", "--auto-compaction-retention=1000ns"], Some("revision 1000ns")),
        (vec!["--auto-compaction-mode=revision", "--auto-compaction-retention=5m"], None),
        (vec!["--auto-compaction-mode=revision", "--auto-compaction-retention=100000000"], None),
        (vec!["--auto-compaction-mode=$(HIDDEN)", "--auto-compaction-retention=5"], Some("<unknown> 5")),
        (vec!["--auto-compaction-mode=$(HIDDEN)", "--auto-compaction-retention=5m"], None),
        (vec!["--auto-compaction-retention=$(HIDDEN)"], None),
    ] {
        let mut etcd = container(&args);
        let hidden = json!({"name": "HIDDEN", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "r"}}});
        etcd["env"].as_array_mut().unwrap().push(hidden);
        let compaction = facts(&with_container(etcd)).auto_compaction.map(|compaction| compaction.to_string());
        assert_eq!(compaction.as_deref(), expected, "{args:?}");
    }
}

#[test]
fn a_volume_is_refused_for_a_quota_that_somebody_set_only() {
    for (args, stated, expected) in [
        (&[][..], None, Code::VolumeTight),
        (&["--quota-backend-bytes=0"], None, Code::VolumeTight),
        (&[], Some(2 * GIB), Code::VolumeTight),
        (&["--quota-backend-bytes=2147483648"], None, Code::VolumeTooSmall),
        (&["--quota-backend-bytes=1073741825"], None, Code::VolumeTooSmall),
    ] {
        let sts = statefulset(json!({"spec": {
            "template": {"spec": {"containers": [container(args)]}}, "volumeClaimTemplates": [claim("1Gi")]
        }}));
        assert_eq!(codes(&sts, &Overrides { quota: stated, ..Overrides::default() }), [expected], "{args:?}");
    }
    // Of a quota out of view, the annotation says what it is.
    let bare = json!({
        "name": "etcd", "image": "etcd:v3.6.1", "args": ["--data-dir=/data", "--listen-client-urls=http://0.0.0.0:2379"],
        "volumeMounts": [{"name": "data", "mountPath": "/data"}]
    });
    for (stated, expected) in [(2 * GIB, Code::VolumeTight), (3 * GIB, Code::VolumeTooSmall)] {
        let containers = json!({"containers": [bare]});
        let spec = json!({"template": {"spec": containers}, "volumeClaimTemplates": [claim("1Gi")]});
        let overrides = Overrides { quota: Some(stated), ..Overrides::default() };
        assert_eq!(codes(&statefulset(json!({"spec": spec})), &overrides), [expected], "{stated}");
    }
}
