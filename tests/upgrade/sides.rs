//! Processes of both programs side by side, of which one leads, and the Lease that goes from one to the other.

use std::{path::Path, time::Duration};

use crate::{Previous, fleet::Fleet};
use harness::{ControlPlane, Serve, ServeOptions, eventually, with_its_own_rights};

/// A Lease that is given back is taken at once; one that is not, after 15 s.
const TAKE_OVER: Duration = Duration::from_mins(1);

/// How replicas are run: with their own rights and without webhooks, so that what they would refuse gets through.
struct Sides<'a> {
    plane: &'a ControlPlane,
    options: ServeOptions,
}

impl Sides<'_> {
    /// Starts a replica of the given program, or of this one.
    fn start(&self, program: Option<&Path>) -> Serve {
        Serve::start_with(self.plane, &ServeOptions { program: program.map(Path::to_owned), ..self.options.clone() })
    }

    /// Ends the leader; the other one leads.
    fn hand_over(leader: Serve, other: &Serve) {
        assert!(leader.stop(), "the leader did not end cleanly");
        leads(other);
    }
}

fn leads(serve: &Serve) {
    eventually("the other replica to lead", TAKE_OVER, || {
        (serve.metric("etcd_defrag_webhook_leader") == Some(1.0)).then_some(())
    });
}

#[test]
fn old_and_new_replicas_side_by_side_never_rewrite_each_other() {
    let Some(previous) = Previous::find("old_and_new_replicas_side_by_side_never_rewrite_each_other") else { return };
    let plane = ControlPlane::start();
    let options = ServeOptions { register: false, ..with_its_own_rights(&plane) };
    plane.apply(include_str!("../../deploy/manifests/05-defragpolicies.crd.yaml"));
    plane.wait_established("defragpolicies.etcd-defrag.io");
    let sides = Sides { plane: &plane, options };

    let mut old = sides.start(Some(&previous.program));
    leads(&old);
    let mut fleet = Fleet::make(&plane);
    fleet.refuse();

    let mark = plane.audit_mark();
    let mut new = sides.start(None);
    fleet.written_at_most(0, mark, "a new replica beside the old one that leads");

    for round in ["first", "second"] {
        let mark = plane.audit_mark();
        Sides::hand_over(old, &new);
        let writes = fleet.written_at_most(1, mark, &format!("{round} upgrade"));
        fleet.unharmed(previous.differs, &format!("{round} upgrade"));
        assert!(previous.differs || writes == 0, "the same program has nothing to write");

        let mark = plane.audit_mark();
        old = sides.start(Some(&previous.program));
        fleet.written_at_most(0, mark, "an old replica beside the new one that leads");

        let mark = plane.audit_mark();
        Sides::hand_over(new, &old);
        fleet.written_at_most(1, mark, &format!("{round} rollback"));
        fleet.unharmed(false, &format!("{round} rollback"));

        let mark = plane.audit_mark();
        new = sides.start(None);
        fleet.written_at_most(0, mark, "a new replica beside the old one that leads");
    }
}
