//! The webhook configurations while an attack goes on.

use std::{thread::sleep, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use harness::Node;
use serde_json::{Value, json};

use crate::{
    allow_all::{self, AllowAll},
    installation::NAME,
};

const KINDS: [&str; 2] = ["mutatingwebhookconfiguration", "validatingwebhookconfiguration"];

/// How long the API server may take to see that a configuration is there or not.
const NOTICED: Duration = Duration::from_secs(3);

/// Whom the API server calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Called {
    /// Our replicas, by the configurations of the chart.
    Ours,
    /// A webhook that allows everything, by the same configurations but for its address.
    Null,
    /// Nobody: there are no configurations.
    Nobody,
}

pub(crate) struct Configurations<'a> {
    node: &'a Node,
    ours: [Value; 2],
    null: [Value; 2],
}

impl<'a> Configurations<'a> {
    /// Those that are installed.
    pub(crate) fn read(node: &'a Node, null: &AllowAll) -> Self {
        let ours = KINDS.map(|kind| {
            let mut object = node.get(&[kind, NAME]).unwrap();
            for field in ["resourceVersion", "uid", "creationTimestamp", "managedFields"] {
                object["metadata"].as_object_mut().unwrap().remove(field);
            }
            object
        });
        let null = ours.clone().map(|object| redirected(object, null));
        Self { node, ours, null }
    }

    /// Has the API server call these, and waits until it does. They are made anew each time, so that all are equally new to it.
    pub(crate) fn call(&self, called: Called) {
        for kind in KINDS {
            self.node.kubectl_ok(&["delete", kind, NAME, "--ignore-not-found"]);
        }
        let objects: &[Value] = match called {
            Called::Ours => &self.ours,
            Called::Null => &self.null,
            Called::Nobody => &[],
        };
        for object in objects {
            let made = self.node.kubectl_stdin(["create", "-f", "-"], &object.to_string());
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        }
        sleep(NOTICED);
    }
}

/// The same configuration with the other webhook behind it. It has no annotations: by one of them cert-manager would put in our CA.
fn redirected(mut object: Value, null: &AllowAll) -> Value {
    object["metadata"] = json!({"name": NAME});
    for webhook in object["webhooks"].as_array_mut().unwrap() {
        let path = webhook["clientConfig"]["service"]["path"].as_str().unwrap();
        let service = json!({"namespace": allow_all::NAME, "name": allow_all::NAME, "path": path, "port": 443});
        webhook["clientConfig"] = json!({"service": service, "caBundle": BASE64_STANDARD.encode(&null.ca_pem)});
    }
    object
}
