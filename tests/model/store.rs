//! The objects of the API server in memory, their history, and what each verb does to them.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use etcd_defrag_webhook::runtime::clock::Clock;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::fields::{self, Owners};

pub(crate) const CRONJOBS: &str = "cronjobs";
pub(crate) const JOBS: &str = "jobs";
pub(crate) const STATEFULSETS: &str = "statefulsets";
pub(crate) const POLICIES: &str = "defragpolicies";
pub(crate) const NAMESPACES: &str = "namespaces";
pub(crate) const CONFIGMAPS: &str = "configmaps";
/// Every resource that the controller asks for, with the version and kind of its objects.
pub(crate) const RESOURCES: &[(&str, &str, &str)] = &[
    (STATEFULSETS, "apps/v1", "StatefulSet"),
    (CRONJOBS, "batch/v1", "CronJob"),
    (JOBS, "batch/v1", "Job"),
    (POLICIES, "etcd-defrag.io/v1alpha1", "DefragPolicy"),
    (NAMESPACES, "v1", "Namespace"),
    (CONFIGMAPS, "v1", "ConfigMap"),
    ("pods", "v1", "Pod"),
    ("events", "events.k8s.io/v1", "Event"),
    ("leases", "coordination.k8s.io/v1", "Lease"),
];

/// Where an object is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    pub(crate) resource: &'static str,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

pub(crate) fn key(resource: &'static str, namespace: &str, name: &str) -> Key {
    Key { resource, namespace: namespace.to_owned(), name: name.to_owned() }
}

/// Whose a CronJob is, as the sequence made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The controller's to write, or of another kind.
    Plain,
    /// Nobody but its author may touch it.
    Foreign,
    /// Made by defrag.sh: the controller may take it over for an enrolled StatefulSet.
    Adoptable,
}

#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) object: Arc<Value>,
    pub(crate) owners: Owners,
    pub(crate) class: Class,
}

/// One change, as watches tell it.
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) key: Key,
    pub(crate) class: Class,
    pub(crate) before: Option<Arc<Value>>,
    pub(crate) after: Option<Arc<Value>>,
}

/// Why a request is refused.
#[derive(Clone, Debug)]
pub(crate) struct Refusal {
    pub(crate) code: u16,
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

pub(crate) fn refusal(code: u16, reason: &'static str, message: impl Into<String>) -> Refusal {
    Refusal { code, reason, message: message.into() }
}

/// How an object is changed by a patch.
pub(crate) enum Patch {
    Apply { force: bool },
    Merge,
    Json,
}

/// The store.
pub(crate) struct Store {
    clock: Clock,
    pub(crate) objects: BTreeMap<Key, Stored>,
    pub(crate) log: Vec<Change>,
    pub(crate) version: u64,
    /// Watches from before this version are told that it is gone.
    pub(crate) oldest: u64,
    /// When what is not there any more went.
    pub(crate) gone: BTreeMap<Key, Instant>,
    uids: u64,
}

impl Store {
    pub(crate) fn new(clock: Clock) -> Self {
        let (objects, log, gone) = (BTreeMap::new(), Vec::new(), BTreeMap::new());
        Self { clock, objects, log, version: 0, oldest: 0, gone, uids: 0 }
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Value> {
        Some(&*self.objects.get(key)?.object)
    }

    pub(crate) fn of(&self, resource: &str) -> impl Iterator<Item = (&Key, &Stored)> {
        self.objects.iter().filter(move |(key, _)| key.resource == resource)
    }

    /// Takes in an object as another server has it.
    pub(crate) fn load(&mut self, key: &Key, mut object: Value, class: Class) {
        let (_, version, kind) = RESOURCES.iter().find(|(resource, ..)| *resource == key.resource).unwrap();
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        self.objects.insert(key.clone(), Stored { object: Arc::new(object), owners: Owners::new(), class });
    }

    /// Stores an object under the next version, unless nothing in it is new.
    fn put(&mut self, key: &Key, mut object: Value, owners: Owners, class: Class) -> Arc<Value> {
        let before = self.objects.get(key).map(|stored| Arc::clone(&stored.object));
        let meta = &mut object["metadata"];
        if let Some(before) = &before {
            for field in ["uid", "creationTimestamp", "resourceVersion", "generation"] {
                meta[field] = before["metadata"][field].clone();
            }
        } else {
            self.uids += 1;
            meta["uid"] = json!(format!("uid-{}", self.uids));
            meta["creationTimestamp"] = json!((self.clock)().strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
            meta["generation"] = json!(1);
        }
        meta["managedFields"] = fields::managed(&owners);
        if before.as_deref() == Some(&object) {
            self.objects.get_mut(key).unwrap().owners = owners;
            return Arc::new(object);
        }
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        if let Some(before) = &before
            && before["spec"] != object["spec"]
        {
            object["metadata"]["generation"] = json!(before["metadata"]["generation"].as_i64().unwrap() + 1);
        }
        let object = Arc::new(object);
        self.objects.insert(key.clone(), Stored { object: Arc::clone(&object), owners, class });
        let after = Some(Arc::clone(&object));
        let change = Change { version: self.version, key: key.clone(), class, before, after };
        self.log.push(change);
        object
    }

    pub(crate) fn remove(&mut self, key: &Key) {
        let Some(stored) = self.objects.remove(key) else { return };
        self.version += 1;
        self.gone.insert(key.clone(), Instant::now());
        let Stored { object, class, .. } = stored;
        self.log.push(Change { version: self.version, key: key.clone(), class, before: Some(object), after: None });
    }

    pub(crate) fn create(
        &mut self,
        key: &Key,
        mut object: Value,
        manager: &str,
        class: Class,
    ) -> Result<Arc<Value>, Refusal> {
        if self.objects.contains_key(key) {
            return Err(refusal(409, "AlreadyExists", format!("{} already exists", key.name)));
        }
        let (_, version, kind) = RESOURCES.iter().find(|(resource, ..)| *resource == key.resource).unwrap();
        object["apiVersion"] = json!(version);
        object["kind"] = json!(kind);
        let mut owners = Owners::new();
        fields::updated(&json!({}), &object, &mut owners, manager);
        Ok(self.put(key, object, owners, class))
    }

    /// Changes an object otherwise than by applying.
    pub(crate) fn update(
        &mut self,
        key: &Key,
        manager: &str,
        change: impl FnOnce(&mut Value),
    ) -> Result<Arc<Value>, Refusal> {
        let Some(stored) = self.objects.get(key).cloned() else { return Err(missing(key)) };
        let mut object = (*stored.object).clone();
        change(&mut object);
        let live = &stored.object["metadata"];
        for field in ["uid", "resourceVersion"] {
            let given = &object["metadata"][field];
            if !given.is_null() && *given != live[field] {
                return Err(refusal(409, "Conflict", format!("the {field} is another one")));
            }
        }
        valid(key, &object)?;
        let mut owners = stored.owners;
        fields::updated(&stored.object, &object, &mut owners, manager);
        Ok(self.put(key, object, owners, stored.class))
    }

    /// A patch by the controller.
    pub(crate) fn patch(
        &mut self,
        key: &Key,
        status: bool,
        kind: &Patch,
        manager: &str,
        patch: &Value,
    ) -> Result<Arc<Value>, Refusal> {
        match kind {
            Patch::Apply { force } => self.apply(key, *force, manager, patch),
            Patch::Merge if status => self.update(key, manager, |object| {
                json_patch::merge(&mut object["metadata"], &patch["metadata"]);
                json_patch::merge(&mut object["status"], &patch["status"]);
            }),
            Patch::Merge => self.update(key, manager, |object| json_patch::merge(object, patch)),
            Patch::Json => {
                let operations: json_patch::Patch = serde_json::from_value(patch.clone()).unwrap();
                let mut tried = self.get(key).ok_or_else(|| missing(key))?.clone();
                json_patch::patch(&mut tried, &operations)
                    .map_err(|error| refusal(422, "Invalid", error.to_string()))?;
                self.update(key, manager, |object| *object = tried)
            }
        }
    }

    fn apply(&mut self, key: &Key, force: bool, manager: &str, desired: &Value) -> Result<Arc<Value>, Refusal> {
        let live = self.objects.get(key);
        for field in ["uid", "resourceVersion"] {
            let given = &desired["metadata"][field];
            if !given.is_null() && live.is_none_or(|live| live.object["metadata"][field] != *given) {
                return Err(refusal(409, "Conflict", format!("the {field} is another one")));
            }
        }
        let class = live.map_or(Class::Plain, |live| live.class);
        let live = live.map(|stored| (&*stored.object, &stored.owners));
        let (object, owners) = fields::applied(live, desired, manager, force)
            .map_err(|fields| refusal(409, "Conflict", format!("conflicts: {}", fields.join(", "))))?;
        valid(key, &object)?;
        Ok(self.put(key, object, owners, class))
    }

    pub(crate) fn delete(&mut self, key: &Key, uid: Option<&Value>) -> Result<(), Refusal> {
        let live = self.get(key).ok_or_else(|| missing(key))?;
        if uid.is_some_and(|uid| !uid.is_null() && *uid != live["metadata"]["uid"]) {
            return Err(refusal(409, "Conflict", "the uid is another one"));
        }
        self.remove(key);
        Ok(())
    }

    /// One round of the garbage collector: what has owners and none of them is there any more goes. How many went.
    pub(crate) fn collect_garbage(&mut self) -> usize {
        let uids: HashSet<String> = self.objects.values().map(|stored| uid_of(&stored.object)).collect();
        let orphaned = |object: &Value| {
            let owners = object["metadata"]["ownerReferences"].as_array();
            owners.is_some_and(|owners| {
                !owners.is_empty() && owners.iter().all(|owner| !uids.contains(owner["uid"].as_str().unwrap()))
            })
        };
        let gone: Vec<Key> =
            self.objects.iter().filter(|(_, stored)| orphaned(&stored.object)).map(|(key, _)| key.clone()).collect();
        for key in &gone {
            self.remove(key);
        }
        gone.len()
    }

    /// Takes the references to an owner that is deleted with `--cascade=orphan` off its dependents.
    pub(crate) fn orphan(&mut self, uid: &str) {
        let keys: Vec<Key> = self.of(CRONJOBS).map(|(key, _)| key.clone()).collect();
        for key in keys {
            // An object that is not owned is not changed, and so not stored again.
            let _ = self.update(&key, "kube-controller-manager", |object| {
                if let Some(owners) = object["metadata"]["ownerReferences"].as_array_mut() {
                    owners.retain(|owner| owner["uid"] != uid);
                }
            });
        }
    }

    /// Ends every Job that runs, well or not, after its container has started.
    pub(crate) fn finish_jobs(&mut self, failed: bool) {
        let running: Vec<Key> =
            self.of(JOBS).filter(|(_, job)| job.object["status"].is_null()).map(|(key, _)| key.clone()).collect();
        for key in running {
            let (type_, count) = if failed { ("Failed", "failed") } else { ("Complete", "succeeded") };
            let at = (self.clock)().to_string();
            let ended = json!({count: 1, "conditions": [{"type": type_, "status": "True", "lastTransitionTime": at}]});
            for status in [json!({"active": 1, "ready": 1}), ended] {
                let _ = self.update(&key, "kube-controller-manager", |job| job["status"] = status);
            }
        }
    }
}

pub(crate) fn uid_of(object: &Value) -> String {
    object["metadata"]["uid"].as_str().unwrap_or_default().to_owned()
}

fn missing(key: &Key) -> Refusal {
    refusal(404, "NotFound", format!("{} {:?} not found", key.resource, key.name))
}

fn valid(key: &Key, object: &Value) -> Result<(), Refusal> {
    let owners = object["metadata"]["ownerReferences"].as_array();
    let controllers = owners.into_iter().flatten().filter(|owner| owner["controller"] == true).count();
    if controllers > 1 {
        return Err(refusal(422, "Invalid", "only one owner can be the controller"));
    }
    if key.resource == CRONJOBS && object["spec"]["schedule"].as_str().is_none_or(str::is_empty) {
        return Err(refusal(422, "Invalid", "spec.schedule is required"));
    }
    Ok(())
}
