//! `helm upgrade` from the chart and the image of the earlier commit to those of this one, and `helm rollback`, on a real node.

use tempfile::TempDir;

use crate::{
    Previous,
    fleet::Fleet,
    installation::{Installation, NAME},
};
use harness::{Node, chart, image_argument, make_image};

/// The tag of the earlier image; the versions of both commits are the same.
const TAG: &str = "previous";
/// The process makes its certificate itself: cert-manager has no part in this.
const VALUES: &str = "tls: {mode: self-signed}";

/// A node with the images of both.
fn node(test: &str, previous: &Previous) -> Option<Node> {
    // Read at the start, which has ended then; the node is not started a second time.
    let dir = TempDir::with_prefix("etcd-defrag-previous-").unwrap();
    Node::start_with_own_image(test, || {
        let archive = dir.path().join("previous.tar");
        make_image(&archive, &format!("{NAME}:{TAG}"), &[(&previous.program, "/etcd-defrag-webhook")]);
        vec![image_argument(&archive)]
    })
}

#[test]
fn an_upgrade_from_the_earlier_commit_and_its_way_back_start_no_run_and_write_each_cronjob_once() {
    let test = "an_upgrade_from_the_earlier_commit_and_its_way_back_start_no_run_and_write_each_cronjob_once";
    let Some(previous) = Previous::find(test) else { return };
    let Some(node) = node(test, &previous) else { return };
    let installation =
        Installation::install_from(&node, &previous.chart(), &format!("{VALUES}\nimage: {{tag: {TAG}}}"));
    let mut fleet = Fleet::make(&node);
    // Breaking the glass is how what is refused gets through; the upgrade brings the webhooks back.
    node.kubectl_ok(&["delete", "validatingwebhookconfigurations,mutatingwebhookconfigurations", NAME]);
    fleet.refuse();
    let images = |when: &str| {
        let images: Vec<String> = installation.replicas().into_iter().map(|replica| replica.image).collect();
        println!("{when}: {images:?}");
        images
    };
    let before = images("installed");

    let mark = node.audit_mark();
    installation.replaced(|| installation.upgrade(&chart(), VALUES));
    assert_ne!(images("upgraded"), before);
    let writes = fleet.written_at_most(1, mark, "helm upgrade");
    fleet.unharmed(previous.differs, "helm upgrade");
    assert!(previous.differs || writes == 0, "the same program has nothing to write");

    let mark = node.audit_mark();
    installation.replaced(|| installation.rollback());
    assert_eq!(images("rolled back"), before);
    fleet.written_at_most(1, mark, "helm rollback");
    fleet.unharmed(false, "helm rollback");
    installation.uninstall();
}
